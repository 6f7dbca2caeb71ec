"""What a checkpoint holds of a training run, and how its folder is brought back to the moment of the checkpoint."""

from __future__ import annotations

import logging
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from downstream.optimisation import Optimisation
from downstream.pipeline import Pipeline
from downstream.resumption import same_settings
from utility.errors import ToolkitError, UsageError
from utility.experiment.checkpoint import step_of
from utility.experiment.experiment import Experiment
from utility.experiment.states import list_checkpoints, list_states
from utility.experiment.trackers import METRICS
from utility.training.distributed import Team

log = logging.getLogger(__name__)

OF_A_CHECKPOINT = ("Upstream", "Scheduler", "Scaler", "WorldSize")  # in some
LOGS = (METRICS, "log.log")  # grow line by line; cut back to their length at the checkpoint when a run is resumed


@dataclass
class Progress:
    """Where a run stands, between two updates.

    Args:
        step: updates done.
        epoch: passes over the training split that are finished.
        consumed: batches of the current pass that are used up, on each rank.
        epoch_length: batches of a pass on each rank; None if unknown.
        pending: the evaluation due at this step has not been done.
        finished: the task has ended the run (early stopping).
        records, batch_ids: what has come together since the last log.
    """

    step: int = 0
    epoch: int = 0
    consumed: int = 0
    epoch_length: int | None = None
    pending: bool = False
    finished: bool = False
    records: dict[str, list] = field(default_factory=lambda: defaultdict(list))
    batch_ids: list[int] = field(default_factory=list)

    @property
    def epochs_done(self) -> int:
        """Whole passes consumed; a pass counts as soon as its last batch is used up."""
        return self.epoch + (self.epoch_length is not None and self.consumed >= self.epoch_length)

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Progress:
        """The progress stored in a checkpoint; S3PRL's have ``Step`` and ``Epoch`` alone and restart their epoch."""
        return cls(
            step=int(state.get("Step", 0)),
            epoch=int(state.get("Epoch", 0)),
            consumed=int(state.get("Consumed", 0)),
            epoch_length=state.get("EpochLength"),
            pending=bool(state.get("Pending")),
            finished=bool(state.get("Finished")),
            records=defaultdict(list, state.get("Records", {})),
            batch_ids=list(state.get("BatchIds", [])),
        )

    def state(self) -> dict[str, Any]:
        """Entries of the checkpoint."""
        return {
            "Step": self.step,
            "Epoch": self.epoch,
            "Consumed": self.consumed,
            "EpochLength": self.epoch_length,
            "Pending": self.pending,
            "Finished": self.finished,
            "Records": dict(self.records),
            "BatchIds": list(self.batch_ids),
        }


def take(experiment: Experiment, pipeline: Pipeline, optimisation: Optimisation, progress: Progress, team: Team) -> dict[str, Any]:
    """The whole checkpoint: S3PRL's entries (specs/s3prl-core.md, 6) and beside them what an exact resume needs."""
    state = {
        **{name: module.state_dict() for name, module in pipeline.trainable.items()},
        **optimisation.state(),
        **progress.state(),
        "Args": experiment.args,
        "Config": experiment.config,
        "Files": experiment.folder.sizes(LOGS),
        "Threads": torch.get_num_threads(),
    }
    if team.size > 1:
        state["WorldSize"] = team.size
    further = getattr(pipeline.downstream, "checkpoint_entries", dict)()
    if taken := further.keys() & {*state, *OF_A_CHECKPOINT}:
        raise ToolkitError(f"the task's checkpoint_entries() has {sorted(taken)[0]!r}, which is an entry of every checkpoint")
    return {**state, **further}


def check_team(state: Mapping[str, Any], team: Team) -> None:
    """A run goes on with as many processes as it began with."""
    world = state.get("WorldSize", 1)
    if world != team.size:
        raise UsageError(f"the run was trained by {world} process(es) and cannot go on with {team.size}; start it with {world}")


def prepare_folder(experiment: Experiment, step: int, tag: str) -> None:
    """Makes the folder hold just what the run had at its checkpoint, or nothing for a fresh run; whatever else lay there is kept aside.

    Args:
        experiment: the experiment; its folder is locked by the caller.
        step: the step of the checkpoint.
        tag: the time, for the name of what is kept aside.
    """
    folder = experiment.folder
    if not experiment.resumes:
        aside = folder.set_aside(tag)
        if aside is not None:
            log.warning("the folder held a run already: it now lies in %s", aside)
        return
    home, sizes = Path(experiment.checkpoint).parent, dict(experiment.state.get("Files", {}))
    if home.resolve() != folder.path.resolve():
        folder.set_aside(tag)
        later = _named_later(home, step)
        _copy([*sizes, *(p.name for p in _named(home) if p not in later)], home, folder.path)
    # The newest checkpoint with unchanged settings goes on as the same run did, and writes the same dev-best.ckpt again.
    goes_another_way = any(number > step for number, _ in folder.states()) or not same_settings(experiment)
    aside = folder.set_aside_after(step, tag, _named_later(folder.path, step) if goes_another_way else ())
    if aside is not None:
        log.warning("going on from step %d: later checkpoints now lie in %s", step, aside)
        _copy(sizes, folder.path, aside)
    folder.truncate(sizes)


def _named(folder: Path) -> list[Path]:
    """The checkpoints without a number, such as ``dev-best.ckpt``."""
    numbered = [path for _, path in list_states(folder)]
    return [path for path in list_checkpoints(folder) if path not in numbered]


def _named_later(folder: Path, step: int) -> list[Path]:
    return [path for path in _named(folder) if (step_of(path) or 0) > step]


def _copy(names: Iterable[str], source: Path, target: Path) -> None:
    for name in names:
        if (source / name).is_file():
            shutil.copy(source / name, target / name)
