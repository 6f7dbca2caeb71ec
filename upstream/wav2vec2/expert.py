"""wav2vec 2.0 and its relatives: XLSR, XLS-R, conformers (2006.11477)."""

from __future__ import annotations

from upstream.blocks.transformer_family import TransformerExpert


class UpstreamExpert(TransformerExpert):
    """layers + 1 hidden states; see :class:`upstream.blocks.transformer_family.TransformerExpert` for the options."""

    family, kind, masking = "wav2vec2", "wav2vec2", "convolutions"
