"""Small checkpoints with random weights in the published layouts, so that tests of behaviour need no recorded file."""

from __future__ import annotations

from argparse import Namespace
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from utility.networks.apc import Apc, ApcConfig
from utility.networks.npc import Npc, NpcConfig
from utility.networks.spectrogram_bert import SpectrogramBert, SpectrogramHead, TransformerConfig

FBANK = {"feat_type": "fbank", "feat_dim": 80, "frame_length": 25, "frame_shift": 10, "decode_wav": False, "cmvn": True}
APC = {"num_layers": 3, "hidden_size": 16, "dropout": 0.1, "residual": True}
VQ_APC = {**APC, "vq": {"codebook_size": [8, 8], "code_dim": [8, 8], "gumbel_temperature": 0.5}}
NPC = {"kernel_size": 15, "mask_size": 5, "n_blocks": 3, "hidden_size": 16, "vq": {"codebook_size": [8], "code_dim": [16]}}
BERT = {"input_dim": -1, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
FEATURE = {"channel": 0, "log": True, "delta": 0, "cmvn": True}
MEL = {
    "target_level": -25,
    "win_ms": 25,
    "hop_ms": 10,
    "n_freq": 201,
    "n_mels": 80,
    "n_mfcc": 13,
    "input": {"feat_type": "mel", **FEATURE},
    "target": {"feat_type": "linear", **FEATURE, "channel": 1},
}
KALDI = {
    "kaldi": {"feat_type": "fbank", "fbank": {"num_mel_bins": 80}, "mfcc": {"num_ceps": 13}, "spectrogram": {"frame_length": 25.0}},
    "delta": {"order": 2, "win_length": 5},
    "cmvn": {"use_cmvn": True},
}
KINDS = ("apc", "vq_apc", "npc", "mockingjay", "tera", "tera_chunked", "audio_albert", "decoar", "decoar_layers")


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module with every parameter and running statistic moved off what it began with."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not name.endswith("conv_mask"):
            noise = torch.randn(tensor.shape, generator=generator)
            tensor.copy_(1 + 0.1 * noise.abs() if "norm" in name.lower() or "running_var" in name else 0.3 * noise)
    return module


def frame_model(net: nn.Module, paras: dict[str, Any]) -> dict[str, Any]:
    """What an APC or NPC file holds."""
    return {"config": {"model": {"paras": deepcopy(paras)}, "data": {"audio": dict(FBANK)}}, "model": net.state_dict(), "epoch": 3}


def bert(audio: dict[str, Any], width: int, length: int = 1500, **changes: Any) -> dict[str, Any]:
    """What a Mockingjay file holds."""
    section = {**BERT, **changes}
    config = TransformerConfig.of(section, "tiny")
    return {
        "Transformer": shaken(SpectrogramBert(width, config)).state_dict(),
        "SpecHead": SpectrogramHead(width, config).state_dict(),
        "Upstream_Config": {"transformer": section, "task": {"sequence_length": length}, "audio": deepcopy(audio)},
        "Config": {"runner": {}},
        "Args": Namespace(seed=1),
        "Step": 7,
    }


def decoar(width: int = 12, layers: int = 2) -> dict[str, Any]:
    """What a DeCoAR file holds, with one weight of its training head."""
    directions = {f"{way}_lstm": nn.LSTM(width, width, layers, batch_first=True) for way in ("forward", "backward")}
    net = shaken(nn.ModuleDict({"post_extract_proj": nn.Linear(80, width), **directions}))
    return {"model": {**net.state_dict(), "reconstruction.weight": torch.zeros(2, 2)}}


def content(kind: str) -> dict[str, Any]:
    """A checkpoint of one of ``KINDS``."""
    makers = {
        "apc": lambda: frame_model(shaken(Apc(80, ApcConfig.of(APC, "tiny"))), APC),
        "vq_apc": lambda: frame_model(shaken(Apc(80, ApcConfig.of(VQ_APC, "tiny"))), VQ_APC),
        "npc": lambda: frame_model(shaken(Npc(80, NpcConfig.of(NPC, "tiny"))), NPC),
        "mockingjay": lambda: bert(KALDI, 240),
        "tera": lambda: bert(MEL, 80, pre_layer_norm=True),
        "tera_chunked": lambda: bert(MEL, 80, 30),
        "audio_albert": lambda: bert(MEL, 80, share_layer=True),
        "decoar": decoar,
        "decoar_layers": decoar,
    }
    return makers[kind]()


def entry(kind: str) -> str:
    """The registered name that reads it."""
    return f"{kind.removesuffix('_chunked')}_local"


def saved(content: dict[str, Any], path: Path) -> str:
    """Writes a checkpoint and gives its path."""
    torch.save(content, path)
    return str(path)


def alone(upstream: nn.Module, wavs: list[Tensor]) -> list[dict[str, Any]]:
    """The upstream's dict of each waveform by itself, without gradient."""
    with torch.no_grad():
        return [upstream([wav]) for wav in wavs]
