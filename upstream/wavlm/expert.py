"""WavLM: HuBERT with gated relative positions (2110.13900)."""

from __future__ import annotations

from upstream.blocks.transformer_family import TransformerExpert


class UpstreamExpert(TransformerExpert):
    """layers + 1 hidden states; see :class:`upstream.blocks.transformer_family.TransformerExpert` for the options."""

    family, kind, masking = "wavlm", "wav2vec2", "groups"
