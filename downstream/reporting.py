"""Results: one file per checkpoint and split, one line for the user."""

from __future__ import annotations

from pathlib import Path

from downstream.evaluation import Evaluated
from downstream.interfaces import Score
from downstream.pipeline import Pipeline
from utility.experiment import results
from utility.experiment.experiment import Experiment


def write_result(evaluated: Evaluated, experiment: Experiment, pipeline: Pipeline, checkpoint: Path | None) -> Path:
    """Writes ``results/<checkpoint>/<split>.json`` and returns its path."""
    args = experiment.args
    result = results.Result(
        upstream=args["upstream"],
        downstream=args["downstream"],
        task_version=getattr(pipeline.downstream, "task_version", 1),
        split=evaluated.split,
        checkpoint=checkpoint.name if checkpoint else None,
        step=evaluated.step,
        scores=results.score_records(evaluated.outcome.scores, evaluated.scalars),
        items=evaluated.items,
        batches=evaluated.batches,
        args=args,
        config=experiment.config,
        wall_seconds=round(evaluated.seconds, 3),
        peak_memory_mb=round(results.peak_memory_mb(pipeline.device), 1),
        **results.provenance(pipeline.device),
    )
    folder = experiment.folder.results(checkpoint.name if checkpoint else None)
    return results.write(result, folder / result_name(evaluated))


def result_name(evaluated: Evaluated) -> str:
    """``<split>.json``, or ``<split>-<variant>.json``."""
    return f"{'-'.join(filter(None, (evaluated.split, evaluated.outcome.variant)))}.json"


def summary(evaluated: Evaluated) -> str:
    """One line: ``test: acc 0.95, loss 0.2``."""
    scores: dict[str, Score | float] = dict(evaluated.outcome.scores) or dict(evaluated.scalars)
    shown = ", ".join(f"{name.split('/')[-1]} {getattr(score, 'value', score):.6g}" for name, score in scores.items())
    return f"{evaluated.split}: {shown or 'done'}"
