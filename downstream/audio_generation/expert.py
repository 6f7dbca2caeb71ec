"""Generation of raw audio: code by code with SaShiMi, SampleRNN or WaveNet, or out of noise with DiffWave."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from downstream.blocks.corpus_task import CorpusTask
from utility.errors import UsageError

from .averaging import Average
from .data.corpora import SPLITS, Chunk

TASK = "audio_generation"
log = logging.getLogger(__name__)


class DownstreamExpert(CorpusTask):
    """What all ways of generation share; ``modelrc._name_`` decides which is made, a :class:`.code_task.CodeExpert` or, for ``diffwave``, a
    :class:`.denoising.task.DenoisingExpert`.

    Args:
        upstream_dim, upstream_rate: of the features, which must be the samples: ``-u waveform``.
        downstream_expert: the sections of the config.
        expdir: the experiment folder.
        upstream_trainable: refused.

    Attributes:
        settings: the sections, checked.
        model: the network.
        average: the moving average of its weights, or None.
    """

    splits = SPLITS
    runs = ("generate",)
    inference_inputs = "none"

    def __new__(cls, *arguments: Any, downstream_expert: Mapping[str, Any] | None = None, **kwargs: Any) -> DownstreamExpert:
        """An instance of the kind that the config names."""
        config = downstream_expert or (arguments[2] if len(arguments) > 2 else None)
        model = config.get("modelrc") if isinstance(config, Mapping) else None
        if isinstance(model, Mapping) and model.get("_name_") == "diffwave":
            from .denoising.task import DenoisingExpert as Kind
        else:
            from .code_task import CodeExpert as Kind
        return super().__new__(Kind)

    def __init__(
        self,
        upstream_dim: int,
        upstream_rate: int,
        downstream_expert: Mapping[str, Any],
        expdir: str | Path,
        upstream_trainable: bool = False,
        **kwargs: Any,
    ):
        super().__init__(expdir, **kwargs)
        if (upstream_dim, upstream_rate) != (1, 1) or upstream_trainable:
            raise UsageError(f"-d {TASK} reads samples and trains no upstream: -u waveform, without -f")
        self.settings = self.checked(downstream_expert)
        self.sample_rate = self.settings.corpus.sample_rate
        self.model = self.build()
        self.average = Average(self.model, self.settings.ema) if self.settings.ema is not None else None
        self.register_load_state_dict_pre_hook(_fit_average)
        self.register_buffer("best_score", torch.full((1,), torch.inf))
        self.read_ahead()

    def checked(self, downstream_expert: Mapping[str, Any]) -> Any:
        """The sections of the config.

        Raises:
            ConfigError, UnknownNameError: fields that do not exist, are missing or impossible.
        """
        raise NotImplementedError

    def build(self) -> nn.Module:
        """The network that the settings describe."""
        raise NotImplementedError

    def read_corpus(self, split: str) -> list[Chunk]:
        """The parts of the recordings of a split.

        Raises:
            DataError: the corpus is missing or has nothing for this split.
        """
        return self.settings.corpus.read(split)

    def judged(self) -> nn.Module:
        """The network that learns, in training; otherwise the averaged one, if there is one."""
        return self.model if self.training or self.average is None else self.average.model

    def after_update(self) -> None:
        """Moves the average on."""
        if self.average is not None:
            self.average.update(self.model)


def _fit_average(task: DownstreamExpert, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Without ``ema`` the average of a checkpoint is left out; with it, one that has none begins with the weights that it has."""
    average, model = f"{prefix}average.", f"{prefix}model."
    kept = any(name.startswith(average) for name in state)
    if kept and task.average is None:
        log.warning("ema is null: the moving average of the weights in this checkpoint is left out")
        for name in [name for name in state if name.startswith(average)]:
            del state[name]
    elif not kept and task.average is not None:
        log.warning("ema: this checkpoint has no moving average of the weights, which begins with the weights themselves")
        state |= {f"{average}{name[len(prefix) :]}": value for name, value in state.items() if name.startswith(model)}
        state[f"{average}updates"] = torch.zeros_like(task.average.updates)
