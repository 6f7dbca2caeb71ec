"""How well a system knows who spoke when: the error rate as NIST's md-eval and dscore count it (spec: downstream-speaker.md 5.5).

Reference and system of a recording are mappings from speakers to their turns, arrays (n, 2) of start and end in seconds. Time is cut at
every boundary of both; between two boundaries nothing changes, so that all sums are exact, whatever the length of the recording.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

Speakers = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class DiarizationScore:
    """Speaker time of one recording, or of several together.

    Args:
        scored: seconds of speech in the reference, two at once counting twice.
        missed: seconds of it for which the system has too few speakers.
        false_alarm: seconds for which it has too many.
        confusion: seconds with another speaker than the reference's.
        jaccard: per speaker of the reference, one minus intersection over union with the system's.
        mapping: which speaker of the system is which of the reference; empty for several recordings.
    """

    scored: float = 0.0
    missed: float = 0.0
    false_alarm: float = 0.0
    confusion: float = 0.0
    jaccard: tuple[float, ...] = ()
    mapping: Mapping[str, str] = field(default_factory=dict)

    @property
    def wrong(self) -> float:
        """Seconds of all three errors."""
        return self.missed + self.false_alarm + self.confusion

    @property
    def der(self) -> float:
        """Diarization error rate, a fraction; infinite for errors without any speech in the reference."""
        if self.scored > 0:
            return self.wrong / self.scored
        return float("inf") if self.wrong > 0 else 0.0

    @property
    def jer(self) -> float:
        """Jaccard error rate, a fraction: the average over the reference's speakers; without any, 1 if the system found some."""
        if self.jaccard:
            return float(np.mean(self.jaccard))
        return 1.0 if self.false_alarm > 0 else 0.0


def pooled(scores: Iterable[DiarizationScore]) -> DiarizationScore:
    """The OVERALL row: times are added, speakers put side by side."""
    scores = list(scores)
    sums = {name: sum(getattr(score, name) for score in scores) for name in ("scored", "missed", "false_alarm", "confusion")}
    return DiarizationScore(**sums, jaccard=tuple(error for score in scores for error in score.jaccard))


def merged(turns: np.ndarray) -> np.ndarray:
    """Turns (n, 2) in order, those that overlap or touch as one; empty ones are dropped."""
    turns = np.asarray(turns, np.float64).reshape(-1, 2)
    turns = turns[turns[:, 1] > turns[:, 0]]
    turns = turns[np.argsort(turns[:, 0], kind="stable")]
    if not len(turns):
        return turns
    reach = np.maximum.accumulate(turns[:, 1])
    first = np.concatenate([[True], turns[1:, 0] > reach[:-1]])
    last = np.concatenate([first[1:], [True]])
    return np.stack([turns[first, 0], reach[last]], axis=1)


class _Timeline(NamedTuple):
    """One recording between its boundaries.

    Args:
        seconds: (n,) length of each piece that lies within the scored region.
        reference, system: (n, speakers) 1 where a speaker speaks, float64.
        counts: (n,) False next to a boundary of the reference (the collar).
    """

    seconds: np.ndarray
    reference: np.ndarray
    system: np.ndarray
    counts: np.ndarray


def score_recording(
    reference: Speakers, system: Speakers, region: np.ndarray | None = None, collar: float = 0.0, skip_overlap: bool = False
) -> DiarizationScore:
    """Scores one recording.

    Args:
        reference: turns (n, 2) by speaker, in seconds; turns of one speaker that overlap count once.
        system: the same of the system, whatever it calls its speakers.
        region: (n, 2) what is scored (a UEM); by default from the earliest to the latest turn of both.
        collar: seconds before and after each boundary of the reference that are not scored (half of what pyannote calls so).
        skip_overlap: leave out where the reference has more than one speaker.

    Returns:
        the times under the one-to-one mapping of speakers that shares most time. The Jaccard errors heed neither collar nor overlap.
    """
    line = _timeline(*(_flat(speakers) for speakers in (reference, system)), region, collar)
    scored = line.seconds * line.counts
    if skip_overlap:
        scored = scored * (line.reference.sum(axis=1) <= 1)
    rows, columns = _assignment(line, scored)
    speaking, answered = line.reference.sum(axis=1), line.system.sum(axis=1)
    right = (line.reference[:, rows] * line.system[:, columns]).sum(axis=1)
    here, there = list(reference), list(system)
    return DiarizationScore(
        scored=float(scored @ speaking),
        missed=float(scored @ np.maximum(speaking - answered, 0)),
        false_alarm=float(scored @ np.maximum(answered - speaking, 0)),
        confusion=float(scored @ (np.minimum(speaking, answered) - right)),
        jaccard=_jaccard(line),
        mapping={there[column]: here[row] for row, column in zip(rows, columns, strict=True)},
    )


def score_recordings(
    references: Mapping[str, Speakers],
    systems: Mapping[str, Speakers],
    regions: Mapping[str, np.ndarray] | None = None,
    collar: float = 0.0,
    skip_overlap: bool = False,
) -> dict[str, DiarizationScore]:
    """Scores every recording that either side has, or every one of ``regions``; what a side lacks is silence to it."""
    names = sorted(regions if regions is not None else {*references, *systems})
    return {
        name: score_recording(references.get(name, {}), systems.get(name, {}), (regions or {}).get(name), collar, skip_overlap)
        for name in names
    }


class _Flat(NamedTuple):
    """All turns (n, 2) of all speakers, whose each is, and how many there are."""

    turns: np.ndarray
    speaker: np.ndarray
    speakers: int


def _flat(speakers: Speakers) -> _Flat:
    turns = [merged(own) for own in speakers.values()]
    owner = np.repeat(np.arange(len(turns)), [len(own) for own in turns])
    return _Flat(np.concatenate([np.zeros((0, 2)), *turns]), owner, len(turns))


def _timeline(reference: _Flat, system: _Flat, region: np.ndarray | None, collar: float) -> _Timeline:
    everything = np.concatenate([reference.turns, system.turns])
    if region is None:
        region = np.array([[everything.min(), everything.max()]]) if len(everything) else np.zeros((0, 2))
    region = merged(region)
    edges = reference.turns.ravel() if collar else np.zeros(0)
    silent = _Flat(merged(np.stack([edges - collar, edges + collar], axis=1)), np.zeros(0, int), 1)
    bounds = np.unique(np.concatenate([everything.ravel(), region.ravel(), silent.turns.ravel()]))
    if len(bounds) < 2:
        return _Timeline(np.zeros(0), np.zeros((0, reference.speakers)), np.zeros((0, system.speakers)), np.zeros(0, bool))
    inside = _activity(bounds, _Flat(region, np.zeros(len(region), int), 1))[:, 0] > 0
    counts = _activity(bounds, silent._replace(speaker=np.zeros(len(silent.turns), int)))[:, 0] == 0
    return _Timeline(np.diff(bounds)[inside], _activity(bounds, reference)[inside], _activity(bounds, system)[inside], counts[inside])


def _activity(bounds: np.ndarray, flat: _Flat) -> np.ndarray:
    """(len(bounds) - 1, speakers) float64: 1 between two bounds where a speaker has a turn."""
    change = np.zeros((len(bounds), flat.speakers))
    np.add.at(change, (np.searchsorted(bounds, flat.turns[:, 0]), flat.speaker), 1)
    np.subtract.at(change, (np.searchsorted(bounds, flat.turns[:, 1]), flat.speaker), 1)
    return change.cumsum(axis=0)[:-1]


def _assignment(line: _Timeline, seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of speakers of both sides that together share most of the time; those that share none are left out."""
    shared = (line.reference * seconds[:, None]).T @ line.system
    rows, columns = linear_sum_assignment(shared, maximize=True)
    some = shared[rows, columns] > 0
    return rows[some], columns[some]


def _jaccard(line: _Timeline) -> tuple[float, ...]:
    """The error of each speaker of the reference under the mapping that makes their sum least; 1 for a speaker that none is mapped to."""
    spoken = line.seconds @ line.reference
    answered = line.seconds @ line.system
    shared = (line.reference * line.seconds[:, None]).T @ line.system
    union = spoken[:, None] + answered[None] - shared
    index = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    errors = np.ones(len(spoken))
    rows, columns = linear_sum_assignment(index, maximize=True)
    errors[rows] -= index[rows, columns]
    return tuple(errors[spoken > 0].tolist())
