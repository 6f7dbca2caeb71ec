"""Compiled float32 loops that fused steps are made of.

Divisions follow numpy's rules, as a check for zero would keep the compiler from doing several at once.
"""

from __future__ import annotations

import numpy as np

from utility.compiled import compiled

LOG2_E, LN2_HIGH, LN2_LOW = np.float32(1.4426950408889634), np.float32(0.693359375), np.float32(-2.1219444005469057e-4)
MOST, HALF, ONE, TWO = np.float32(40), np.float32(0.5), np.float32(1), np.float32(2)
C3, C4, C5, C6, C7 = (np.float32(1 / n) for n in (6, 24, 120, 720, 5040))
BIAS, MANTISSA = np.int32(127), np.int32(1 << 23)


@compiled(fastmath=True, error_model="numpy", inline="always")
def exponential(x):
    """e^x of a float32 within a few units of the last place, the argument cut to +-40: 2^k by its bits, times a Taylor series.

    Beyond, tanh and the logistic function are constant in float32, and products of two such powers are still finite.
    """
    x = x if x < MOST else MOST
    x = x if x > -MOST else -MOST
    whole = np.floor(x * LOG2_E + HALF)
    rest = x - whole * LN2_HIGH - whole * LN2_LOW
    series = ONE + rest * (ONE + rest * (HALF + rest * (C3 + rest * (C4 + rest * (C5 + rest * (C6 + rest * C7))))))
    return series * np.int32((np.int32(whole) + BIAS) * MANTISSA).view(np.float32)


@compiled(fastmath=True, error_model="numpy")
def gated(both, out):
    """tanh of the first half of ``both`` (2 n,) times the logistic function of the second half, into ``out`` (n,)."""
    count = len(out)
    value, gate = both[:count], both[count:]
    for i in range(count):
        shrunk, closed = exponential(-TWO * value[i]), exponential(-gate[i])
        out[i] = (ONE - shrunk) / ((ONE + shrunk) * (ONE + closed))


@compiled(fastmath=True, error_model="numpy")
def multiplied(weight, bias, x, out):
    """``weight`` (n, m) times ``x`` (m,) plus ``bias`` (n,), into ``out`` (n,).

    Four rows at once: a weight that is too large for the caches arrives sooner in four streams than in one.
    """
    rows, columns = weight.shape
    grouped = rows - rows % 4
    for i in range(0, grouped, 4):
        a, b, c, d = weight[i], weight[i + 1], weight[i + 2], weight[i + 3]
        to_a = to_b = to_c = to_d = np.float32(0)
        for j in range(columns):
            to_a += a[j] * x[j]
            to_b += b[j] * x[j]
            to_c += c[j] * x[j]
            to_d += d[j] * x[j]
        out[i], out[i + 1] = to_a + bias[i], to_b + bias[i + 1]
        out[i + 2], out[i + 3] = to_c + bias[i + 2], to_d + bias[i + 3]
    for i in range(grouped, rows):
        total = np.float32(0)
        for j in range(columns):
            total += weight[i, j] * x[j]
        out[i] = total + bias[i]


@compiled
def rectified(x):
    """max(x, 0) in place, (n,)."""
    for i in range(len(x)):
        x[i] = x[i] if x[i] > 0 else np.float32(0)


@compiled
def copied(x, out):
    """``x`` (n,) into ``out`` (n,)."""
    for i in range(len(x)):
        out[i] = x[i]


@compiled
def added(x, out):
    """``x`` (n,) onto ``out`` (n,)."""
    for i in range(len(x)):
        out[i] += x[i]
