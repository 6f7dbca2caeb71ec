"""Small sets of ratings: tones in noise, the more noise the worse."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import soundfile

COLUMNS = ("wav_path", "score", "system_id", "sample_id", "listener_id", "domain_idx")


def rated_tones(folder: Path, name: str, systems: int = 3, samples: int = 4, listeners: int = 2, seed: int = 0, domains: int = 2) -> Path:
    """Writes ``folder/<name>.csv`` and its recordings; two ratings of each, better with less noise."""
    generator, rows = np.random.default_rng(seed), []
    (folder / name).mkdir(parents=True, exist_ok=True)
    for system in range(systems):
        for sample in range(samples):
            length = int(generator.integers(6000, 12000))
            tone = 0.2 * np.sin(np.arange(length) * generator.uniform(0.05, 0.4))
            path = folder / name / f"s{system}u{sample}.wav"
            soundfile.write(path, tone + 0.02 * system * generator.standard_normal(length), 16000)
            quality = 5 - 4 * system / max(1, systems - 1)
            for listener in range(listeners):
                score = int(np.clip(round(quality + generator.normal(0, 0.5)), 1, 5))
                rows.append((path, score, f"sys{system}", f"s{system}u{sample}", f"L{listener}", system % domains))
    table = folder / f"{name}.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return table


def override(train: Path, dev: Path, *more: str) -> str:
    """Paths of the tables, for ``-o``."""
    data = "config.downstream_expert.datarc"
    return ",,".join((f"{data}.train_csv={train},,{data}.dev_csv={dev},,{data}.train_batch_size=4", *more))
