"""Checkpoints of models over log mel frames: their ``config`` says the features and the network, ``model`` holds the weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from utility.features.hamming_fbank import hamming_fbank
from utility.features.kaldi import KaldiFeatures
from utility.networks.fields import nested
from utility.networks.weights import fitted, local_path, read_checkpoint, section


class Network(Protocol):
    """Makes the network for frames of a width, such as ``Apc.of``."""

    def __call__(self, input_size: int, paras: Mapping[str, Any], source: str) -> nn.Module: ...


def load_frame_model(ckpt: str | Path, refresh: bool, network: Network) -> tuple[KaldiFeatures, nn.Module]:
    """The features and the network of a checkpoint.

    Args:
        ckpt: path or URL of a file with ``config`` (``Upstream_Config`` in S3PRL's trainings) and ``model``.
        refresh: download a URL again.
        network: makes it from the section ``model.paras``.

    Raises:
        CheckpointError: the file is none of such a model. ConfigError: its config is impossible.
    """
    path = local_path(ckpt, refresh)
    content = read_checkpoint(path)
    config = {"config": section(content, path, "config", "Upstream_Config")}
    features = hamming_fbank(nested(config, path, "config", "data", "audio"), f"{path} data.audio")
    paras, weights = nested(config, path, "config", "model", "paras"), nested(content, path, "model")
    return features, fitted(lambda: network(features.dim, paras, f"{path} model.paras"), weights, path)
