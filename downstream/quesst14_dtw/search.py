"""Searching queries in documents: distances in blocks, warping, all cores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from utility.errors import DataError
from utility.training.pools import cancelling

from .distances import Metric
from .dtw import Path, Warping, beginning

LEAST_FRAMES = 5  # of a query; a shorter one scores 0 everywhere
LEAST_SPAN = 1e-9
Prepare = Callable[[np.ndarray], np.ndarray]
CELLS, COLUMNS = 2**20, 8192  # most distances held at a time by each worker; most document frames in a block


@dataclass(frozen=True)
class Method:
    """How queries are compared with documents.

    Args:
        metric: distance between frames.
        warping: step pattern, and whether a query is looked for within the document.
        minmax: bring the distances of each query frame to the range from 0 to 1 within each document.
    """

    metric: Metric
    warping: Warping
    minmax: bool = True


@dataclass(frozen=True)
class Match:
    """The best place of a query in a document.

    Args:
        score: negated cost per frame, the higher the better.
        first, last: document frames.
    """

    score: float
    first: int
    last: int


class Queries:
    """Queries that are searched together.

    Args:
        frames: (T_i, D) of each query.
        method: how they are compared.
        normalise: applied to the frames of queries and documents before all else.
    """

    def __init__(self, frames: Sequence[np.ndarray], method: Method, normalise: Prepare = np.asarray):
        self.method, self.normalise = method, normalise
        self.frames = [self._prepare(each) for each in frames]

    def _prepare(self, frames: np.ndarray) -> np.ndarray:
        return self.method.metric.prepare(self.normalise(frames))

    def scores(self, document: np.ndarray) -> np.ndarray:
        """(Q,) float64: the score of each query in a document, (T, D)."""
        groups = _grouped([len(each) for each in self.frames], max(1, CELLS // min(len(document), COLUMNS)))
        prepare = self._prepare
        if len(document) <= COLUMNS:
            document, prepare = prepare(document), np.asarray
        return np.concatenate([self._group(self.frames[group], document, prepare) for group in groups])

    def _group(self, queries: list[np.ndarray], document: np.ndarray, prepare: Prepare) -> np.ndarray:
        """(q,) scores of a few queries."""
        method, stops = self.method, np.cumsum([len(each) for each in queries])[:-1]
        blocks = Blocks(method, np.concatenate(queries), document, prepare)
        ranges = zip(*(np.split(each, stops) for each in blocks.ranges()), strict=True)
        paths = [Path(method.warping, len(query), *own) for query, own in zip(queries, ranges, strict=True)]
        for block in blocks:
            for path, costs in zip(paths, np.split(block, stops), strict=True):
                path.advance(costs)
        costs = np.array([path.end.cost for path in paths])
        _check(costs, method)
        return -np.array([method.warping.normalised(c, len(q), len(document)) for c, q in zip(costs, queries, strict=True)])

    def locate(self, query: int, document: np.ndarray) -> Match:
        """The best place of one query in a document, (T, D)."""
        method, frames = self.method, self.frames[query]
        blocks = Blocks(method, frames, document, self._prepare)
        path = Path(method.warping, len(frames), *blocks.ranges())
        for block in blocks:
            path.advance(block)
        end = path.end
        _check(np.array([end.cost]), method)
        score = -method.warping.normalised(end.cost, len(frames), len(document))
        if not method.warping.subsequence:
            return Match(score, 0, len(document) - 1)
        begin = max(0, end.column - 2 * (len(frames) - 1))  # a path passes two document frames per query frame at most
        return Match(score, begin + beginning(self._rows(path, frames, self._prepare(document[begin : end.column + 1]))), end.column)

    def _rows(self, path: Path, frames: np.ndarray, document: np.ndarray) -> Iterator[np.ndarray]:
        """The costs of one query frame after the other in a piece of a document, both prepared; some are computed at a time."""
        size = max(1, CELLS // len(document))
        for start in range(0, len(frames), size):
            some = slice(start, start + size)
            costs = self.method.metric.distances(frames[some], document)
            yield from (costs - path.low[some, None]) / path.span[some, None] if len(path.low) else costs


class Blocks:
    """The distances of queries (rows) to a document, some columns at a time.

    Args:
        method: the metric, and whether rows are normalised.
        queries: (n, D) prepared.
        document: (T, D).
        prepare: of the document's frames.
    """

    def __init__(self, method: Method, queries: np.ndarray, document: np.ndarray, prepare: Prepare):
        self.method, self.queries, self.document, self.prepare = method, queries, document, prepare
        self.columns = max(1, min(COLUMNS, CELLS // len(queries)))
        self.kept = self._block(0) if len(document) <= self.columns else None

    def _block(self, start: int) -> np.ndarray:
        return self.method.metric.distances(self.queries, self.prepare(self.document[start : start + self.columns]))

    def __iter__(self) -> Iterator[np.ndarray]:
        if self.kept is not None:
            yield self.kept
            return
        yield from map(self._block, range(0, len(self.document), self.columns))

    def ranges(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest value and range of each row over the whole document; of no elements where rows are not normalised."""
        if not self.method.minmax:
            return np.empty(0), np.empty(0)
        low, high = np.full(len(self.queries), np.inf), np.full(len(self.queries), -np.inf)
        for block in self:
            low, high = np.minimum(low, block.min(axis=1)), np.maximum(high, block.max(axis=1))
        if not np.isfinite(high).all():
            raise self.method.metric.undefined()
        return low, np.maximum(high - low, LEAST_SPAN)


def search_all(
    queries: Queries, documents: Sequence[Callable[[], np.ndarray]], workers: int, progress: Callable[[Iterable], Iterable] = iter
) -> np.ndarray:
    """Scores of all queries in all documents.

    Args:
        queries: what to look for.
        documents: functions that read the frames, (T, D), of each.
        workers: threads; each holds one document and ``CELLS`` distances at a time.
        progress: wraps the iteration over documents.

    Returns:
        (Q, N) float64.
    """
    with threadpool_limits(1), ThreadPoolExecutor(workers) as pool, cancelling(pool):
        return np.stack(list(progress(pool.map(lambda read: queries.scores(read()), documents))), axis=1)


def normalised_scores(scores: np.ndarray) -> np.ndarray:
    """(Q, N): each query's scores with mean 0 and standard deviation 1 over the documents."""
    deviation = np.maximum(scores.std(axis=1, keepdims=True), 1e-9)
    return (scores - scores.mean(axis=1, keepdims=True)) / deviation


def _grouped(lengths: list[int], most: int) -> list[slice]:
    """Consecutive queries of up to ``most`` frames together, one at least."""
    starts, size = [0], 0
    for index, length in enumerate(lengths):
        if size and size + length > most:
            starts.append(index)
            size = 0
        size += length
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], len(lengths)], strict=True)]


def _check(costs: np.ndarray, method: Method) -> None:
    """Refuses recordings between which no path exists."""
    if np.isfinite(costs).all():
        return
    if method.metric.may_be_infinite:
        raise method.metric.undefined()
    raise DataError(
        "the asymmetric step pattern without subsequence finds no path where a document has more than two frames per frame of the query; "
        "set subsequence: True, or step_pattern: symmetric2"
    )
