"""Dynamic time warping of query by example beside the package dtw-python, on the same matrices.

    pip install dtw-python
    python3 tests/benchmarks/warping.py [--query 100] [--document 700] [--pairs 20]

First the subsequence search in given distances, on one core: seconds per pair of both (the best of five runs each, in turn), their ratio,
and the largest difference of their costs. Then the whole search as the task does it (distances from features, normalisation, warping) on
one core and on all.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import site
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

site.addsitedir(str(Path(__file__).resolve().parents[2]))


def main() -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--query", type=int, default=100, help="frames of a query")
    parser.add_argument("--document", type=int, default=700, help="frames of a document")
    parser.add_argument("--width", type=int, default=240, help="width of the features")
    parser.add_argument("--pairs", type=int, default=20)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    compare(rng.random((args.pairs, args.query, args.document)))
    throughput(rng, args.query, args.document, args.width, args.pairs)
    return 0


def compare(matrices: np.ndarray) -> None:
    """Both packages on the same matrices, (pairs, n, m), matrix by matrix in turn."""
    with contextlib.redirect_stdout(io.StringIO()):  # the package greets
        import dtw as package

    from downstream.quesst14_dtw.dtw import Path as Warped
    from downstream.quesst14_dtw.dtw import Warping

    def ours(matrix: np.ndarray) -> float:
        path = Warped(Warping(), len(matrix))
        path.advance(matrix)
        return path.end.cost

    def theirs(matrix: np.ndarray) -> float:
        return package.dtw(matrix, step_pattern="asymmetric", open_begin=True, open_end=True).distance

    ours(matrices[0]), theirs(matrices[0])
    seconds = {"ours": 0.0, "theirs": 0.0}
    worst = 0.0
    for matrix in matrices:
        found = {}
        for name, function in (("ours", ours), ("theirs", theirs)):
            runs = [timed(lambda function=function, matrix=matrix: function(matrix)) for _ in range(5)]
            seconds[name] += min(taken for taken, _ in runs)
            found[name] = runs[0][1]
        worst = max(worst, abs(found["ours"] - found["theirs"]))
    pairs, n, m = matrices.shape
    for name, label in (("theirs", "dtw-python"), ("ours", "ours")):
        each = seconds[name] / pairs
        print(f"{label:>10}: {1e3 * each:9.3f} ms per pair of {n} x {m} frames, {1e9 * each / (n * m):7.2f} ns per cell")
    print(f"ratio: {seconds['theirs'] / seconds['ours']:.0f}; largest difference of the costs: {worst:g}")


def throughput(rng: np.random.Generator, query: int, document: int, width: int, pairs: int) -> None:
    """Pairs per second of the whole search."""
    from downstream.quesst14_dtw.distances import metric_named
    from downstream.quesst14_dtw.dtw import Warping
    from downstream.quesst14_dtw.search import Method, Queries, search_all
    from utility.training.loading import usable_cores

    frames = rng.normal(size=(pairs, document, width))
    documents = [lambda number=number: frames[number] for number in range(pairs)]
    for name in ("cosine_exp", "cosine", "euclidean"):
        queries = Queries([rng.normal(size=(query, width)) for _ in range(pairs)], Method(metric_named(name), Warping()))
        speeds = []
        for workers in sorted({1, usable_cores()}):
            taken, _ = timed(lambda queries=queries, workers=workers: search_all(queries, documents, workers), time.perf_counter)
            speeds.append(f"{pairs * pairs / taken:.0f} on {workers}")
        print(f"whole search, {name}, features of {width}: pairs per second by cores: {', '.join(speeds)}")


def timed(function: Callable[[], object], clock: Callable[[], float] = time.process_time) -> tuple[float, object]:
    """Seconds and result; processor time by default, which a busy machine does not lengthen."""
    start = clock()
    result = function()
    return clock() - start, result


if __name__ == "__main__":
    raise SystemExit(main())
