"""Metrics of a whole evaluation."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from downstream.interfaces import Score
from utility.metrics.enhancement import HIGHER_IS_BETTER, UNITS, Pair, Summary, score_pairs, summarise, write_csv

log = logging.getLogger(__name__)


def measure(records: Mapping[str, list], rate: int, metrics: Sequence[str], table: Path) -> dict[str, Summary]:
    """Scores of the enhanced waveforms of an evaluation; each recording's go into a table.

    Args:
        records: ``enhanced`` and ``clean`` waveforms (n,), and ``name``.
        rate: in Hz.
        metrics: their names.
        table: the csv to write.
    """
    rows = _rows(records, "enhanced", rate, metrics)
    table.parent.mkdir(parents=True, exist_ok=True)
    write_csv(table, records["name"], rows)
    summary = summarise(rows)
    for name, one in summary.items():
        if one.failures or one.infinite:
            log.warning("%s: %d of %d recordings have no value, and %d an infinite one", name, one.failures, len(rows), one.infinite)
    return summary


def improvements(records: Mapping[str, list], rate: int, summary: Mapping[str, Summary]) -> dict[str, Score]:
    """Scores of the recordings as they were, ``noisy_<metric>``, and the standard deviations of the enhanced ones, ``<metric>_std``."""
    before = summarise(_rows(records, "noisy", rate, list(summary)))
    scores = {f"noisy_{name}": Score(one.mean, HIGHER_IS_BETTER[name], UNITS[name]) for name, one in before.items()}
    return scores | {f"{name}_std": Score(one.std, higher_is_better=None, unit=UNITS[name]) for name, one in summary.items()}


def _rows(records: Mapping[str, list], side: str, rate: int, metrics: Sequence[str]) -> list[dict[str, float]]:
    triples = zip(records["name"], records["clean"], records[side], strict=True)
    return list(score_pairs((Pair(*triple) for triple in triples), rate, metrics))


def keep(records: dict[str, list], names: Sequence[str], **waves: Iterable[Tensor]) -> None:
    """Appends what :func:`measure` reads: names, and the waveforms of ``noisy``, ``clean`` and ``enhanced``."""
    records["name"] += names
    for side, own in waves.items():
        records[side] += [wave.cpu().numpy() for wave in own]
