"""Recordings laid out as Fluent Speech Commands."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile

COLUMNS = ("", "path", "speakerId", "transcription", "action", "object", "location")
# What the coffee orders have in place of action, object and location.
BARISTA_SLOTS = ("coffeeDrink", "size", "roast")


def override(root: Path) -> str:
    """The folder as an argument of ``-o``."""
    return f"config.downstream_expert.datarc.file_path={root}"


def write_table(root: Path, name: str, rows: Iterable[Sequence[str]]) -> Path:
    """``data/<name>_data.csv`` of (path, action, object, location)."""
    path = root / "data" / f"{name}_data.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([number, row[0], "S", "some, words", *row[1:]] for number, row in enumerate(rows))
    return path


def write_wavs(root: Path, paths: Iterable[str], rate: int = 16000, seconds: float = 0.2) -> None:
    """Noise in each of the files."""
    rng = np.random.default_rng(0)
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / path, 0.1 * rng.standard_normal(round(rate * seconds)), rate)


def lay_out_barista(folder: Path, out: Path) -> Path:
    """Spoken coffee orders: the drink, its size and the roast are the three slots, ``none`` where an order does not say.

    Every order is in all three tables, since hardly any combination comes twice.
    """
    rows = []
    for name, order in sorted(json.loads((folder / "label.json").read_text()).items()):
        path = f"wavs/speakers/guest/{name}"
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "wav" / name, out / path)
        rows.append([path, *(order["slots"].get(slot, "none").strip() for slot in BARISTA_SLOTS)])
    for name in ("train", "valid", "test"):
        write_table(out, name, rows)
    return out
