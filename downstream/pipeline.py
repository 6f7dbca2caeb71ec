"""Upstream, featurizer and task as one: from a batch of waveforms to the task's loss."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from downstream import stored
from downstream.interfaces import DownstreamBase
from upstream import registry
from upstream.featurizer import Featurizer
from utility.errors import CheckpointError, ConfigError, DataError, UnknownNameError, UsageError
from utility.experiment.experiment import Experiment
from utility.experiment.plugins import load_plugin
from utility.training.fields import plain
from utility.training.fine_tuning import FineTuning
from utility.training.loading import Pass, Place, open_pass
from utility.training.packing import Extracted, as_waveform, naming
from utility.training.seeding import Stream
from utility.training.specaug import SpecAug

log = logging.getLogger(__name__)

EXTRA_STATE = "_extra_state"  # torch's name for it in a state dict
_UPSTREAM_FLAGS = {"ckpt": "-k", "model_config": "-g", "refresh": "-r"}


class Pipeline:
    """The models of an experiment.

    Args:
        experiment: settings and, perhaps, a loaded checkpoint whose weights are taken.
        device: where the models live.
        training: build for training (SpecAug, gradients of a trainable upstream).

    Attributes:
        upstream, featurizer, downstream: the modules.
        compiled: the upstream goes through torch.compile.
        store: where the upstream's states are kept, if they are.
        trainable: those that the optimizer and the checkpoints know, by their names there.
    """

    def __init__(self, experiment: Experiment, device: str, training: bool):
        args, config = experiment.args, experiment.config
        stored.check(experiment)
        self.device = device
        self.amp = _autocast_type(experiment.runner, device)
        self.upstream = build_upstream(args, config).to(device)
        self.featurizer = Featurizer(
            self.upstream,
            feature_selection=args["upstream_feature_selection"],
            upstream_device=device,
            layer_selection=args["upstream_layer_selection"],
            normalize=args["upstream_feature_normalize"],
        ).to(device)
        self.downstream = _build_task(experiment, self.featurizer, training).to(device)
        self.featurizer.length_rule = _length_rule(self.downstream, self.featurizer)
        self.featurizer.side_by_side = getattr(self.downstream, "feature_layers", None)
        _check_rate(args, self.downstream)
        self.specaug = SpecAug(**config["specaug"]) if training and config.get("specaug") else None
        self.trainable = {"Featurizer": self.featurizer, "Downstream": self.downstream}
        if args["upstream_trainable"]:
            self.trainable = {"Upstream": self.upstream, **self.trainable}
        if training:
            tuning = FineTuning.of(config["optimizer"])
            tuning.check_use(trained=args["upstream_trainable"])
            tuning.hold(self.upstream)
        begins = training and not experiment.resumes
        if begins and isinstance(self.downstream, DownstreamBase):
            self.downstream.begin_with(self.upstream)
        self.load(_without_memory(self.downstream, experiment.state) if begins else experiment.state, experiment.checkpoint)
        self.compiled = experiment.runner.compile
        if self.compiled:
            self.upstream.compile()
        self.store = stored.open_store(experiment, self.upstream, device, self.amp)

    @property
    def parts(self) -> list[nn.Module]:
        return [self.upstream, self.featurizer, self.downstream]

    def load(self, state: Mapping[str, Any], path: Path | None) -> None:
        """Restores the weights of a checkpoint.

        Raises:
            CheckpointError: entries are missing, or of another task's shape.
        """
        for name, module in (("Upstream", self.upstream), ("Featurizer", self.featurizer), ("Downstream", self.downstream)):
            if not state.get(name):
                continue
            try:
                module.load_state_dict(state[name])
            except RuntimeError as error:
                raise CheckpointError(f"{path} does not fit this experiment's {name.lower()}: {_misfit(error, state)}") from error

    def train(self) -> None:
        """Training mode for what is trained, evaluation mode for the rest."""
        for module in self.parts:
            module.train(any(module is m for m in self.trainable.values()))

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode without gradients, and back to what was before."""
        modes = [(module, module.training) for module in self.parts]
        for module in self.parts:
            module.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for module, mode in modes:
                module.train(mode)

    def extract(self, wavs: Iterable[Any]) -> list[Tensor]:
        """List of 1-D waveforms (arrays or tensors) -> list of (T_i, D) features on the device."""
        if self.store is not None:
            wavs = [as_waveform(w) for w in wavs]
            return self.featurizer(wavs, self.store.states(wavs, self.featurizer, self.downstream.training))
        wavs = _to_device(list(wavs), self.device)
        with nullcontext() if "Upstream" in self.trainable else torch.no_grad():
            states = self.upstream(wavs)
        return self.featurizer(wavs, states)

    def open_pass(self, split: str, place: Place) -> Pass:
        """A pass over a split (``place.epoch`` is passed to tasks that take it).

        On a CPU a frozen upstream that declares itself ``stateless`` (its output is a function of the waveforms alone: it draws no random
        numbers and leaves no traces) works in the loader workers, several batches at a time; not one that is compiled, because a worker
        may not start the compiler.
        """
        if self.store is not None and place.stream is Stream.FORWARD:
            self.store.look_at(place, lambda epoch: self.loader_of(split, epoch))
        at_rest = "Upstream" not in self.trainable and not self.compiled
        in_workers = self.device == "cpu" and at_rest and getattr(self.upstream, "stateless", False)
        return open_pass(lambda: self.loader_of(split, place.epoch), place, self._in_worker if in_workers else None)

    def _in_worker(self, wavs: list[Tensor]) -> dict[str, Any]:
        with torch.no_grad(), self.autocast():
            return self.upstream(wavs)

    def loss(self, split: str, batch: Any, records: dict[str, list], **kwargs: Any) -> Tensor:
        """The task's loss of one batch ``(wavs, *others)``; with SpecAug in training mode."""
        wavs, *others = batch
        with self.autocast():
            with naming(others):
                features = self.featurizer(wavs, batch.states) if isinstance(batch, Extracted) else self.extract(wavs)
            if self.specaug is not None and self.downstream.training:
                features = self.specaug(features)
            return self.downstream(split, features, *others, records=records, **kwargs)

    def autocast(self) -> AbstractContextManager:
        """Mixed precision, if the config asks for it."""
        return torch.autocast(self.device.split(":")[0], dtype=self.amp) if self.amp else nullcontext()

    def check_split(self, split: str) -> None:
        """Refuses a split that is not among those that the task declares, if it declares any."""
        declared = getattr(self.downstream, "splits", ())
        if declared and split not in declared:
            raise UnknownNameError("split", split, [*declared, *getattr(self.downstream, "runs", ())])

    def check_filled(self, split: str, place: Place) -> None:
        """Refuses a split that is known to have no batch before anything is trained.

        Raises:
            DataError: it is empty.
        """
        if self.open_pass(split, place).expected == 0:
            raise DataError(f"the split {split!r} has no batch to evaluate")

    def loader_of(self, split: str, epoch: int = 0) -> Iterable:
        """The task's loader; ``epoch`` is passed to tasks that take it."""
        self.check_split(split)
        get = self.downstream.get_dataloader
        names = inspect.signature(get).parameters
        takes_epoch = "epoch" in names or any(p.kind is p.VAR_KEYWORD for p in names.values())
        return get(split, epoch=epoch) if takes_epoch else get(split)


def _without_memory(task: nn.Module, state: Mapping[str, Any]) -> Mapping[str, Any]:
    """The checkpoint that a training begins with (``-i``): of evaluations the task remembers what it does when new, which is nothing."""
    if not state.get("Downstream"):
        return state
    fresh, weights = task.state_dict(), copy.copy(state["Downstream"])
    names = getattr(task, "evaluation_memory", DownstreamBase.evaluation_memory)
    weights.update({name: fresh[name] for name in names if name in fresh})
    extra, new = weights.get(EXTRA_STATE), fresh.get(EXTRA_STATE)
    if isinstance(extra, Mapping) and isinstance(new, Mapping):
        weights[EXTRA_STATE] = {**extra, **{name: new[name] for name in names if name in new}}
    return {**state, "Downstream": weights}


def _misfit(error: RuntimeError, state: Mapping[str, Any]) -> str:
    """The first thing that does not fit, how many more there are, and what the checkpoint was trained for."""
    _, *faults = (" ".join(line.split()).rstrip(".,") for line in str(error).splitlines() if line.strip())
    faults = [_shortened(fault) for fault in faults]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    args = state.get("Args") or {}
    trained = f"; it was trained with -u {args['upstream']} -d {args['downstream']}" if {"upstream", "downstream"} <= set(args) else ""
    return f"{faults[0] if faults else error}{more}{trained}"


def _shortened(fault: str, most: int = 3) -> str:
    """Torch's list of names that are missing, or not expected, with the first of them."""
    head, _, names = fault.partition(" in state_dict: ")
    listed = names.split(", ")
    return f"{head} in state_dict: {', '.join(listed[:most])}, ... ({len(listed)} in all)" if len(listed) > most else fault


def build_upstream(args: Mapping[str, Any], config: Mapping[str, Any]) -> nn.Module:
    """Constructs the upstream with what the command line and the config's ``upstream_options`` say.

    Raises:
        ToolkitError: there is no such upstream, or it cannot be built.
    """
    options = config.get("upstream_options") or {}
    if taken := [name for name in options if name in _UPSTREAM_FLAGS]:
        raise ConfigError(f"{taken[0]} is given by {_UPSTREAM_FLAGS[taken[0]]}", "upstream_options")
    given = {name: args[f"upstream_{name}"] for name in _UPSTREAM_FLAGS}
    return registry.build(args["upstream"], **given, **{name: plain(value) for name, value in options.items()})


def _build_task(experiment: Experiment, featurizer: Featurizer, training: bool) -> nn.Module:
    """Constructs the task as S3PRL does: dimensions, every config section, every argument."""
    expert = load_plugin(experiment.task, "DownstreamExpert")
    args = dict(experiment.args)
    if not training and not issubclass(expert, DownstreamBase):
        args["expdir"] = str(experiment.results_dir)  # S3PRL's experts know one folder; an evaluation must not write into the training's
    return expert(
        upstream_dim=featurizer.output_dim,
        upstream_rate=featurizer.downsample_rate,
        results_dir=str(experiment.folder.path if training else experiment.results_dir),
        **experiment.config,
        **args,
    )


def _length_rule(task: nn.Module, featurizer: Featurizer) -> str:
    """The rule that the task wants; in place of ``"own"`` S3PRL's, where the upstream tells no lengths."""
    wanted = getattr(task, "length_rule", DownstreamBase.length_rule)
    return "round" if wanted == "own" and not featurizer.tells_lengths else wanted


def _check_rate(args: Mapping[str, Any], task: nn.Module) -> None:
    """A model trained on one sampling rate makes no sense of another."""
    wanted = getattr(task, "sample_rate", DownstreamBase.sample_rate)
    takes = registry.find(args["upstream"]).record.sample_rate
    if takes and wanted != takes:
        raise UsageError(f"the task {args['downstream']} yields audio at {wanted} Hz, but the upstream {args['upstream']} takes {takes} Hz")


def _autocast_type(runner: Any, device: str) -> torch.dtype | None:
    kind = runner.amp or ("fp16" if runner.fp16 else None)
    if kind == "fp16" and not device.startswith("cuda"):
        log.warning("fp16 is for GPUs: on %s the run goes on in full precision, as in S3PRL (runner.amp: bf16 works there)", device)
        return None
    return {"bf16": torch.bfloat16, "fp16": torch.float16, None: None}[kind]


def _to_device(wavs: list[Any], device: str) -> list[Tensor]:
    """Float32 tensors on the device, in one transfer."""
    wavs = [as_waveform(w) for w in wavs]
    if device == "cpu" or not wavs or any(w.dim() != 1 for w in wavs):
        return [w.to(device) for w in wavs]
    return list(torch.cat(wavs).to(device, non_blocking=True).split([len(w) for w in wavs]))
