"""Pictures of data sets: where their recordings lie, and whose training recordings are nearest to a test set's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..plots import Picture

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#999999")  # for the colour-blind, too (Okabe, Ito)
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*", "p")  # one more than colours, so that 72 sets differ
SHOWN_FROM = 0.005  # shares below are no number in the heat map


def draw_points(path: str | Path, points: Mapping[str, np.ndarray], label: str = "t-SNE") -> None:
    """Writes a picture of points in the plane.

    Args:
        points: (N, 2) of each set.
        label: of the axes, which are numbered.
    """
    most = max(len(own) for own in points.values())
    size, opacity = (28, 0.8) if most <= 200 else (10, 0.5)
    with Picture(path, "default", figsize=(8, 6), layout="constrained") as axes:
        for number, (name, own) in enumerate(points.items()):
            look = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)], "alpha": opacity}
            axes.scatter(own[:, 0], own[:, 1], s=size, linewidths=0, label=f"{_plain(name)} ({len(own)})", **look)
        legend = axes.figure.legend(loc="outside right upper", frameon=False, markerscale=max(1.0, (28 / size) ** 0.5))
        for handle in legend.legend_handles:
            handle.set_alpha(1)
        axes.set(xlabel=f"{label} dimension 1", ylabel=f"{label} dimension 2")
        axes.set_aspect("equal", adjustable="datalim")


def draw_shares(path: str | Path, rows: Sequence[str], columns: Sequence[str], shares: np.ndarray) -> None:
    """Writes a heat map of (rows, columns) shares from 0 to 1, each with its number in percent."""
    size = 3.2 + 0.75 * len(columns), 1.9 + 0.36 * len(rows)
    with Picture(path, "default", figsize=size, layout="constrained") as axes:
        image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for row, column in np.argwhere(shares >= SHOWN_FROM):
            share = shares[row, column]
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=9, color="black" if share > 0.55 else "white")
        axes.set_xticks(range(len(columns)), [_plain(name) for name in columns], rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(rows)), [_plain(name) for name in rows])
        axes.set(xlabel="training set of the nearest recording", ylabel="test set")
        bar = axes.figure.colorbar(image, ax=axes, format=lambda share, _: f"{100 * share:.0f}")
        bar.set_label("% of the test set")


def _plain(name: str) -> str:
    """A name without markup: dollars would be mathematics."""
    return name.replace("$", r"\$")
