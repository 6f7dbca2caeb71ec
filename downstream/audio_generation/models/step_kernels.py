"""One step of a whole model in one compiled loop on one core: a list of operations over one array of weights and one of activations.

All numbers are float32 and real. Operations name their operands by offsets; activations are (B, width). ``step_program`` writes the lists.
"""

from __future__ import annotations

import numpy as np

from utility.compiled import compiled

from .loops import exponential

# operations, and what the columns of their rows hold
EMBED = 0  # out, table, width
NORM_SCALAR = 1  # x, out, width, s and m
NORM_LAYER = 2  # x, out, width, scale and shift, index of epsilon
LINEAR = 3  # x, out, width of x, width of out, matrix (in, out) and bias
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
def glu_add(x, residual, out, width, batch):
    """out = residual + x[:width] σ(x[width:])."""
    for b in range(batch):
        value, gate = x[2 * b * width : (2 * b + 1) * width], x[(2 * b + 1) * width : (2 * b + 2) * width]
        row, to = residual[b * width : (b + 1) * width], out[b * width : (b + 1) * width]
        for i in range(width):
            to[i] = row[i] + value[i] / (_ONE + exponential(-gate[i]))


@compiled(fastmath=True, error_model="numpy")
def moments(row):
    """Mean and variance of (width)."""
    mean = np.float32(0)
    for i in range(row.size):
        mean += row[i]
    mean /= np.float32(row.size)
    square = np.float32(0)
    for i in range(row.size):
        square += (row[i] - mean) * (row[i] - mean)
    return mean, square / np.float32(row.size)


@compiled(fastmath=True, error_model="numpy")
def norm_scalar(x, out, width, batch, s, m):
    """Mean and deviation over the features; no epsilon."""
    for b in range(batch):
        row = x[b * width : (b + 1) * width]
        mean, variance = moments(row)
        scale = s / max(np.sqrt(variance), np.float32(1e-19))
        for i in range(width):
            out[b * width + i] = (row[i] - mean + m) * scale


@compiled(fastmath=True, error_model="numpy")
def norm_layer(x, out, width, batch, weight, bias, epsilon):
    """LayerNorm."""
    for b in range(batch):
        row = x[b * width : (b + 1) * width]
        mean, variance = moments(row)
        scale = _ONE / np.sqrt(variance + epsilon)
        for i in range(width):
            out[b * width + i] = (row[i] - mean) * scale * weight[i] + bias[i]


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
    """out = x w + bias."""
    if batch > 1:
        np.dot(x.reshape(batch, n_in), w.reshape(n_in, n_out), out.reshape(batch, n_out))
        for b in range(batch):
            for j in range(n_out):
                out[b * n_out + j] += bias[j]
        return
    out[:] = bias
    vector_matrix(x, w, out, n_in, n_out)


@compiled(fastmath=True, error_model="numpy")
def state_space(x, out, width, n, rank, coefficients, state, d, batch):
    """s' = s + (a - 1) s + b u - left (right s), y = c s' + d u of conjugate halves.

    a is so near to 1 that its own rounding would change how fast a slow state decays.

    Args:
        x, out: (B, H) flat.
        width, n, rank: H, N/2, number of pairs of left and right.
        coefficients: (H, 6 + 4 rank, N/2) flat: real and imaginary parts of a - 1, b, 2 c, then of left and 2 right for each rank.
        state: (H, B, 2, N/2) flat, changed in place.
        d: (H).
        batch: B.
    """
    rows = 6 + 4 * rank
    for h in range(width):
        k = coefficients[h * rows * n : (h + 1) * rows * n]
        for b in range(batch):
            u = x[b * width + h]
            begin = (h * batch + b) * 2 * n
            s = state[begin : begin + 2 * n]
            along = np.float32(0)
            if rank:
                for i in range(n):
                    along += k[8 * n + i] * s[i] - k[9 * n + i] * s[n + i]
            more = np.float32(0)
            if rank > 1:
                for i in range(n):
                    more += k[12 * n + i] * s[i] - k[13 * n + i] * s[n + i]
            y = np.float32(0)
            if rank == 0:
                for i in range(n):
                    real = s[i] + (k[i] * s[i] - k[n + i] * s[n + i] + k[2 * n + i] * u)
                    imag = s[n + i] + (k[i] * s[n + i] + k[n + i] * s[i] + k[3 * n + i] * u)
                    s[i], s[n + i] = real, imag
                    y += k[4 * n + i] * real - k[5 * n + i] * imag
            else:
                for i in range(n):
                    real = s[i] + (k[i] * s[i] - k[n + i] * s[n + i] + k[2 * n + i] * u - k[6 * n + i] * along)
                    imag = s[n + i] + (k[i] * s[n + i] + k[n + i] * s[i] + k[3 * n + i] * u - k[7 * n + i] * along)
                    if rank > 1:
                        real -= k[10 * n + i] * more
                        imag -= k[11 * n + i] * more
                    s[i], s[n + i] = real, imag
                    y += k[4 * n + i] * real - k[5 * n + i] * imag
            out[b * width + h] = y + d[h] * u


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
            rows = weights[k : k + n * states * (6 + 4 * rank)]
            state_space(x, out, n, states, rank, rows, work[s : s + 2 * batch * n * states], weights[d : d + n], batch)
        elif kind == GELU:
            gelu(work[p : p + batch * q])
        elif kind == GLU_ADD:
            m = op[4]
            glu_add(work[p : p + 2 * batch * m], work[q : q + batch * m], work[n : n + batch * m], m, batch)
        elif kind == NORM_SCALAR:
            norm_scalar(work[p : p + batch * n], work[q : q + batch * n], n, batch, weights[op[4]], weights[op[4] + 1])
        elif kind == NORM_LAYER:
            w = op[4]
            x, out = work[p : p + batch * n], work[q : q + batch * n]
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
                    work[p + b * n + i] = weights[row + i]
        elif kind == GATHER:
            pool, phase = op[4], op[5]
            for b in range(batch):
                to = q + (b * pool + phases[phase]) * n
                for i in range(n):
                    work[to + i] = work[p + b * n + i]
            phases[phase] += 1
            if phases[phase] < pool:
                at = op[6]
            else:
                phases[phase] = 0
        elif kind == POP:
            pool, held = op[4], phases[op[5]]
            slot = pool - 1 if held == 0 else held - 1
            for b in range(batch):
                begin = q + (b * pool + slot) * n
                for i in range(n):
                    work[p + b * n + i] = work[begin + i]
        elif phases[p] != 0:  # UNLESS_FULL
            at = q
