"""Small corpora in both layouts, with noise for recordings."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 16000
NMSQA_COLUMNS = ("hash", "context_id", "new_start", "new_end")


def put(path: Path, seconds: float, level: float = 0.1) -> None:
    """A recording of noise; its samples lie around ``level``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(round(1000 * seconds))
    soundfile.write(path, level + 0.01 * rng.standard_normal(round(seconds * RATE)), RATE)


def table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]], delimiter: str = ",") -> None:
    """Writes a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])


def lay_out_nmsqa(root: Path) -> Path:
    """Train and dev with one passage of two segments (1 s and 2 s) and two questions, and both test sets with one whole passage each."""
    for split in ("train", "dev"):
        folder = root / split
        sizes = {"context-0_0_0": 1.0, "context-0_0_1": 2.0, "question-0_0_0": 0.5, "question-0_0_1": 0.7}
        for level, (name, seconds) in enumerate(sizes.items(), 1):
            put(folder / f"{split}_audios" / f"{name}.wav", seconds, level / 10)
        table(folder / f"meta-{split}.csv", ("id", "duration"), sizes.items())
        spans = [("h0", "0_0", 0.2, 0.6), ("h1", "0_0", 1.5, 2.5), ("h1", "0_0", 1.5, 2.0)]
        table(folder / f"{split}-answer-span.csv", NMSQA_COLUMNS, spans)
        (folder / f"{split}-hash2question.json").write_text(json.dumps({"h0": "question-0_0_0", "h1": "question-0_0_1"}))
        (folder / f"{split}_segment_id.json").write_text(json.dumps({"0_0": ["0", "1"]}))
    for name in ("SQuAD", "OOD"):
        table(root / f"test/test-{name}/test-{name}-answer-span.csv", NMSQA_COLUMNS, [(name, name, 0.5, 1.0)])
        put(root / f"lxt_sqa/audio/{name}-c.wav", 2.0)
        put(root / f"lxt_sqa/audio/{name}-q.wav", 0.6)
    table(root / "meta-lxt.csv", ("id", "duration"), [(f"{name}-{kind}", 2.0) for name in ("SQuAD", "OOD") for kind in "cq"])
    return root


SLUE_COLUMNS = ("question_id", "document_id", "answer_spans")
SPANS = {"answer": ["a", "b"], "start_second": [0.5, 0.6], "end_second": [1.0, 1.2]}


def lay_out_slue(root: Path) -> Path:
    """All four splits with two questions about one document of 2 s."""
    for split in ("train", "validation", "test", "verified_test"):
        for name in ("q0", "q1"):
            put(root / split / "question" / f"{split}-{name}.flac", 0.5)
        put(root / split / "document" / f"{split}-d.flac", 2.0)
        rows = [(f"{split}-{name}", f"{split}-d", json.dumps(SPANS)) for name in ("q0", "q1")]
        table(root / f"slue-sqa5_{split}.tsv", SLUE_COLUMNS, rows, "\t")
    return root
