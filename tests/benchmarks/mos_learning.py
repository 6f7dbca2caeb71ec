"""MOS prediction learnt here from a pool of synthetic sets, on a set of another listening test that it never met.

    python3 tests/benchmarks/mos_learning.py [--size small] [--steps 500 1500] [--seeds 1] [--variants recurrent frames] [--out FOLDER]

Makes the corpora (``pip install espeakng-loader``) and their csv files by the recipes' own programs, trains the small spectral predictor
on the pool of four sets in each variant: with a recurrent decoder or a net per frame, with the sets told apart or not. Each scores the
unseen set as a recording of the pool's first set and, where sets are told apart, of the set that its nearest neighbour is of. Beside them:
the scores of the neighbours themselves, by the mean of the frames and thus the same whatever net there is; a regression on the noise level
alone, which is the hidden setting that a listener hears best; and the hidden quality itself, which no predictor can pass but by luck. What
is there already is not made again. Ends with a table of rank correlations, means over the seeds.
"""

from __future__ import annotations

import argparse
import csv
import os
import site
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

REPO = Path(__file__).resolve().parents[2]
site.addsitedir(str(REPO))
MOS = REPO / "downstream" / "mos_prediction"
POOL = {"bvcc": "bvcc/main/DATA", "somos": "somos", "nisqa": "nisqa", "tmhint-qi": "tmhint-qi"}
UNSEEN = "bc19"
TASK = "config.downstream_expert"
RANKS = ("utt_SRCC", "sys_SRCC")
MODEL = f"{TASK}.modelrc.model_params"


@dataclass(frozen=True)
class Variant:
    """A predictor.

    Args:
        recurrent: a recurrent decoder before the net of each frame.
        domains: the sets of the pool are told apart.
    """

    recurrent: bool
    domains: bool


VARIANTS = {
    "recurrent": Variant(True, True),
    "recurrent-alike": Variant(True, False),
    "frames": Variant(False, True),
    "frames-alike": Variant(False, False),
}


def run(*words: str | Path, where: Path = REPO) -> str:
    """What a program of the repository prints; its own words are shown if it fails."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, cwd=where, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def prepared(out: Path, size: str) -> Path:
    """Writes the corpora and their csv files; gives the folder of the latter, with ``pool_train.csv`` and ``pool_dev.csv``."""
    corpora, data = out / "corpus", out / "data"
    run(sys.executable, "preprocess/synthesize_corpus.py", "--corpus", "mos", "--size", size, "--out", corpora)
    for recipe, root in POOL.items():
        words = ("--stage", "0", "--stop_stage", "0", "--db_root", corpora / root, "--datadir", data)
        run("bash", "run.sh", *words, where=MOS / "egs" / recipe)
    run(
        *("bash", f"utils/BENCHMARKS/run_{UNSEEN}_test.sh", "--stage", "0", "--stop_stage", "0"),
        *("--db_root", corpora / UNSEEN, "--datadir", data),
        where=MOS / "egs" / "bvcc",
    )
    for part in ("train", "dev"):
        sets = [data / f"{recipe.replace('-', '')}_{part}.csv" for recipe in POOL]
        run(
            *(sys.executable, "downstream/mos_prediction/utils/combine_datasets.py", "--pool"),
            *("--original-paths", *sets, "--out", data / f"pool_{part}.csv"),
        )
    return data


def predictor(out: Path, data: Path, steps: int, seed: int, name: str = "recurrent") -> Path:
    """Trains a variant of the small predictor on the pool, if that is not done; gives its best checkpoint."""
    folder, variant = out / f"{name}-{steps}-{seed}", VARIANTS[name]
    best = folder / "checkpoint-best.pkl"
    if not (folder / f"states-{steps}.ckpt").exists():
        options = {
            f"{TASK}.datarc.train_csv": f"'{data}/pool_train.csv'",
            f"{TASK}.datarc.dev_csv": f"'{data}/pool_dev.csv'",
            f"{MODEL}.use_domain_modeling": variant.domains,
            f"{MODEL}.use_decoder_rnn": variant.recurrent,
            "config.runner.total_steps": steps,
        }
        words = ("-u", "fbank_no_cmvn", "-d", "mos_prediction", "-c", MOS / "spectral.yaml", "-p", folder, "--seed", seed, "-a")
        run(sys.executable, "run_downstream.py", "-m", "train", *words, "-o", overrides(options))
    return best


def overrides(options: dict[str, object]) -> str:
    """The words after ``-o``."""
    return ",,".join(f"{name}={value}" for name, value in options.items())


def scored(checkpoint: Path, data: Path, mode: str | None) -> Path:
    """Scores the unseen set by the net, or by neighbours in a datastore of the pool; gives the folder of the results.

    The datastore is of spectra, not of what the net makes of them, so that one is enough.
    """
    results, store = checkpoint.parent / f"scores-{mode or 'net'}", data / "datastore.npz"
    options: dict[str, object] = {f"{TASK}.inference.csv": f"'{data}/{UNSEEN}_test.csv'", f"{TASK}.inference.outdir": f"'{results}'"}
    options[f"{TASK}.inference.domain_idx"] = 0
    if mode:
        options |= {f"{TASK}.inference.np_inference_mode": mode, f"{TASK}.inference.datastore": f"'{store}'"}
        if not store.exists():
            made = {f"{TASK}.datastore.csv": f"'{data}/pool_train.csv'", f"{TASK}.datastore.out": f"'{store}'"}
            evaluate_by_program(checkpoint, "datastore", made)
    evaluate_by_program(checkpoint, "inference", options)
    return results


def evaluate_by_program(checkpoint: Path, name: str, options: dict[str, object]) -> None:
    """``-m evaluate -t NAME``."""
    run(sys.executable, "run_downstream.py", "-m", "evaluate", "-e", checkpoint, "-t", name, "-o", overrides(options))


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a csv file."""
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def agreement(results: Path) -> dict[str, float]:
    """The eight numbers of a predictor on the unseen set."""
    found = rows(results / "results.csv")
    return evaluated([row["system_id"] for row in found], *([float(row[key]) for row in found] for key in ("avg_score", "answer")))


def evaluated(systems: Sequence[str], truth: Sequence[float], answers: Sequence[float]) -> dict[str, float]:
    """The eight numbers of any answers."""
    from utility.metrics.mos import evaluate

    return evaluate(systems, truth, answers)


def show(name: str, numbers: Mapping[str, float | None]) -> None:
    """A line."""
    keys = ("utt_LCC", "utt_SRCC", "utt_MSE", "sys_LCC", "sys_SRCC", "sys_MSE")
    print(f"  {name:24}", *(f"{key} {written([numbers[key]])}" for key in keys), flush=True)


def written(numbers: Sequence[float | None]) -> str:
    """Their mean; correlations of what does not vary are undefined."""
    return "undefined" if None in numbers else f"{statistics.fmean(numbers):.3f}"


def hidden(out: Path, name: str) -> dict[str, tuple[float, float]]:
    """Recording -> noise and quality that the listeners do not know; recordings by the last part of their names."""
    return {identity(row["wav"]): (float(row["noise"]), float(row["quality"])) for row in rows(out / "corpus" / "hidden" / f"{name}.csv")}


def identity(wav: str) -> str:
    """What of a recording's path is the same in its archive and in its csv file."""
    return Path(wav).stem.rsplit("-", 1)[-1]


def noise_alone(out: Path, data: Path) -> tuple[float, float]:
    """Slope and offset of a regression of the pool's mean opinions on its noise."""
    known = {key: value for recipe in POOL for key, value in hidden(out, recipe).items()}
    opinions: dict[str, list[float]] = defaultdict(list)
    for row in rows(data / "pool_train.csv"):
        opinions[identity(row["wav_path"])].append(float(row["score"]))
    slope, offset = np.polyfit([known[key][0] for key in opinions], [statistics.fmean(given) for given in opinions.values()], 1)
    return float(slope), float(offset)


def main() -> int:
    """Prints the correlations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="small", help="of the corpora")
    parser.add_argument("--steps", type=int, nargs="+", default=[1500], help="updates; each number is a training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--out", type=Path, help="folder of the corpora and trainings; temporary if not given")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        measure((args.out or Path(temporary)).resolve(), args.size, args.steps, args.seeds, args.variants)
    return 0


def measure(out: Path, size: str, steps: Sequence[int], seeds: Sequence[int], variants: Sequence[str]) -> None:
    """Trains and scores what the head of this file names."""
    data, found = prepared(out, size), defaultdict(list)
    for name in variants:
        for count in steps:
            for seed in seeds:
                start = time.monotonic()
                checkpoint = predictor(out, data, count, seed, name)
                print(f"{name}, {count} updates, seed {seed}: trained in {time.monotonic() - start:.0f} s", flush=True)
                for mode in (None, "domain_id_knn_1") if VARIANTS[name].domains else (None,):
                    numbers = agreement(results := scored(checkpoint, data, mode))
                    found[f"{name}, {count} updates" + f", {mode}" * bool(mode)].append(numbers)
                    show(mode or "net", numbers)
    found["neighbours, naive_knn"] = [agreement(scored(checkpoint, data, "naive_knn"))]
    found |= {name: [numbers] for name, numbers in bounds(out, data, results).items()}
    for name in ("neighbours, naive_knn", "noise alone", "hidden quality"):
        show(name, *found[name])
    print_table(found)


def print_table(found: Mapping[str, Sequence[Mapping[str, float | None]]]) -> None:
    """Rank correlations, means over the seeds."""
    print("\n| | utterances | systems |\n|---|---|---|")
    for name, seeds in found.items():
        print(f"| {name} | " + " | ".join(written([numbers[key] for numbers in seeds]) for key in RANKS) + " |")


def bounds(out: Path, data: Path, results: Path) -> dict[str, dict[str, float]]:
    """The numbers of a regression on the noise alone, and of the hidden quality."""
    found, (slope, offset) = rows(results / "results.csv"), noise_alone(out, data)
    secret = [hidden(out, UNSEEN)[identity(row["wav_path"])] for row in found]
    facts = [row["system_id"] for row in found], [float(row["avg_score"]) for row in found]
    return {
        "noise alone": evaluated(*facts, [offset + slope * noise for noise, _ in secret]),
        "hidden quality": evaluated(*facts, [quality for _, quality in secret]),
    }


if __name__ == "__main__":
    raise SystemExit(main())
