"""How long a corpus of 100,000 files keeps a user waiting for the first update, and how much memory it takes.

    python3 tests/benchmarks/large_corpus.py [--files 100000]

The corpus is one second of noise under that many names (hard links) in the layout of Speech Commands; the command line trains one step.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

REPO = Path(__file__).resolve().parents[2]
WORDS = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "bed", "bird", "cat", "dog", "tree", "house"]


def main() -> int:
    """Prints wall seconds and peak memory of a training of one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    count = parser.parse_args().files
    with tempfile.TemporaryDirectory() as folder:
        for files in (1000, count):
            root = lay_out(Path(folder) / f"corpus of {files}", files)
            seconds, memory = one_step(root, Path(folder) / f"run on {files}")
            print(f"{seconds:6.1f} s, {memory:5.0f} MB at most in one process: one step on {files} files")
    return 0


def lay_out(root: Path, count: int) -> Path:
    """Writes the corpus; names spread over the three parts of the official split."""
    noise = root / "_background_noise_" / "noise.wav"
    noise.parent.mkdir(parents=True)
    soundfile.write(noise, np.random.default_rng(0).normal(0, 0.1, 16000), 16000, subtype="PCM_16")
    for number in range(count):
        place = root / WORDS[number % len(WORDS)]
        if number < len(WORDS):  # a file system limits the links to one file
            place.mkdir()
            shutil.copy(noise, place / "noise.wav")
        os.link(place / "noise.wav", place / f"{number:08x}_nohash_0.wav")
    return root


def one_step(root: Path, run: Path) -> tuple[float, float]:
    """Wall seconds and MB."""
    fields = {"runner.total_steps": 1, "runner.eval_dataloaders": [], "downstream_expert.datarc.speech_commands_root": str(root)}
    override = ",,".join(f"config.{k}={v!r}" for k, v in fields.items())
    words = ["run_downstream.py", "-u", "fbank", "-d", "speech_commands", "-p", str(run), "-o", override, "--device", "cpu"]
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], cwd=REPO, check=True, capture_output=True)
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


if __name__ == "__main__":
    raise SystemExit(main())
