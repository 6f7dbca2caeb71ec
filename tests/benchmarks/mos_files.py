"""MOS prediction: files per second of ``-m inference`` on a folder, as a user runs it.

    python3 tests/benchmarks/mos_files.py [--files 200] [--seconds 4] [--predictors spectral ssl] [--threads 1] [--repeats 3]

The small spectral predictor, and SSL-MOS over wav2vec 2.0 base with random weights (a folder for ``-u hf``), each after one update. The
program scores a few files and ``--files`` more, in turns; what these take more is divided by their number, so that its start does not
count. Of ``--repeats`` runs of each the quickest is taken.
"""

from __future__ import annotations

import argparse
import csv
import os
import site
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

site.addsitedir(str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.mos_learning import MOS, TASK, run

PROGRAM = (sys.executable, "run_downstream.py")
RATE, FEW = 16000, 4
PREDICTORS = ("spectral", "ssl")


def main() -> int:
    """Prints a line for each predictor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=4, help="length of each")
    parser.add_argument("--predictors", nargs="+", choices=PREDICTORS, default=list(PREDICTORS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        few, many = (recordings(place / str(count), count, args.seconds) for count in (FEW, FEW + args.files))
        for name in args.predictors:
            checkpoint = predictor(name, place, few)
            turns = [[scoring(checkpoint, folder) for folder in (few, many)] for _ in range(args.repeats)]
            start, whole = map(min, zip(*turns, strict=True))
            rate = args.files / (whole - start)
            heard = rate * args.seconds
            print(f"{name:10} {rate:8.1f} files/s of {args.seconds:g} s, {heard:.1f} audio s/s, start {start:.1f} s", flush=True)
    return 0


def recordings(folder: Path, count: int, seconds: float) -> Path:
    """So many tones in noise."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        wave = 0.1 * np.sin(np.arange(int(seconds * RATE)) * rng.uniform(0.05, 0.2)) + rng.normal(0, 0.02, int(seconds * RATE))
        soundfile.write(folder / f"{number:05d}.wav", wave, RATE)
    return folder


def predictor(name: str, place: Path, folder: Path) -> Path:
    """A checkpoint after one update."""
    table = place / "ratings.csv"
    with table.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["wav_path", "score", "system_id", "sample_id"])
        writer.writerows([str(wav), 1 + number, f"sys{number}", wav.stem] for number, wav in enumerate(sorted(folder.iterdir())))
    options = {f"{TASK}.datarc.train_csv": f"'{table}'", f"{TASK}.datarc.dev_csv": f"'{table}'"}
    options |= {"config.runner.total_steps": 1, f"{TASK}.datarc.train_batch_size": 2}
    if name == "spectral":
        options[f"{TASK}.modelrc.model_params.use_domain_modeling"] = False
        flags = ["-u", "fbank_no_cmvn", "-c", MOS / "spectral.yaml"]
    else:
        flags = ["-f", "-l", "-1", "-u", "hf", "-k", ssl_model(place / "wav2vec2")]
    settings = ",,".join(f"{field}={value}" for field, value in options.items())
    run(*PROGRAM, "-m", "train", *flags, "-d", "mos_prediction", "-p", place / name, "-o", settings, "--device", "cpu")
    return place / name / "checkpoint-best.pkl"


def ssl_model(folder: Path) -> Path:
    """wav2vec 2.0 base with random weights, as a folder of transformers."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    torch.manual_seed(0)
    Wav2Vec2Model(Wav2Vec2Config()).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder


def scoring(checkpoint: Path, folder: Path) -> float:
    """Seconds of the program on all files of a folder."""
    start = time.perf_counter()
    lines = run(*PROGRAM, "-m", "inference", "-t", folder, "-e", checkpoint, "--device", "cpu").splitlines()
    spent = time.perf_counter() - start
    assert len(lines) == len(list(folder.iterdir())), "a file has no score"
    return spent


if __name__ == "__main__":
    raise SystemExit(main())
