"""``cauchy``'s sums over poles and their gradients as compiled loops for one core; a block of frequencies at a time stays in its cache."""

from __future__ import annotations

import numpy as np

from utility.compiled import compiled

BLOCK = 256  # frequencies


@compiled(fastmath=True, error_model="numpy")
def inverse(modulus, damping, c, far, both, p, q):
    """Real and imaginary part of 1/denominator at each frequency, for one pole.

    Args:
        modulus, damping: |λ| and 4 Re λ.
        c, far, both: (F,): cosine, twice the sine, sine times cosine.
        p, q: (F,), the result.
    """
    one = c.dtype.type(1)
    for f in range(len(c)):
        near = modulus * c[f]
        real, imag = (near - far[f]) * (near + far[f]), damping * both[f]
        square = one / (real * real + imag * imag)
        p[f], q[f] = real * square, imag * square


@compiled(fastmath=True, error_model="numpy")
def sums(first, last, numerators, modulus, damping, c, s, out):
    """r̃ of the features from ``first`` to ``last``, exclusive.

    Args:
        first, last: which of the H.
        numerators: (H, 2J, N): -2 Re vλ̄ and 4 Re v of each pole.
        modulus, damping: (H, N): |λ| and 4 Re λ.
        c, s: (F,), cosine and sine of half the angle.
        out: (J, H, F, 2), the result.
    """
    _, twice, poles = numerators.shape
    pairs = twice // 2
    far, both = s + s, s * c
    room = np.empty((6, BLOCK), dtype=c.dtype)
    p, q, pc, ps, qc, qs = room[0], room[1], room[2], room[3], room[4], room[5]  # unpacked, they would count as not contiguous
    real, imag = np.empty((pairs, BLOCK), dtype=c.dtype), np.empty((pairs, BLOCK), dtype=c.dtype)
    for h in range(first, last):
        for begin in range(0, len(c), BLOCK):
            end = min(begin + BLOCK, len(c))
            size, cosine, sine = end - begin, c[begin:end], s[begin:end]
            real[:] = 0
            imag[:] = 0
            for n in range(poles):
                inverse(modulus[h, n], damping[h, n], cosine, far[begin:end], both[begin:end], p[:size], q[:size])
                for f in range(size):
                    pc[f], ps[f], qc[f], qs[f] = p[f] * cosine[f], p[f] * sine[f], q[f] * cosine[f], q[f] * sine[f]
                for j in range(pairs):
                    a, b, x, y = numerators[h, j, n], numerators[h, pairs + j, n], real[j], imag[j]
                    for f in range(size):
                        x[f] += a * pc[f] - b * qs[f]
                        y[f] += a * qc[f] + b * ps[f]
            for j in range(pairs):
                for f in range(size):
                    out[j, h, begin + f, 0] = real[j, f]
                    out[j, h, begin + f, 1] = imag[j, f]


@compiled(fastmath=True, error_model="numpy")
def weighted(p, q, u, v):
    """Σ p u + q v."""
    total = p.dtype.type(0)
    for f in range(len(p)):
        total += p[f] * u[f] + q[f] * v[f]
    return total


@compiled(fastmath=True, error_model="numpy")
def add_two(a, u, b, v, out):
    """out += a u + b v."""
    for f in range(len(out)):
        out[f] += a * u[f] + b * v[f]


@compiled(fastmath=True, error_model="numpy")
def to_denominator(p, q, dp, dq, c, both):
    """From the gradients of 1/denominator those of |λ|² and of 4 Re λ."""
    by_square, by_damping = p.dtype.type(0), p.dtype.type(0)
    for f in range(len(p)):
        square, cross = (p[f] - q[f]) * (p[f] + q[f]), p[f] * q[f] + p[f] * q[f]
        by_square -= (square * dp[f] + cross * dq[f]) * c[f] * c[f]
        by_damping += (square * dq[f] - cross * dp[f]) * both[f]
    return by_square, by_damping


@compiled(fastmath=True, error_model="numpy")
def gradients(first, last, numerators, modulus, damping, c, s, gradient, d_numerators, d_square, d_damping):
    """Gradients of ``sums``, of the features from ``first`` to ``last``.

    Args:
        first, last, numerators, modulus, damping, c, s: as for ``sums``.
        gradient: (J, H, F, 2), of its result.
        d_numerators, d_square, d_damping: zeros of the shapes of ``numerators``, ``modulus``, ``damping``, to which those of the
            numerators, of |λ|² and of 4 Re λ are added.
    """
    _, twice, poles = numerators.shape
    pairs = twice // 2
    far, both = s + s, s * c
    room = np.empty((4, BLOCK), dtype=c.dtype)
    p, q, dp, dq = room[0], room[1], room[2], room[3]
    table = np.zeros((4, pairs, BLOCK), dtype=c.dtype)  # the gradient's two parts times cosine and sine
    rc, rs, ic, i_s = table[0], table[1], table[2], table[3]
    for h in range(first, last):
        for begin in range(0, len(c), BLOCK):
            end = min(begin + BLOCK, len(c))
            size, cosine, product = end - begin, c[begin:end], both[begin:end]
            for j in range(pairs):
                for f in range(size):
                    x, y = gradient[j, h, begin + f, 0], gradient[j, h, begin + f, 1]
                    rc[j, f], rs[j, f], ic[j, f], i_s[j, f] = x * c[begin + f], -x * s[begin + f], y * c[begin + f], y * s[begin + f]
            for n in range(poles):
                inverse(modulus[h, n], damping[h, n], cosine, far[begin:end], product, p[:size], q[:size])
                dp[:] = 0
                dq[:] = 0
                for j in range(pairs):
                    a, b = numerators[h, j, n], numerators[h, pairs + j, n]
                    add_two(a, rc[j, :size], b, i_s[j, :size], dp[:size])
                    add_two(a, ic[j, :size], b, rs[j, :size], dq[:size])
                    d_numerators[h, j, n] += weighted(p[:size], q[:size], rc[j], ic[j])
                    d_numerators[h, pairs + j, n] += weighted(p[:size], q[:size], i_s[j], rs[j])
                by_square, by_damping = to_denominator(p[:size], q[:size], dp, dq, cosine, product)
                d_square[h, n] += by_square
                d_damping[h, n] += by_damping
