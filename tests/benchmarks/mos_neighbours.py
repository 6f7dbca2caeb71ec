"""Non-parametric MOS prediction: queries per second of the search, by torch, by faiss where it is installed, and by a loop over queries.

    python3 tests/benchmarks/mos_neighbours.py [--entries 107000] [--queries 1000] [--width 768] [--threads 2]

Random vectors, as many as SHEET's pool of seven sets has. The contenders take turns in one process; medians of three rounds. What both
searches do once for a datastore is measured on its own; queries come all at once, and one by one as the nearest data set is asked for.
"""

from __future__ import annotations

import argparse
import site
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

site.addsitedir(str(Path(__file__).resolve().parents[2]))

from downstream.mos_prediction.neighbours import SEARCHES, Datastore, Index, K, naive_knn


def one_by_one(index: Index, queries: torch.Tensor) -> np.ndarray:
    """Scores of queries that do not wait for each other."""
    return np.concatenate([naive_knn(index, query[None]) for query in queries])


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=107000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--threads", type=int, default=None)
    args = parser.parse_args()

    if args.threads:
        torch.set_num_threads(args.threads)
    searches = list(SEARCHES)
    try:
        import faiss

        faiss.omp_set_num_threads(torch.get_num_threads())
    except ImportError:
        searches.remove("faiss")
    generator = np.random.default_rng(0)
    entries, queries = (generator.standard_normal((count, args.width), np.float32) for count in (args.entries, args.queries))
    store = Datastore([str(i) for i in range(args.entries)], entries, generator.uniform(1, 5, args.entries))

    few = max(1, args.queries // 20)
    contenders: dict[str, tuple[Callable[[], np.ndarray], int]] = {}
    print(f"{args.entries} entries of {args.width}, k {K}, {torch.get_num_threads()} threads")
    for by in searches:
        start = time.perf_counter()
        index = Index(store, by)
        print(f"{by:16} prepared in {time.perf_counter() - start:.2f} s")
        contenders[by] = (partial(naive_knn, index, torch.from_numpy(queries)), args.queries)
        contenders[f"{by}, one by one"] = (partial(one_by_one, index, torch.from_numpy(queries[:few])), few)

    def loop() -> np.ndarray:
        """A query at a time, distances by subtraction; a twentieth of the queries."""
        answers = []
        for query in queries[:few]:
            squared = ((entries - query) ** 2).sum(1)
            nearest = np.argpartition(squared, K)[:K]
            weights = np.exp(squared[nearest].min() - squared[nearest])
            answers.append((weights * store.scores[nearest]).sum() / weights.sum())
        return np.array(answers)

    contenders["loop"] = (loop, few)
    spent: dict[str, list[float]] = {name: [] for name in contenders}
    answers = {}
    for _ in range(3):
        for name, (run, count) in contenders.items():
            start = time.perf_counter()
            answers[name] = run()
            spent[name].append((time.perf_counter() - start) / count)
    rates = {name: 1 / statistics.median(times) for name, times in spent.items()}
    for name, rate in rates.items():
        difference = np.abs(answers[name][:few] - answers["loop"]).max()
        print(f"{name:16} {rate:10.1f} queries/s  {rate / rates['loop']:6.1f} times the loop, answers differ by {difference:.1e} at most")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
