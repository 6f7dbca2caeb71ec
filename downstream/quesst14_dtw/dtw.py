"""Dynamic time warping of a query into a document.

Accumulated cost D over query frames i and document frames j of the local cost C, by step pattern (spec: downstream-content.md 5; the costs
equal those of the package dtw-python):

    asymmetric    D[i, j] = C[i, j] + min(D[i-1, j], D[i-1, j-1], D[i-1, j-2])                     divided by the query's frames
    symmetric1    D[i, j] = C[i, j] + min(D[i-1, j], D[i-1, j-1], D[i, j-1])                       not normalisable
    symmetric2    D[i, j] = min(C[i, j] + D[i-1, j], 2 C[i, j] + D[i-1, j-1], C[i, j] + D[i, j-1]) divided by the frames of both

A subsequence search (asymmetric only) begins and ends anywhere in the document. The document is worked off in blocks of columns, between
which two columns of D are all that is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from utility.compiled import compiled

ASYMMETRIC, SYMMETRIC1, SYMMETRIC2 = 0, 1, 2  # for the last two: the weight of a diagonal step
_NOTHING = np.empty(0)
PATTERNS = {"asymmetric": ASYMMETRIC, "symmetric1": SYMMETRIC1, "symmetric2": SYMMETRIC2}


@compiled
def accumulate(costs, low, span, pattern, free, first, left):
    """Works off one block of columns.

    Args:
        costs: (n, m) float64, C-contiguous; the local costs are ``(costs - low) / span`` row by row.
        low, span: (n,) float64; of no elements where the costs are to be taken as they are.
        pattern: one of ``PATTERNS``.
        free: whether the path may begin at any column.
        first: whether this is the document's first block.
        left: (n, 2) float64, the last two columns of D in the block before, infinite before the first; replaced by this block's.

    Returns:
        lowest value of the last row of D, its column, and the last row's last value.
    """
    n, m = costs.shape
    above, row = np.empty(m + 2), np.empty(m + 2)
    cost = np.empty(m)
    for i in range(n):
        row[0], row[1] = left[i, 0], left[i, 1]
        if len(low):
            lowest, width = low[i], span[i]
            for j in range(m):
                cost[j] = (costs[i, j] - lowest) / width
        else:
            cost = costs[i]
        if i == 0:
            for j in range(m):
                if free or (first and j == 0):
                    row[j + 2] = cost[j]
                elif pattern == ASYMMETRIC:
                    row[j + 2] = np.inf
                else:
                    row[j + 2] = cost[j] + row[j + 1]
        elif pattern == ASYMMETRIC:
            for j in range(m):
                best = above[j + 2] if above[j + 2] < above[j + 1] else above[j + 1]
                row[j + 2] = cost[j] + (best if best < above[j] else above[j])
        else:
            for j in range(m):
                best = cost[j] + (above[j + 2] if above[j + 2] < row[j + 1] else row[j + 1])
                diagonal = pattern * cost[j] + above[j + 1]
                row[j + 2] = best if best < diagonal else diagonal
        left[i, 0], left[i, 1] = row[m], row[m + 1]
        above, row = row, above
    at = 0
    for j in range(1, m):
        if above[j + 2] < above[at + 2]:
            at = j
    return above[at + 2], at, above[m + 1]


@dataclass(frozen=True)
class Warping:
    """How queries are warped.

    Args:
        pattern: a name of ``PATTERNS``.
        subsequence: whether the path may begin and end anywhere in the document.
    """

    pattern: str = "asymmetric"
    subsequence: bool = True

    def normalised(self, cost: float, query: int, document: int) -> float:
        """The cost of a path per frame, of recordings with that many frames."""
        return cost / (query + document if self.pattern == "symmetric2" else query)


@dataclass(frozen=True)
class End:
    """Where the best path ends.

    Args:
        cost: accumulated.
        column: document frame.
    """

    cost: float
    column: int


class Path:
    """One query on its way through the blocks of a document.

    Args:
        warping: how.
        rows: how many query frames.
        low, span: (n,) float64 or of no elements, see :func:`accumulate`.
    """

    def __init__(self, warping: Warping, rows: int, low: np.ndarray = _NOTHING, span: np.ndarray = _NOTHING):
        self.warping, self.low, self.span = warping, low, span
        self.left = np.full((rows, 2), np.inf)
        self.columns, self.end = 0, End(np.inf, 0)

    def advance(self, costs: np.ndarray) -> None:
        """Takes the next block, (n, m) float64."""
        pattern, free = PATTERNS[self.warping.pattern], self.warping.subsequence
        best, at, last = accumulate(costs, self.low, self.span, pattern, free, self.columns == 0, self.left)
        if not free:
            self.end = End(last, self.columns + costs.shape[1] - 1)
        elif best < self.end.cost:
            self.end = End(best, self.columns + at)
        self.columns += costs.shape[1]


def beginning(costs: Iterable[np.ndarray]) -> int:
    """The column in which the cheapest asymmetric path begins that ends in the last column; of equal steps the shortest is taken.

    Args:
        costs: (m,) float64 of each query frame in turn; one or more.
    """
    rows = iter(costs)
    total = next(rows)
    columns = np.arange(len(total))
    begun = columns
    for cost in rows:
        before = np.concatenate([[np.inf, np.inf], total])
        steps = np.stack([before[2:], before[1:-1], before[:-2]])
        begun = begun[columns - steps.argmin(axis=0)]
        total = cost + steps.min(axis=0)
    return int(begun[-1])
