"""Figures that need no display."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(**options: Any) -> Figure:
    """A figure of matplotlib's that is drawn into files only.

    Args:
        options: of ``matplotlib.figure.Figure``, such as ``figsize`` in inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # here, because it takes a second to import
    from matplotlib.figure import Figure

    figure = Figure(**options)
    FigureCanvasAgg(figure)
    return figure
