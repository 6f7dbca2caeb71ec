"""UniSpeech-SAT (2110.05752)."""

from __future__ import annotations

from upstream.blocks.transformer_family import TransformerExpert


class UpstreamExpert(TransformerExpert):
    """layers + 1 hidden states; see :class:`upstream.blocks.transformer_family.TransformerExpert` for the options."""

    family, kind, masking = "unispeech_sat", "unispeech-sat", "groups"
