"""data2vec for speech (2202.03555)."""

from __future__ import annotations

from upstream.blocks.transformer_family import TransformerExpert


class UpstreamExpert(TransformerExpert):
    """layers + 1 hidden states; see :class:`upstream.blocks.transformer_family.TransformerExpert` for the options."""

    family, kind, masking = "data2vec", "wav2vec2", "convolutions"
