"""Plans: a task that reads another system's config turns it into stages, which are run one after the other.

A task may have a ``plan.py`` beside its ``expert.py`` with a function ``plan(order: Order) -> Plan | None``. It is asked whenever a config
is given with ``-c``; None means that the config is one of ours. The function is pure and imports no torch: it reads the config and the
command line, says every fault, and returns what is to be done. ``run_downstream.py`` does it, and names no task.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utility.errors import CheckpointError
from utility.experiment.command_line import Arguments
from utility.experiment.folder import ExperimentFolder
from utility.experiment.plugins import load_task_module
from utility.experiment.texts import write_text

PLAN_FILE, JOURNAL = "plan.py", "stages.json"
BEST, LAST = "best", "last"
_REPLACED = frozenset({"auto_resume", "override", "expname", "config", "past_exp", "init_ckpt"})


@dataclass(frozen=True)
class Order:
    """What the user asks for.

    Args:
        source: the path of the config.
        args: the command line's values.
        given: those that were typed.
        now: seconds since 1970, the same in all processes of a run.
    """

    source: str
    args: Mapping[str, Any]
    given: frozenset[str]
    now: float


@dataclass(frozen=True)
class Stage:
    """One run of the Runner.

    Args:
        mode: ``-m``.
        config: the whole config, one of ours.
        expdir: the experiment folder.
        splits: the values of ``-t``.
        weights: the checkpoint to take weights from (``-i``): a path, or :data:`BEST` or :data:`LAST` of the folder.
        past: the checkpoint or folder to take up whole (``-e``).
        device: ``--device``.
        report: called with the folder when the stage is done; its lines go to the log of the plan.
    """

    mode: str
    config: dict[str, Any]
    expdir: str
    splits: tuple[str, ...] = ("test",)
    weights: str | None = None
    past: str | None = None
    device: str = "auto"
    report: Callable[[Path], list[str]] | None = None

    @property
    def title(self) -> str:
        """``train``, ``evaluate test``."""
        return self.mode if self.mode == "train" else f"{self.mode} {' '.join(self.splits)}"

    @property
    def digest(self) -> str:
        """Equal for stages that do the same."""
        does = [self.mode, self.splits, self.weights, self.past, self.config]
        return hashlib.sha256(json.dumps(does, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class Plan:
    """What is to be done, in order; all stages share one folder.

    Args:
        stages: at least one.
        override: what is left of ``-o`` for each stage.
        resumes: go on where the plan was left: stages that are done are passed over, and a training is taken up.
        files: texts to write beneath the folder, by path.
        log: the name of a file beneath it that grows line by line, and the lines that it begins with.
        warnings: sentences for the user.
    """

    stages: tuple[Stage, ...]
    override: str | None = None
    resumes: bool = False
    files: Mapping[str, str] = field(default_factory=dict)
    log: tuple[str, tuple[str, ...]] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return Path(self.stages[0].expdir)


def plan_of(order: Order, task: Path) -> Plan | None:
    """The plan that a task makes of a config; None where it has no ``plan.py``, or the config is one of ours."""
    if not (task / PLAN_FILE).is_file():
        return None
    return load_task_module(task, "plan").plan(order)


def namespace_of(stage: Stage, plan: Plan, namespace: Arguments) -> Arguments:
    """The command line of a stage: the user's, with what the stage says.

    Raises:
        CheckpointError: the stage needs a checkpoint of the folder, which has none.
    """
    told = copy.deepcopy(vars(namespace))
    told |= {"mode": stage.mode, "evaluate_split": list(stage.splits), "expdir": stage.expdir, "expname": None, "device": stage.device}
    goes_on = stage.mode == "train" and plan.resumes and bool(ExperimentFolder(stage.expdir).states())
    past = stage.expdir if goes_on else stage.past
    weights = None if past else _checkpoint(stage)
    told |= {"init_ckpt": weights, "past_exp": past, "auto_resume": False, "override": plan.override}
    made = Arguments(**told)
    made.given = (namespace.given - _REPLACED) | {"mode", "expdir"}
    return made


def _checkpoint(stage: Stage) -> str | None:
    """The path that :attr:`Stage.weights` means now."""
    if stage.weights not in (BEST, LAST):
        return stage.weights
    folder = ExperimentFolder(stage.expdir)
    best = sorted(folder.path.glob("*best.ckpt")) if stage.weights == BEST else []
    found = best[0] if best else folder.latest()
    if found is None:
        raise CheckpointError(f"{stage.title} needs a checkpoint, and there is none in {stage.expdir}")
    return str(found)


class Journal:
    """Which stages of a plan are done, in its folder.

    Args:
        plan: the plan; one that does not resume forgets what an earlier one has done.
        writes: False for the processes that are not the leader.
    """

    def __init__(self, plan: Plan, writes: bool = True):
        self.plan, self.writes = plan, writes
        self.path = plan.folder / JOURNAL
        self._done: list[str] = _read(self.path) if plan.resumes else []

    def done(self, stage: Stage) -> bool:
        """Whether the stage is done and none before it has been done again."""
        return stage.digest in self._done

    def begin(self) -> None:
        """Writes what belongs into the folder from the start."""
        if self.writes:
            self._write_files()
            self._say(self._head())

    def note(self, stage: Stage) -> None:
        """The stage is done. (A training that begins anew has put aside what lay in the folder.)"""
        self._done.append(stage.digest)
        if self.writes:
            self._write_files()
            write_text(self.path, json.dumps({"done": self._done}) + "\n")
            self._say(stage.report(self.plan.folder) if stage.report else ())

    def _write_files(self) -> None:
        for name, text in self.plan.files.items():
            place = self.plan.folder / name
            if not place.is_file() or place.read_text(encoding="utf-8") != text:
                place.parent.mkdir(parents=True, exist_ok=True)
                write_text(place, text)

    def _say(self, lines: tuple[str, ...] | list[str]) -> None:
        if self.plan.log:
            place = self.plan.folder / self.plan.log[0]
            head = () if place.exists() or lines == self._head() else self._head()
            with place.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in (*head, *lines))

    def _head(self) -> tuple[str, ...]:
        return self.plan.log[1] if self.plan.log else ()


def _read(path: Path) -> list[str]:
    """The digests of a journal; [] where there is none that can be read."""
    try:
        done = json.loads(path.read_text(encoding="utf-8"))["done"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [str(digest) for digest in done] if isinstance(done, list) else []
