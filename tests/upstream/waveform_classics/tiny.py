"""Checkpoints of tiny nets with random weights, in the published layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from upstream.blocks.fairseq_files import FairseqModel
from upstream.blocks.wav2vec_config import wav2vec_config
from upstream.blocks.wav2vec_model import Wav2VecModel
from upstream.cpc.config import CpcConfig
from upstream.cpc.model import CpcModel
from upstream.pase.config import pase_config
from upstream.pase.model import PaseModel
from upstream.registry import build

CPC = {"hiddenEncoder": 8, "hiddenGar": 6}
PASE = {"kwidths": [31, 20, 11, 11], "strides": [1, 10, 4, 4], "fmaps": [4, 4, 6, 6], "rnn_dim": 6, "emb_dim": 5}
PASE |= {"denseskips": True, "norm_out": True, "rnn_pool": True}
WAV2VEC = {
    "conv_feature_layers": "[(8, 10, 5), (8, 8, 4)] + [(8, 4, 2)] * 3 + [(8, 1, 1)]",
    "conv_aggregator_layers": "[(8, 2, 1), (8, 3, 1), (8, 4, 1)]",
}
VQ = {"vq_vars": 10, "vq_groups": 2, "combine_groups": True, "activation": "gelu"}
NETS = {
    "cpc": CPC,
    "cpc_batch_norm": {**CPC, "normMode": "batchNorm", "arMode": "GRU"},
    "pase": PASE,
    "wav2vec": WAV2VEC,
    "gumbel": {**WAV2VEC, **VQ, "vq_type": "gumbel", "vq_depth": 2},
    "kmeans": {**WAV2VEC, **VQ, "vq_type": "kmeans"},
}
STATES = {"cpc": 2, "cpc_batch_norm": 2, "pase": 5, "wav2vec": 4, "gumbel": 4, "kmeans": 4}


def net(name: str, seed: int = 0) -> nn.Module:
    """The module of one of ``NETS``, its norms moved off their defaults."""
    torch.manual_seed(seed)
    settings = NETS[name]
    if name.startswith("cpc"):
        made: nn.Module = CpcModel(CpcConfig.of(settings, name))
    elif name == "pase":
        made = PaseModel(pase_config(settings, name))
    else:
        made = Wav2VecModel(wav2vec_config(FairseqModel(settings, {}, {}, "converted"), name))
    for key, value in made.state_dict().items():
        if key.endswith(("bias", "running_mean", "act.weight")):
            value.copy_(0.1 * torch.randn_like(value))
    return made.eval()


def checkpoint(name: str, folder: Path, change: dict[str, Any] | None = None) -> tuple[str, dict[str, str]]:
    """Writes a checkpoint; ``change`` replaces weights by name (None drops them).

    Returns:
        the entry's name and the arguments of :func:`upstream.registry.build`.
    """
    weights = {**net(name).state_dict(), **(change or {})}
    weights = {key: value for key, value in weights.items() if value is not None}
    path = folder / f"{name}.pt"
    if name.startswith("cpc"):
        torch.save({"config": NETS[name], "weights": {**weights, "cpcCriterion.x": torch.ones(1)}}, path)
        return "cpc_local", {"ckpt": str(path)}
    if name == "pase":
        torch.save({"step": 3, "state_dict": weights}, path)
        (folder / "pase.cfg").write_text("{\n" + ",\n".join(f'\t"{k}": {str(v).lower()}' for k, v in PASE.items()) + "\n}")
        return "pase_local", {"ckpt": str(path), "model_config": str(folder / "pase.cfg")}
    torch.save({"task_cfg": {}, "model_cfg": {"_name": "wav2vec", **NETS[name]}, "model_weight": weights}, path)
    return "wav2vec_local" if name == "wav2vec" else "vq_wav2vec_local", {"ckpt": str(path)}


def tiny(name: str, folder: Path, **options: Any) -> nn.Module:
    """An upstream with the weights of ``net(name)``, in eval mode."""
    entry, arguments = checkpoint(name, folder)
    return build(entry, **arguments, **options).eval()


def noise(*lengths: int) -> list[Tensor]:
    """Waveforms of these lengths."""
    generator = torch.Generator().manual_seed(1)
    return [0.1 * torch.randn(length, generator=generator) for length in lengths]
