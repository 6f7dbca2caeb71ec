"""What the Runner expects of a task, and what a task may ask of the Runner.

The required part is S3PRL's (constructor, ``get_dataloader``, ``forward``, ``log_records``), so an expert written for S3PRL works
unchanged, whether or not it derives from :class:`DownstreamBase`. Everything else is optional and has a default here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Score:
    """One number of an evaluation.

    Args:
        value: the number.
        higher_is_better: its direction.
        unit: ``"fraction"``, ``"percent"``, ``"dB"``, ``"nats"`` ...
    """

    value: float
    higher_is_better: bool
    unit: str = "fraction"


@dataclass(frozen=True)
class Outcome:
    """What ``log_records`` may return in place of a plain list of names.

    Args:
        save_names: checkpoints to write beside the regular ones, such as ``["dev-best.ckpt"]``.
        stop: end training after this evaluation (early stopping).
        scores: the task's own metrics of this split by name; they go to the result file with direction and unit.
        variant: of several ways to evaluate one checkpoint on one split, this one; its results get a file of their own.
    """

    save_names: list[str] = field(default_factory=list)
    stop: bool = False
    scores: Mapping[str, Score] = field(default_factory=dict)
    variant: str = ""


@dataclass(frozen=True)
class RunContext:
    """What :meth:`DownstreamBase.run` gets for work that is not a pass over a split.

    Of several processes the leader alone does this work, with all of it, while the others wait.

    Args:
        extract: list of 1-D waveforms at the task's rate -> list of (T_i, D) features, as in evaluation.
        results_dir: where the files of this evaluation belong.
        device: the device of the models.
        seed: the seed of the experiment.
        take: puts the weights of another state of this experiment, as a checkpoint holds it, into the models.
    """

    extract: Callable[[list[Tensor]], list[Tensor]]
    results_dir: Path
    device: str
    seed: int
    take: Callable[[Mapping[str, Any]], None] = lambda state: None


class DownstreamBase(nn.Module):
    """A task: its data, its model and its metric.

    A subclass in ``downstream/<name>/expert.py`` must be called ``DownstreamExpert``. The Runner constructs it with ``upstream_dim``
    (feature width D), ``upstream_rate`` (samples per frame), every top-level field of the config (``downstream_expert`` among them) and
    every argument of the command line (``expdir`` among them), so the constructor ends in ``**kwargs`` and passes them up.

    What the task remembers between batches or evaluations (best score, patience, vocabularies ...) belongs into buffers or
    ``get_extra_state`` as plain data; the Runner saves and restores it. A training that begins with the weights of another (``-i``) takes
    all of it but what :attr:`evaluation_memory` names: the vocabularies, but not the best score.

    Attributes:
        sample_rate: the rate in Hz of the waveforms that the task's data loaders yield and that its features need.
        length_rule: how padded features are cut to an utterance's frames: ``"round"`` (S3PRL: round(len / rate), trimming only),
            ``"ceil"`` (ceil(len / rate), the last frame repeated where frames are missing) or ``"own"`` (the upstream's own lengths, so
            that no utterance ends in frames of padding; ``"round"`` where an upstream tells none). With ``"round"`` a shorter utterance of
            a batch has up to a few frames of padding that it has not when alone, and an answer depends on its batch.
        task_version: raised by every change that can move a number.
        runs: names that ``-m evaluate -t NAME`` hands to :meth:`run` instead of a pass over a split.
        splits: the names that ``get_dataloader`` knows, if they are known in advance; a wrong ``-t`` is then refused with the valid ones.
        trains: False for a task without anything to train: it is evaluated and used without a checkpoint, and ``-m train`` is refused.
        inference_inputs: ``"files"``, ``"pairs"`` (two paths; a folder as the second pairs the first with each of its files) or
            ``"none"`` (the task has no inference on recordings).
        evaluation_memory: what is remembered of evaluations: names in the state dict, or keys of the dict of ``get_extra_state``; names
            that do not exist are passed over.
        feature_layers: numbers of hidden states that the task wants beside each other, (T, numbers * D), in place of their weighted sum;
            None: the sum, as on the command line.
        distributed_evaluation: True if ``forward`` leaves everything that ``log_records`` needs in ``records`` (lists that grow), so
            that batches can be dealt to several processes and their records merged in batch order.
    """

    sample_rate: int = 16000
    length_rule: str = "round"
    task_version: int = 1
    runs: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    trains: bool = True
    inference_inputs: str = "files"
    evaluation_memory: tuple[str, ...] = ("best_score",)
    feature_layers: tuple[int, ...] | None = None
    distributed_evaluation: bool = True

    def __init__(self, expdir: str | Path, results_dir: str | Path | None = None, **kwargs: Any):
        """
        Args:
            expdir: the experiment folder; caches of the run go there.
            results_dir: where predictions and ``log.log`` go: the experiment folder in training,
                ``<expdir>/results/<checkpoint>`` in evaluation. Defaults to ``expdir``.
        """
        super().__init__()
        self.expdir = Path(expdir)
        self.results_dir = Path(results_dir or expdir)

    def get_dataloader(self, split: str, epoch: int = 0) -> Iterable:
        """A DataLoader of ``(wavs, *others)`` for ``split``; wavs is a list of unpadded 1-D float32 arrays or tensors on the CPU.

        The Runner rebuilds it around a seeded batch sampler: draw order and augmentation from the global random generators or from the
        sampler's own, as is convenient; both are exact across a resume.
        """
        raise NotImplementedError

    def forward(self, split: str, features: list[Tensor], *others: Any, records: dict[str, list], **kwargs: Any) -> Tensor:
        """The loss of a batch (scalar, differentiable in training); appends per-item numbers to ``records``.

        Args:
            features: list of (T_i, D) on the model's device.
            others: what the data loader yields after the waveforms, as it is (on the CPU).
            records: lists to grow, cleared after each ``log_records``.
        """
        raise NotImplementedError

    def log_records(
        self, split: str, records: dict[str, list], logger: Any, global_step: int, batch_ids: list[int], total_batch_num: int, **kwargs: Any
    ) -> list[str] | Outcome | None:
        """Reduces the records of a log interval (train) or of a whole pass (evaluation) and logs them.

        Args:
            logger: has TensorBoard's ``add_scalar(tag, value, global_step=...)``, ``add_audio``, ``add_figure`` ...
            global_step: number of optimizer updates done; 0 in ``-m evaluate``.
            batch_ids: indices of the batches behind the records.
            total_batch_num: batches in a full pass.

        Returns:
            names of checkpoints to write (ignored for the training split and in ``-m evaluate``), or an :class:`Outcome`.
        """
        raise NotImplementedError

    def inference(self, features: list[Tensor], names: list[str]) -> list[dict[str, Any]]:
        """Answers for a user's own recordings: one JSON-serialisable dict per item of the batch.

        For ``inference_inputs = "pairs"`` the batch is one pair, and the list has one dict. A task with a method ``pieces(wav)``, which
        cuts a recording into a list of waveforms, gets the features of each piece and the one name.
        """
        raise NotImplementedError

    def run(self, name: str, context: RunContext) -> Outcome | Mapping[str, Score] | None:
        """Work named in ``runs``; returns its scores, if it has any, or an :class:`Outcome` of a variant of it.

        One process does it, however many there are.
        """
        raise NotImplementedError

    def param_groups(self, modules: Mapping[str, nn.Module]) -> list[dict[str, Any]] | None:
        """Own optimizer groups (``{"params": [...], "lr": ..., "weight_decay": ...}``); None = one group of everything trainable.

        Args:
            modules: the trainable ones of ``"Upstream"``, ``"Featurizer"``, ``"Downstream"``.
        """
        return None

    def begin_with(self, upstream: nn.Module) -> None:
        """Called before a training that begins anew, with the upstream: a task that trains a network of the same kind may take weights.

        Weights of ``-i`` come after it and win.
        """

    def before_update(self) -> None:
        """Called on every rank before each optimizer update, when its gradient is whole: accumulated and averaged over the ranks.

        The largest norm of the config is kept to after it.
        """

    def after_update(self) -> None:
        """Called on every rank after each optimizer update: weights may be brought back into a range, averages moved on.

        It has to do the same on all ranks, and what it remembers belongs into the state dict.
        """

    def checkpoint_entries(self) -> Mapping[str, Any]:
        """Further top-level entries of every checkpoint, for other programs: plain data and tensors, which the Runner never reads back.

        A pre-training task puts its network there as its upstream expects it. Tensors that are the task's own take up no further room.
        """
        return {}

    def after_save(self, path: Path, global_step: int) -> None:
        """Called on the leader after each checkpoint file is in place (symlinks, exports)."""
