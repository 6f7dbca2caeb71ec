"""One step of a layer's state spaces as a compiled loop on one core: s' = s + (a - 1) s + b u - left (right s), y = c s' + d u.

States are conjugate halves; a is so near to 1 that its own rounding would change how fast a slow state decays. Few sequences are computed
one by one, state beside state; many in blocks, sequence beside sequence, where no sum goes across what is computed at once, and the sums
``right s`` of the next step are made with the readout of this one, so that a state is read once a step.
"""

from __future__ import annotations

import numpy as np

from utility.compiled import compiled

FEW = 8  # sequences, up to which each is computed alone
BLOCK, TWICE, THRICE = 16, 32, 48  # sequences of a block; the distances in a block's room
_ZERO = np.float32(0)


@compiled
def state_numbers(width, n, rank, batch):
    """How many numbers the state of a layer has; zeros begin a sequence.

    Of each feature: for each sequence (2, N/2); in blocks (N/2, 2, BLOCK) and the ``rank`` sums (rank, BLOCK).
    """
    if alone(batch, rank):
        return width * batch * 2 * n
    return width * ((batch + BLOCK - 1) // BLOCK * BLOCK) * (2 * n + rank)


@compiled
def alone(batch, rank):
    """Whether sequences are computed one by one."""
    return batch <= FEW or rank > 1


@compiled
def state_space(x, out, width, n, rank, coefficients, state, d, batch):
    """
    Args:
        x, out: (H, B) flat.
        width, n, rank: H, N/2, number of pairs of left and right, at most 2.
        coefficients: (H, 6 + 4 rank, N/2) flat: real and imaginary parts of a - 1, b, 2 c, then of left and 2 right for each rank.
        state: see :func:`state_numbers`; changed in place.
        d: (H).
        batch: B.
    """
    if alone(batch, rank):
        one_by_one(x, out, width, n, rank, coefficients, state, d, batch)
    else:
        in_blocks(x, out, width, n, rank, coefficients, state, d, batch)


@compiled(fastmath=True, error_model="numpy")
def one_by_one(x, out, width, n, rank, coefficients, state, d, batch):
    """See :func:`state_space`."""
    rows = (6 + 4 * rank) * n
    for h in range(width):
        k = coefficients[h * rows : (h + 1) * rows]
        for b in range(batch):
            at = h * batch + b
            s, u = state[at * 2 * n : (at + 1) * 2 * n], x[at]
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
            out[at] = y + d[h] * u


@compiled(fastmath=True, error_model="numpy")
def in_blocks(x, out, width, n, rank, coefficients, state, d, batch):
    """See :func:`state_space`; a rank of at most 1."""
    rows, size = (6 + 4 * rank) * n, (2 * n + rank) * BLOCK
    blocks = (batch + BLOCK - 1) // BLOCK
    room = np.zeros(4 * BLOCK, np.float32)  # inputs, outputs, right s, and that of the next step
    for at in range(width * blocks):
        h, first = at // blocks, at % blocks * BLOCK
        s, begin, count = state[at * size : (at + 1) * size], h * batch + first, min(BLOCK, batch - first)
        k = coefficients[h * rows : (h + 1) * rows]
        for b in range(count):
            room[b] = x[begin + b]
        for b in range(BLOCK):
            room[BLOCK + b] = d[h] * room[b]
        if rank == 0:
            diagonal_block(s, k, room, n)
        else:
            block(s, k, room, n)
        for b in range(count):
            out[begin + b] = room[BLOCK + b]


@compiled(fastmath=True, error_model="numpy")
def diagonal_block(s, k, room, n):
    """A block of one feature without a low-rank part."""
    for i in range(n):
        ar, ai, br, bi, cr, ci = k[i], k[n + i], k[2 * n + i], k[3 * n + i], k[4 * n + i], k[5 * n + i]
        at = i * TWICE
        for b in range(BLOCK):
            re, im = s[at + b], s[at + BLOCK + b]
            real = re + (ar * re - ai * im + br * room[b])
            imag = im + (ar * im + ai * re + bi * room[b])
            s[at + b], s[at + BLOCK + b] = real, imag
            room[BLOCK + b] += cr * real - ci * imag


@compiled(fastmath=True, error_model="numpy")
def block(s, k, room, n):
    """A block of one feature with a low-rank part of rank 1."""
    for b in range(BLOCK):
        room[TWICE + b], room[THRICE + b] = s[n * TWICE + b], _ZERO
    for i in range(n):
        ar, ai, br, bi, cr, ci = k[i], k[n + i], k[2 * n + i], k[3 * n + i], k[4 * n + i], k[5 * n + i]
        lr, li, rr, ri = k[6 * n + i], k[7 * n + i], k[8 * n + i], k[9 * n + i]
        at = i * TWICE
        for b in range(BLOCK):
            re, im = s[at + b], s[at + BLOCK + b]
            real = re + (ar * re - ai * im + br * room[b] - lr * room[TWICE + b])
            imag = im + (ar * im + ai * re + bi * room[b] - li * room[TWICE + b])
            s[at + b], s[at + BLOCK + b] = real, imag
            room[BLOCK + b] += cr * real - ci * imag
            room[THRICE + b] += rr * real - ri * imag
    for b in range(BLOCK):
        s[n * TWICE + b] = room[THRICE + b]
