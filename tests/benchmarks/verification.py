"""Speaker verification: trials per second of scoring, and recordings per second of embedding.

    python3 tests/benchmarks/verification.py [--recordings 4715] [--trials 37720] [--width 512]

First the trials: as the task scores them (together, from vectors of length 1), as one product of all vectors with all vectors, and
pair by pair in a Python loop, as published code does it; seconds, trials per second, and ratios to the loop. All on one thread, the best
of five runs (of the loop, one). Then the vectors: recordings of eight seconds per second, through fbank and the network of SUPERB's recipe,
and how many fewer there are to embed when each is heard once.
"""

from __future__ import annotations

import argparse
import site
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import yaml
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[2]
site.addsitedir(str(ROOT))


def main() -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=4715, help="recordings that the trials are of (default: those of VoxCeleb1-O)")
    parser.add_argument("--trials", type=int, default=37720)
    parser.add_argument("--width", type=int, default=512, help="width of a vector")
    parser.add_argument("--heard", type=int, default=16, help="recordings that are embedded")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    score(rng, args.recordings, args.trials, args.width)
    embed(rng, args.heard, args.recordings, args.trials)
    return 0


def score(rng: np.random.Generator, recordings: int, trials: int, width: int) -> None:
    """Three ways to the same scores."""
    from downstream.sv_voxceleb1.scoring import cosine_scores

    vectors = F.normalize(torch.from_numpy(np.abs(rng.normal(size=(recordings, width))).astype(np.float32)))
    first, second = rng.integers(recordings, size=(2, trials))

    def product() -> np.ndarray:
        return (vectors @ vectors.T)[first, second].numpy()

    def loop() -> np.ndarray:
        return np.array([F.cosine_similarity(vectors[a], vectors[b], dim=0).item() for a, b in zip(first, second, strict=True)])

    ways: dict[str, tuple[Callable[[], np.ndarray], int]] = {
        "pair by pair": (loop, 1),
        "one product of all with all": (product, 5),
        "as the task does": (lambda: cosine_scores(vectors.numpy(), first, second), 5),
    }
    seconds, found = {}, {}
    for name, (way, runs) in ways.items():
        seconds[name], found[name] = min((timed(way) for _ in range(runs)), key=lambda run: run[0])
        ratio = seconds["pair by pair"] / seconds[name]
        print(f"{name:>28}: {seconds[name]:8.4f} s, {trials / seconds[name]:12.0f} trials per second, {ratio:7.1f} times the loop")
    worst = max(float(np.abs(scores - found["pair by pair"]).max()) for scores in found.values())
    print(f"largest difference of the scores: {worst:.1e}")


def embed(rng: np.random.Generator, heard: int, recordings: int, trials: int) -> None:
    """Recordings per second, and what embedding each only once saves."""
    from downstream.sv_voxceleb1.expert import DownstreamExpert
    from upstream.featurizer import Featurizer
    from upstream.registry import build

    config = yaml.safe_load((ROOT / "downstream/sv_voxceleb1/config.yaml").read_text())
    upstream = build("fbank").eval()
    featurizer = Featurizer(upstream, upstream_device="cpu")
    expert = DownstreamExpert(featurizer.output_dim, 160, expdir=".", mode="evaluate", **config).eval()
    wavs = [torch.from_numpy(rng.normal(0, 0.1, 128000).astype(np.float32)) for _ in range(heard)]

    def run() -> None:
        with torch.no_grad():
            for wav in wavs:
                expert("test", featurizer([wav], upstream([wav])), ["a"], [len(wav)], records={"name": [], "vector": []})

    run()
    each = timed(run)[0] / heard
    print(f"embedding: {1 / each:.1f} recordings of 8 s per second on one thread, fbank included")
    print(f"{trials} trials of {recordings} recordings: {2 * trials / recordings:.1f} times fewer embeddings than two for each trial")


def timed(function: Callable[[], object]) -> tuple[float, object]:
    """Processor seconds, which a busy machine does not lengthen, and result."""
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


if __name__ == "__main__":
    raise SystemExit(main())
