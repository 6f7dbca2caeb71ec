"""One step of a whole model in one compiled loop on one core: a list of operations over one array of weights and one of activations.

All numbers are float32 and real. Operations name their operands by offsets; activations are (width, B), so that of many sequences the same
feature lies side by side. ``step_program`` writes the lists.
"""

from __future__ import annotations

import numpy as np

from utility.compiled import compiled

from .loops import exponential
from .state_kernels import state_numbers, state_space

# operations, and what the columns of their rows hold
EMBED = 0  # out, table, width
NORM_SCALAR = 1  # x, out, width, s and m
NORM_LAYER = 2  # x, out, width, scale and shift, index of epsilon
LINEAR = 3  # x, out, width of x, width of out, matrix and bias: (in, out) for one sequence, (out, in) for several
GELU = 4  # x, width
GLU_ADD = 5  # x (2 width), residual, out, width
ADD = 6  # a, b, out, width
STATE_SPACE = 7  # x, out, width, states, rank, coefficients, state, D
GATHER = 8  # x, store, width, pool, phase, where to go on while moments are missing
POP = 9  # out, slots, width, pool, phase
UNLESS_FULL = 10  # phase, where to go on unless the pool has just become full
COPY = 11  # x, out, width
COLUMNS = 9

_ONE, _HALF = np.float32(1), np.float32(0.5)
# erf (Abramowitz and Stegun 7.1.26), largest error 1.5e-7
_P = np.float32(0.3275911)
_ERF = tuple(np.float32(v) for v in (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429))
_ROOT_HALF = np.float32(0.7071067811865476)


@compiled(fastmath=True, error_model="numpy")
def gelu(x):
    """x = x Φ(x), in place."""
    for i in range(x.size):
        t = _ONE / (_ONE + _P * _ROOT_HALF * abs(x[i]))
        series = t * (_ERF[0] + t * (_ERF[1] + t * (_ERF[2] + t * (_ERF[3] + t * _ERF[4]))))
        tail = _HALF * exponential(-_HALF * x[i] * x[i]) * series
        x[i] = x[i] * (_ONE - tail if x[i] > 0 else tail)


@compiled(fastmath=True, error_model="numpy")
def glu_add(x, residual, out):
    """out = residual + the first half of x times σ of the second."""
    count = out.size
    value, gate = x[:count], x[count:]
    for i in range(count):
        out[i] = residual[i] + value[i] / (_ONE + exponential(-gate[i]))


@compiled(fastmath=True, error_model="numpy")
def moments(x):
    """Mean and variance of (width)."""
    mean = np.float32(0)
    for i in range(x.size):
        mean += x[i]
    mean /= np.float32(x.size)
    square = np.float32(0)
    for i in range(x.size):
        square += (x[i] - mean) * (x[i] - mean)
    return mean, square / np.float32(x.size)


@compiled(fastmath=True, error_model="numpy")
def column_moments(x, width, batch):
    """Means and variances (B) of (width, B)."""
    mean, variance = np.zeros(batch, np.float32), np.zeros(batch, np.float32)
    for i in range(width):
        for b in range(batch):
            mean[b] += x[i * batch + b]
    for b in range(batch):
        mean[b] /= np.float32(width)
    for i in range(width):
        for b in range(batch):
            variance[b] += (x[i * batch + b] - mean[b]) * (x[i * batch + b] - mean[b])
    for b in range(batch):
        variance[b] /= np.float32(width)
    return mean, variance


@compiled(fastmath=True, error_model="numpy")
def norm_scalar(x, out, width, batch, s, m):
    """Mean and deviation over the features of (width, B); no epsilon."""
    if batch == 1:
        mean, variance = moments(x)
        scale = s / max(np.sqrt(variance), np.float32(1e-19))
        for i in range(width):
            out[i] = (x[i] - mean + m) * scale
        return
    means, scales = column_moments(x, width, batch)
    for b in range(batch):
        scales[b] = s / max(np.sqrt(scales[b]), np.float32(1e-19))
    for i in range(width):
        for b in range(batch):
            out[i * batch + b] = (x[i * batch + b] - means[b] + m) * scales[b]


@compiled(fastmath=True, error_model="numpy")
def norm_layer(x, out, width, batch, weight, bias, epsilon):
    """LayerNorm over the features of (width, B)."""
    if batch == 1:
        mean, variance = moments(x)
        scale = _ONE / np.sqrt(variance + epsilon)
        for i in range(width):
            out[i] = (x[i] - mean) * scale * weight[i] + bias[i]
        return
    means, scales = column_moments(x, width, batch)
    for b in range(batch):
        scales[b] = _ONE / np.sqrt(scales[b] + epsilon)
    for i in range(width):
        for b in range(batch):
            out[i * batch + b] = (x[i * batch + b] - means[b]) * scales[b] * weight[i] + bias[i]


@compiled(fastmath=True, error_model="numpy")
def vector_matrix(x, w, out, n_in, n_out):
    """out += x w, eight rows of w at a time."""
    full = n_in - n_in % 8
    for i in range(0, full, 8):
        x0, x1, x2, x3, x4, x5, x6, x7 = x[i], x[i + 1], x[i + 2], x[i + 3], x[i + 4], x[i + 5], x[i + 6], x[i + 7]
        row = w[i * n_out : (i + 8) * n_out]
        for j in range(n_out):
            out[j] += (
                (x0 * row[j] + x1 * row[n_out + j])
                + (x2 * row[2 * n_out + j] + x3 * row[3 * n_out + j])
                + (x4 * row[4 * n_out + j] + x5 * row[5 * n_out + j])
                + (x6 * row[6 * n_out + j] + x7 * row[7 * n_out + j])
            )
    for i in range(full, n_in):
        for j in range(n_out):
            out[j] += x[i] * w[i * n_out + j]


@compiled(fastmath=True, error_model="numpy")
def linear(x, w, bias, out, n_in, n_out, batch):
    """out = w x + bias, where x is (in, B)."""
    if batch == 1:
        out[:] = bias
        vector_matrix(x, w, out, n_in, n_out)
        return
    np.dot(w.reshape(n_out, n_in), x.reshape(n_in, batch), out.reshape(n_out, batch))
    for j in range(n_out):
        for b in range(batch):
            out[j * batch + b] += bias[j]


@compiled(fastmath=True, error_model="numpy")
def run(ops, weights, work, phases, codes):
    """All operations of one step.

    Args:
        ops: (n, COLUMNS) int64.
        weights, work: float32; the latter is changed.
        phases: int64, how many moments each pool holds; changed.
        codes: (B,) int64.
    """
    batch, at = codes.size, 0
    while at < ops.shape[0]:
        op = ops[at]
        kind, p, q, n = op[0], op[1], op[2], op[3]
        at += 1
        if kind == LINEAR:
            m, w = op[4], op[5]
            x, out = work[p : p + batch * n], work[q : q + batch * m]
            linear(x, weights[w : w + n * m], weights[w + n * m : w + n * m + m], out, n, m, batch)
        elif kind == STATE_SPACE:
            states, rank, k, s, d = op[4], op[5], op[6], op[7], op[8]
            x, out = work[p : p + batch * n], work[q : q + batch * n]
            rows, state = weights[k : k + n * states * (6 + 4 * rank)], work[s : s + state_numbers(n, states, rank, batch)]
            state_space(x, out, n, states, rank, rows, state, weights[d : d + n], batch)
        elif kind == GELU:
            gelu(work[p : p + batch * q])
        elif kind == GLU_ADD:
            m = op[4]
            glu_add(work[p : p + 2 * batch * m], work[q : q + batch * m], work[n : n + batch * m])
        elif kind in (NORM_SCALAR, NORM_LAYER):
            x, out, w = work[p : p + batch * n], work[q : q + batch * n], op[4]
            if kind == NORM_SCALAR:
                norm_scalar(x, out, n, batch, weights[w], weights[w + 1])
            else:
                norm_layer(x, out, n, batch, weights[w : w + n], weights[w + n : w + 2 * n], weights[op[5]])
        elif kind == ADD:
            for i in range(batch * op[4]):
                work[n + i] = work[p + i] + work[q + i]
        elif kind == COPY:
            for i in range(batch * n):
                work[q + i] = work[p + i]
        elif kind == EMBED:
            for b in range(batch):
                row = q + codes[b] * n
                for i in range(n):
                    work[p + i * batch + b] = weights[row + i]
        else:
            at = pooled(op, at, work, phases, batch)


@compiled
def pooled(op, at, work, phases, batch):
    """What the pools do with the moments (width, B) that they hold; where to go on."""
    kind, p, q, n, pool = op[0], op[1], op[2], op[3] * batch, op[4]
    if kind == GATHER:
        phase = op[5]
        to = q + phases[phase] * n
        for i in range(n):
            work[to + i] = work[p + i]
        phases[phase] = (phases[phase] + 1) % pool
        return at if phases[phase] == 0 else op[6]
    if kind == POP:
        begin = q + (phases[op[5]] - 1) % pool * n
        for i in range(n):
            work[p + i] = work[begin + i]
        return at
    return q if phases[p] != 0 else at  # UNLESS_FULL
