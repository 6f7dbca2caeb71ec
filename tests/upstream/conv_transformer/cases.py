"""The recorded cases of the convolution + Transformer family, by the name under which their checkpoints are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from tests.upstream.recorded import manifest
from upstream.registry import build

ENTRIES = {
    "wav2vec2_base": "wav2vec2_local",
    "wav2vec2_large": "wav2vec2_local",
    "xlsr": "wav2vec2_url",
    "wav2vec2_noproj_oddpos": "wav2vec2_custom",
    "wav2vec2_deepposconv": "wav2vec2_local",
    "wav2vec2_conformer_relpos": "wav2vec2_local",
    "wav2vec2_conformer_rope": "wav2vec2_local",
    "hubert_base": "hubert_local",
    "hubert_large": "hubert_url",
    "hubert_multilabel": "hubert_custom",
    "data2vec_base": "data2vec_local",
    "data2vec_prenorm": "data2vec_custom",
    "wavlm_base": "wavlm_local",
    "wavlm_large": "wavlm_url",
    "wavlm_relpos_nogate": "wavlm_local",
    "unispeech_sat_base": "unispeech_sat_local",
    "unispeech_sat_large": "unispeech_sat_url",
    "distilhubert": "distiller_local",
    "distiller_prenorm": "distiller_url",
    "decoar2": "decoar2_local",
}
CORE = ("wav2vec2_deepposconv", "hubert_multilabel", "wavlm_large")
OPTIONS: dict[str, dict[str, Any]] = {"decoar2": {"encoder_attention_heads": 4}}  # narrower than the published one


def files() -> list[tuple[str, str]]:
    """Case and checkpoint file."""
    return [(name, file) for name in ENTRIES for file in manifest()["cases"][name]["ckpt_files"]]


def made(name: str, folder: Path, file: str = "ckpt.pt", **options: Any) -> nn.Module:
    """The upstream of a case, in eval mode."""
    return build(ENTRIES[name], ckpt=str(folder / file), **OPTIONS.get(name, {}), **options).eval()
