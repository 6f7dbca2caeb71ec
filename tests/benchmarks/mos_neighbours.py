"""Non-parametric MOS prediction: queries per second of the search, against a loop over queries.

    python3 tests/benchmarks/mos_neighbours.py [--entries 107000] [--queries 1000] [--width 768] [--threads 2]

Random vectors, as many as SHEET's pool of seven sets has. The contenders take turns in one process; medians of three rounds.
"""

from __future__ import annotations

import argparse
import site
import statistics
import time
from collections.abc import Callable
from pathlib import Path

site.addsitedir(str(Path(__file__).resolve().parents[2]))


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=107000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--threads", type=int, default=None)
    args = parser.parse_args()

    import numpy as np
    import torch

    from downstream.mos_prediction.neighbours import Datastore, K, naive_knn

    if args.threads:
        torch.set_num_threads(args.threads)
    generator = np.random.default_rng(0)
    entries, queries = (generator.standard_normal((count, args.width), np.float32) for count in (args.entries, args.queries))
    store = Datastore([str(i) for i in range(args.entries)], entries, generator.uniform(1, 5, args.entries))

    def ours() -> np.ndarray:
        return naive_knn(store, torch.from_numpy(queries))

    def loop() -> np.ndarray:
        """A query at a time, distances by subtraction; a twentieth of the queries."""
        answers = []
        for query in queries[: max(1, args.queries // 20)]:
            squared = ((entries - query) ** 2).sum(1)
            nearest = np.argpartition(squared, K)[:K]
            weights = np.exp(squared[nearest].min() - squared[nearest])
            answers.append((weights * store.scores[nearest]).sum() / weights.sum())
        return np.array(answers)

    contenders: dict[str, tuple[Callable[[], np.ndarray], int]] = {"ours": (ours, args.queries), "loop": (loop, max(1, args.queries // 20))}
    spent: dict[str, list[float]] = {name: [] for name in contenders}
    answers = {}
    for _ in range(3):
        for name, (run, count) in contenders.items():
            start = time.perf_counter()
            answers[name] = run()
            spent[name].append((time.perf_counter() - start) / count)
    print(f"{args.entries} entries of {args.width}, k {K}, {torch.get_num_threads()} threads")
    rates = {name: 1 / statistics.median(times) for name, times in spent.items()}
    for name, rate in rates.items():
        print(f"{name:6} {rate:10.1f} queries/s  {rate / rates['loop']:6.1f} times the loop")
    print(f"largest difference of answers {np.abs(answers['ours'][: len(answers['loop'])] - answers['loop']).max():.1e}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
