"""What a training remembers of its evaluations: the best one, when to stop, and the table of all (spec: speech-enhancement.md A7)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utility.experiment.figures import new_figure
from utility.experiment.texts import write_text

COLUMNS = ("train_loss", "val_mse", "pesq", "stoi", "snr", "si-snr")


@dataclass(frozen=True)
class Reference:
    """What the best model goes by.

    Args:
        column: of the table.
        higher_is_better: its direction.
        metric: what has to be measured for it.
    """

    column: str
    higher_is_better: bool
    metric: str | None


REFERENCES = {
    **{name: Reference(name, True, name) for name in ("pesq", "stoi", "snr", "si-snr")},
    **{name: Reference("val_mse", False, "mse") for name in ("wave_mse", "val_mse")},
    "train_loss": Reference("train_loss", False, None),
}


@dataclass
class Progress:
    """The evaluations of a training, in order.

    Args:
        reference: of :data:`REFERENCES`.
        patience: stop after more than so many evaluations since the best one; None: never.
        rows: numbers of each evaluation by column; None where nothing could be measured.
        best: index of the best one; of equal ones the last. None while none had a number.
    """

    reference: str
    patience: int | None = None
    rows: list[dict[str, float | None]] = field(default_factory=list)
    best: int | None = None

    def add(self, row: Mapping[str, float]) -> tuple[bool, bool]:
        """Remembers an evaluation; (whether it is the best so far, whether to stop)."""
        self.rows.append({name: _number(row.get(name)) for name in COLUMNS})
        last, improved = len(self.rows) - 1, self._improves(self.rows[-1])
        if improved:
            self.best = last
        since = last - (self.best if self.best is not None else -1)
        return improved, self.patience is not None and since > self.patience

    def _improves(self, row: Mapping[str, float | None]) -> bool:
        rule = REFERENCES[self.reference]
        value = row[rule.column]
        if value is None:
            return False
        if self.best is None:
            return True
        best = self.rows[self.best][rule.column]
        return value >= best if rule.higher_is_better else value <= best

    def state(self) -> dict[str, Any]:
        """As plain data."""
        return {"rows": [[row[name] for name in COLUMNS] for row in self.rows], "best": self.best}

    def load(self, state: Mapping[str, Any]) -> None:
        """Takes up :meth:`state`."""
        self.rows = [dict(zip(COLUMNS, row, strict=True)) for row in state["rows"]]
        self.best = state["best"]

    def write(self, folder: Path, table: str) -> None:
        """The table, and its picture ``training_metrics.png``, in a folder that is made."""
        folder.mkdir(parents=True, exist_ok=True)
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text(folder / table, text.getvalue())
        draw(self.rows, folder / "training_metrics.png")


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


_PANELS = (
    (("train_loss",), "Training loss"),
    (("val_mse",), "Validation MSE of waveforms"),
    (("pesq",), "PESQ"),
    (("stoi",), "STOI"),
    (("snr", "si-snr"), "SNR and SI-SNR (dB)"),
)


def draw(rows: Sequence[Mapping[str, float | None]], path: Path) -> None:
    """The curves of all columns over the evaluations."""
    figure = new_figure(figsize=(12, 15))
    grid = figure.add_gridspec(3, 2)
    for number, (columns, title) in enumerate(_PANELS):
        axes = figure.add_subplot(grid[2, :] if number == len(_PANELS) - 1 else grid[number // 2, number % 2])
        for column in columns:
            axes.plot(range(len(rows)), [math.nan if row[column] is None else row[column] for row in rows], label=column)
        axes.set(title=title, xlabel="epoch")
        if len(columns) > 1:
            axes.legend()
    partial = path.with_name(f".{path.stem}.tmp.png")
    figure.savefig(partial)
    partial.replace(path)
