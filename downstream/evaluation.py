"""One pass over a split: by one process or dealt to several, with the same records either way."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from tqdm import tqdm

from downstream.interfaces import Outcome
from downstream.pipeline import Pipeline
from utility.errors import DataError
from utility.experiment.killpoints import reach
from utility.experiment.trackers import Tracker
from utility.training.distributed import Team
from utility.training.loading import Pass, Place
from utility.training.seeding import Stream, number_of, seed_everything


class InterruptedPassError(Exception):
    """An evaluation was given up because the run was asked to stop."""


@dataclass
class Evaluated:
    """What came of an evaluation; complete on the leader, save names and stop on every rank.

    Args:
        split: the name of the split.
        step: updates done when it was evaluated.
        outcome: what the task made of its records.
        scalars: the numbers that it logged, by tag.
        items, batches: how much was evaluated.
        seconds: wall time.
    """

    split: str
    step: int
    outcome: Outcome
    scalars: dict[str, float] = field(default_factory=dict)
    items: int = 0
    batches: int = 0
    seconds: float = 0.0


@dataclass
class Evaluator:
    """Evaluates splits; every evaluation of a split sees the same random numbers.

    Args:
        pipeline: the models.
        team: the processes; batches are dealt to them if the task says that its records can be merged.
        seed: of the experiment.
        ratio: part of the batches that is evaluated (``runner.evaluate_ratio``).
        should_stop: asked between batches of a single process; True raises :class:`InterruptedPassError`.
    """

    pipeline: Pipeline
    team: Team
    seed: int
    ratio: float = 1.0
    should_stop: Callable[[], bool] = lambda: False

    def __call__(self, split: str, tracker: Tracker, global_step: int) -> Evaluated:
        """Runs the pass and the task's ``log_records`` (on the leader, whose memory of it every rank then shares)."""
        start = time.monotonic()
        with self.pipeline.evaluating():
            records, batch_ids, items, total = self._pass(split)
            outcome, scalars = Outcome(), {}
            if self.team.leads:
                tracker.take()
                answer = self.pipeline.downstream.log_records(
                    split, records=records, logger=tracker, global_step=global_step, batch_ids=batch_ids, total_batch_num=total
                )
                outcome, scalars = as_outcome(answer), tracker.take()
        outcome = self.team.share(outcome)
        self.team.share_memory_of([self.pipeline.downstream])
        return Evaluated(split, global_step, outcome, scalars, items, len(batch_ids), time.monotonic() - start)

    def _pass(self, split: str) -> tuple[dict[str, list], list[int], int, int]:
        """Records, ids of the evaluated batches, number of items, number of batches of a full pass."""
        dealt = self.team.size > 1 and getattr(self.pipeline.downstream, "distributed_evaluation", False)
        if not dealt and not self.team.leads:
            return {}, [], 0, 0
        if dealt:
            self.team.share_memory_of([self.pipeline.downstream])
        rank, world = (self.team.rank, self.team.size) if dealt else (0, 1)
        place = Place(self.seed, Stream.EVALUATION, split, rank=rank, world=world, even=False, ratio=self.ratio)
        opened = self.pipeline.open_pass(split, place)
        found = self._batches(split, place, opened, merge=not dealt)
        records, ids, items = self._merged(found) if dealt else found
        return records, ids, items, opened.total or len(ids)

    def _batches(self, split: str, place: Place, opened: Pass, merge: bool) -> tuple[Any, list[int], int]:
        """Evaluates the batches of this rank into one set of records, or into one per batch."""
        records: dict[str, list] = defaultdict(list)
        separate, ids, items = [], [], 0
        for batch_id, batch in self._progress(split, place, opened):
            seed_everything(self.seed, Stream.EVALUATION, number_of(split), batch_id)
            own = records if merge else defaultdict(list)
            self.pipeline.loss(split, batch, own, batch_id=batch_id)
            separate.append(None if merge else own)
            ids.append(batch_id)
            items += len(batch[0])
            reach("evaluate.middle")
            if self.team.size == 1 and self.should_stop():
                raise InterruptedPassError
        if not ids and (place.rank == 0 or opened.total == 0):  # a rank may well have none where there are fewer batches than ranks
            raise DataError(f"the split {split!r} has no batch to evaluate")
        return (records if merge else separate), ids, items

    def _progress(self, split: str, place: Place, opened: Pass) -> Iterator[tuple[int, Any]]:
        look = {"leave": False, "dynamic_ncols": True, "mininterval": 0.5}
        bar = tqdm(opened.batches, desc=split, total=opened.expected, disable=not self.team.leads, **look)
        for number, batch in enumerate(bar):
            yield place.rank + number * place.world, batch

    def _merged(self, mine: tuple[list[dict[str, list]], list[int], int]) -> tuple[dict[str, list], list[int], int]:
        """Brings the records of all ranks to the leader, in the order of the batches."""
        gathered = self.team.gather(([_on_cpu(r) for r in mine[0]], *mine[1:]))
        if gathered is None:
            return {}, [], 0
        by_batch = sorted(((i, r) for separate, ids, _ in gathered for i, r in zip(ids, separate, strict=True)), key=lambda pair: pair[0])
        records: dict[str, list] = defaultdict(list)
        for _, own in by_batch:
            for key, values in own.items():
                if not isinstance(values, list):
                    raise TypeError(f"records[{key!r}] is no list; set distributed_evaluation = False to evaluate on one process")
                records[key].extend(values)
        return records, [i for i, _ in by_batch], sum(items for *_, items in gathered)


def as_outcome(answer: Any) -> Outcome:
    """What ``log_records`` returned, whichever of its forms it has."""
    if isinstance(answer, Outcome):
        return answer
    if isinstance(answer, str):
        return Outcome(save_names=[answer])
    return Outcome(save_names=list(answer) if isinstance(answer, (list, tuple)) else [])


def _on_cpu(records: dict[str, list]) -> dict[str, list]:
    def move(value: Any) -> Any:
        return value.detach().cpu() if isinstance(value, torch.Tensor) else value

    return {key: [move(v) for v in values] if isinstance(values, list) else values for key, values in records.items()}
