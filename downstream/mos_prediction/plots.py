"""Pictures of predictions: distribution over the scale, and predicted against true scores (specs/mos-prediction.md, 12)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utility.experiment.figures import new_figure
from utility.metrics.mos import by_system, evaluate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCALE = (1, 5)
STYLE = "seaborn-v0_8-deep"


def draw_all(folder: str | Path, systems: Sequence[str], truth: Sequence[float], predicted: Sequence[float]) -> None:
    """Writes ``distribution.png``, ``utt_scatter_plot.png`` and ``sys_scatter_plot.png``; what is not finite has no place in them."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    metrics = evaluate(systems, truth, predicted)
    _, (system_truth, system_predicted) = by_system(systems, truth, predicted)
    _distribution(folder / "distribution.png", *_finite(truth, predicted))
    _scatter(folder / "utt_scatter_plot.png", *_finite(truth, predicted), _title("Utt", metrics), 0.2)
    _scatter(folder / "sys_scatter_plot.png", *_finite(system_truth, system_predicted), _title("Sys", metrics), 1.0)


def _finite(truth: Sequence[float], predicted: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    truth, predicted = np.asarray(truth, np.float64), np.asarray(predicted, np.float64)
    there = np.isfinite(truth) & np.isfinite(predicted)
    return truth[there], predicted[there]


def _title(level: str, metrics: Mapping[str, float | None]) -> str:
    own = {name: metrics[f"{level.lower()}_{name}"] for name in ("LCC", "SRCC", "MSE", "KTAU")}
    numbers = ", ".join(f"{name}= " + ("undefined" if value is None else f"{value:.4f}") for name, value in own.items())
    return f"{level} level {numbers}"


def _range(truth: Sequence[float], predicted: Sequence[float]) -> tuple[float, float]:
    """The scale, and further where scores lie beyond it."""
    scores = [*SCALE, *map(float, truth), *map(float, predicted)]
    return min(scores), max(scores)


def _distribution(path: Path, truth: np.ndarray, predicted: np.ndarray) -> None:
    with Picture(path) as axes:
        axes.hist([truth, predicted], bins=np.linspace(*_range(truth, predicted), 40), label=["true_mos", "predict_mos"])
        axes.margins(y=0.25)  # room for the legend
        axes.legend(loc="upper right")
        axes.set_xlabel("MOS")
        axes.set_ylabel("number")
        axes.yaxis.get_major_locator().set_params(integer=True)


def _scatter(path: Path, truth: np.ndarray, predicted: np.ndarray, title: str, opacity: float) -> None:
    ends = _range(truth, predicted)
    with Picture(path) as axes:
        axes.scatter(truth, predicted, s=15, color="b", alpha=opacity, clip_on=False)
        axes.plot(ends, ends, linestyle="--", color="0.3")
        axes.set_xlim(ends)
        axes.set_ylim(ends)
        axes.set_xlabel("True MOS")
        axes.set_ylabel("Predicted MOS")
        axes.set_title(title, fontsize="medium")


class Picture:
    """Axes of a picture that is written when they are left without an error; matplotlib is imported only here.

    Args:
        path: the PNG; its folder is made.
        style: one of matplotlib's.
        options: of the figure.
    """

    def __init__(self, path: str | Path, style: str = STYLE, **options: Any):
        self.path, self.style, self.options = Path(path), style, options

    def __enter__(self) -> Axes:
        import matplotlib.style

        with matplotlib.style.context(self.style):
            self.figure = new_figure(**self.options)
            return self.figure.add_subplot()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.figure.savefig(self.path, dpi=150, format="png")
