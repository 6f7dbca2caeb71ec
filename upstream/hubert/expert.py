"""HuBERT and those trained its way: multilingual, robust, ContentVec (2106.07447)."""

from __future__ import annotations

from upstream.blocks.transformer_family import TransformerExpert


class UpstreamExpert(TransformerExpert):
    """layers + 1 hidden states; see :class:`upstream.blocks.transformer_family.TransformerExpert` for the options."""

    family, kind, masking = "hubert", "hubert", "groups"
