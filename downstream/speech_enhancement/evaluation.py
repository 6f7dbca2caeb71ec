"""The test set through a mask, torch's or an ONNX file's: scores of each recording, of the noisy one beside the enhanced one."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from downstream.interfaces import Score
from utility.audio.stft import Stft
from utility.errors import DataError
from utility.metrics.enhancement import HIGHER_IS_BETTER, UNITS, Pair, Summary, score_pairs, summarise, write_csv

from .masking import Mask, enhance

log = logging.getLogger(__name__)

_COLUMNS = {"si-snr": "sisnr"}  # as the STM32 zoo calls it in these files
_NAMED = 5  # recordings without a score that a warning names

Load = Callable[[Any], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Evaluated:
    """Scores of recordings, in the order of ``names``.

    Args:
        names: of the recordings.
        enhanced, noisy: a row for each of them.
    """

    names: list[str]
    enhanced: list[dict[str, float]]
    noisy: list[dict[str, float]]

    def scores(self) -> dict[str, Score]:
        """Means of the enhanced recordings, and of the noisy ones as ``noisy_...``."""
        rows = {"": self.enhanced, "noisy_": self.noisy}
        means = {prefix + name: (name, found.mean) for prefix, each in rows.items() for name, found in summarise(each).items()}
        return {key: Score(mean, HIGHER_IS_BETTER[name], UNITS[name]) for key, (name, mean) in means.items()}


def evaluate(pairs: Sequence[Any], load: Load, stft: Stft, mask: Mask, metrics: Sequence[str], frames: int | None, title: str) -> Evaluated:
    """Enhances and scores; the waveforms are in memory a few at a time.

    Args:
        pairs: with a ``name`` each.
        load: a pair -> noisy and clean waveform.
        stft: the transform.
        mask: (B, F, T) magnitudes -> mask.
        metrics: names.
        frames: see :func:`~downstream.speech_enhancement.masking.enhance`.
        title: of the progress bar.

    Raises:
        DataError: there are no pairs, a recording cannot be read, a metric does not go with the rate.
    """
    if not pairs:
        raise DataError("the test set has no recordings to evaluate")

    def waves() -> Iterator[Pair]:
        for pair in tqdm(pairs, desc=title, unit="file", dynamic_ncols=True, leave=False):
            noisy, clean = load(pair)
            better = enhance(noisy, stft, mask, frames)
            yield Pair(pair.name, clean.numpy(), better)
            yield Pair(pair.name, clean.numpy()[: None if frames is None else len(better)], noisy.numpy())

    rows = list(score_pairs(waves(), stft.options.sample_rate, metrics))
    found = Evaluated([pair.name for pair in pairs], rows[::2], rows[1::2])
    _warn(found)
    return found


def write(found: Evaluated, folder: Path) -> None:
    """``metrics_dict.json`` (means), ``detailed_metrics.csv`` (a line each), ``summary.json`` (deviations, failures, noisy ones too)."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{_COLUMNS.get(name, name): value for name, value in row.items()} for row in found.enhanced]
    write_csv(folder / "detailed_metrics.csv", found.names, rows)
    _dump(folder / "metrics_dict.json", {name: summary.mean for name, summary in summarise(rows).items()})
    parts = {"enhanced": found.enhanced, "noisy": found.noisy}
    _dump(folder / "summary.json", {part: {name: asdict(s) for name, s in summarise(each).items()} for part, each in parts.items()})


def _dump(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=4), encoding="utf-8")


def _warn(found: Evaluated) -> None:
    """Says which recordings have no value in a metric."""
    summaries: dict[str, Summary] = summarise(found.enhanced)
    for name, summary in summaries.items():
        if missing := summary.failures:
            named = [recording for recording, row in zip(found.names, found.enhanced, strict=True) if row[name] != row[name]]
            which = ", ".join(named[:_NAMED]) + (", ..." if missing > _NAMED else "")
            log.warning(
                "%s could not be measured for %d of %d recordings, which its mean leaves out: %s", name, missing, len(found.names), which
            )
