"""What an evaluation on a test set leaves: results.csv, three pictures, and the numbers as SHEET logs them."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from downstream.interfaces import Score
from utility.metrics.mos import HIGHER_IS_BETTER, KEYS, LEVELS, MEASURES, NLL, confidence_interval, evaluate, log_line

from .plots import draw_all
from .table import Rating

COLUMNS = ("wav_path", "system_id", "sample_id", "avg_score", "answer")


@dataclass(frozen=True)
class Predictions:
    """Answers to the samples of a set.

    Args:
        samples: one row each.
        answers: a score each.
        log_variances: of each, or None.
        retrieved: the data set of the datastore's nearest entry of each, or None.
        distributions: what the log variances are the spread of: ``Gaussian``, ``Laplace``, as the predictor was trained.
    """

    samples: Sequence[Rating]
    answers: Sequence[float]
    log_variances: Sequence[float] | None = None
    retrieved: Sequence[str] | None = None
    distributions: Collection[str] = ()

    @property
    def systems(self) -> list[str]:
        return [sample.system for sample in self.samples]

    @property
    def truth(self) -> list[float]:
        return [sample.mean for sample in self.samples]

    def metrics(self) -> dict[str, float | None]:
        """The eight numbers of :mod:`utility.metrics.mos`."""
        return evaluate(self.systems, self.truth, self.answers)

    def likelihoods(self) -> dict[str, float]:
        """The mean negative log likelihood of the scores by listeners, in nats, by distribution; {} without log variances.

        It is not finite where an answer is not, or where a log variance is so low that its exponential is nothing.
        """
        if self.log_variances is None:
            return {}
        with np.errstate(over="ignore", invalid="ignore"):
            return {name: NLL[name](self.truth, self.answers, self.log_variances) for name in sorted(self.distributions)}


def write_report(folder: str | Path, predictions: Predictions, bootstrap: int = 0) -> dict[str, Score]:
    """Writes results.csv, inference.log and the pictures, and prints the table.

    Args:
        bootstrap: samples of it for 95 % confidence intervals; 0 for none.

    Returns:
        the numbers that are defined.
    """
    folder, metrics = Path(folder), predictions.metrics()
    folder.mkdir(parents=True, exist_ok=True)
    _write_results(folder / "results.csv", predictions)
    draw_all(folder, predictions.systems, predictions.truth, predictions.answers)
    lines = [log_line(metrics, kendall=False), "", *markdown(metrics), *undefined(predictions)]
    if predictions.log_variances is not None:
        lines.append(f"Mean log variance: {np.mean(predictions.log_variances):.3f}")
    likelihoods = predictions.likelihoods()
    lines += [
        f"{name} negative log likelihood: " + (f"{value:.3f}" if math.isfinite(value) else "undefined")
        for name, value in likelihoods.items()
    ]
    if bootstrap:
        intervals = confidence_interval(predictions.systems, predictions.truth, predictions.answers, bootstrap)
        lines += [
            f"{key}: {metrics[key]:.3f}, 95 % of {bootstrap} bootstrap samples within {low:.3f} to {high:.3f}"
            for key, (low, high) in intervals.items()
        ]
    (folder / "inference.log").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    own = {f"utt_{name}_NLL": Score(value, False, "nats") for name, value in likelihoods.items() if math.isfinite(value)}
    return scores_of(metrics) | own


def scores_of(metrics: Mapping[str, float | None]) -> dict[str, Score]:
    """The numbers that are defined, with their directions."""
    units = {key: "score squared" if key.endswith("MSE") else "correlation" for key in KEYS}
    return {key: Score(value, HIGHER_IS_BETTER[key], units[key]) for key, value in metrics.items() if value is not None}


def markdown(metrics: Mapping[str, float | None]) -> list[str]:
    """The table of the eight numbers."""
    names = [f"{level.capitalize()} {measure}" for level in LEVELS for measure in MEASURES]
    values = ["undefined" if metrics[key] is None else str(round(metrics[key], 3)) for key in KEYS]
    widths = [max(len(name), len(value)) for name, value in zip(names, values, strict=True)]
    rule = [f":{'-' * (width - 2)}:" for width in widths]
    return ["| " + " | ".join(cell.center(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in (names, rule, values)]


def undefined(predictions: Predictions) -> list[str]:
    """Why numbers are undefined, a sentence each."""
    if lost := int((~np.isfinite(predictions.answers)).sum()):
        return [f"All numbers are undefined: {lost} of {len(predictions.answers)} answers are not finite; the predictor has diverged."]
    reasons = []
    if len(set(predictions.systems)) == 1 and len(predictions.samples) > 1:
        reasons.append(f"System-level correlations are undefined: all {len(predictions.samples)} samples are of one system.")
    if len(predictions.samples) == 1:
        reasons.append("Correlations are undefined: there is one sample.")
    if np.ptp(predictions.truth) == 0 and len(predictions.samples) > 1:
        reasons.append("Correlations are undefined: all scores by listeners are equal.")
    if np.ptp(predictions.answers) == 0 and len(predictions.samples) > 1:
        reasons.append("Correlations are undefined: all answers are equal.")
    return reasons


def _write_results(path: Path, predictions: Predictions) -> None:
    extra = {"logvar": predictions.log_variances, "retrieved_id": predictions.retrieved}
    extra = {name: values for name, values in extra.items() if values is not None}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow((*COLUMNS, *extra))
        for place, (sample, answer) in enumerate(zip(predictions.samples, predictions.answers, strict=True)):
            writer.writerow((sample.wav_path, sample.system, sample.sample, sample.mean, answer, *(own[place] for own in extra.values())))
