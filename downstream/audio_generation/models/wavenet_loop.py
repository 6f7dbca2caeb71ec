"""One step of WaveNet as a compiled loop over its layers, for one sequence in float32, and what a batch needs beside the products.

The weights are those of :class:`.wavenet_step.WaveNetWeights`.
"""

from __future__ import annotations

import numpy as np

from utility.compiled import compiled

from .loops import added, copied, gated, multiplied, rectified


def scratch(gates: np.ndarray, residual: np.ndarray, skip: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, ...]:
    """Room for what lies between the products, handed to every :func:`step`."""
    widths = residual.shape[1], gates.shape[2], gates.shape[1], skip.shape[1], skip.shape[0], end.shape[0]
    return tuple(np.empty(width, np.float32) for width in widths)


@compiled
def layers(time, distances, queues, gates, residual, room):
    """All layers; ``room`` begins with what enters the first, and ends with what the skips are made of.

    Args:
        time: steps since the queues were zero.
        distances: (layers,) int64, between the taps of a layer.
        queues: (steps of all layers, R).
        gates: ((layers, 2 D, taps * R), (layers, 2 D)).
        residual: ((layers, R, D), (layers, R)).
        room: (R,), (taps * R,), (2 D,) and (layers * D,).
    """
    x, seen, both, z = room
    channels, width = len(x), len(both) // 2
    taps, offset = len(seen) // channels, 0
    for layer in range(len(distances)):
        length = (taps - 1) * distances[layer]
        for tap in range(taps - 1):
            copied(queues[offset + (time + tap * distances[layer]) % length], seen[tap * channels : (tap + 1) * channels])
        now = seen[(taps - 1) * channels :]
        copied(x, now)
        if length:
            copied(x, queues[offset + time % length])
        offset += length
        multiplied(gates[0][layer], gates[1][layer], seen, both)
        summand = z[layer * width : (layer + 1) * width]
        gated(both, summand)
        multiplied(residual[0][layer], residual[1][layer], summand, x)
        added(now, x)


@compiled
def step(code, time, start, distances, queues, weights, room, logits):
    """The logits (n_codes,) that follow the ``code``.

    Args:
        code: whole number.
        time, distances, queues: see :func:`layers`.
        start: (n_codes, R).
        weights: gates, residual, skip, end and output, each with its bias.
        room: see :func:`scratch`.
        logits: is written.
    """
    x, seen, both, z, skip, end = room
    gates, residual, to_skip, to_end, to_output = weights
    copied(start[code], x)
    layers(time, distances, queues, gates, residual, (x, seen, both, z))
    multiplied(to_skip[0], to_skip[1], z, skip)
    rectified(skip)
    multiplied(to_end[0], to_end[1], skip, end)
    rectified(end)
    multiplied(to_output[0], to_output[1], end, logits)


@compiled
def between(both, z, x, bias, following):
    """What stands between the two products of a layer.

    Args:
        both: (2 D * B,), values and gates.
        z: (D * B,), is written: values times gates.
        x: (R, B), what entered the layer.
        bias: (R,).
        following: (R, B), is written: the sum of both.
    """
    gated(both, z)
    for i in range(len(x)):
        for j in range(x.shape[1]):
            following[i, j] = x[i, j] + bias[i]


@compiled
def recall(time, distances, queues, inputs):
    """What the earlier taps of all layers see, out of the queues into ``inputs``; arguments as in :func:`remember`."""
    taps, offset = inputs.shape[1], 0
    for layer in range(len(distances)):
        length = (taps - 1) * distances[layer]
        for tap in range(taps - 1):
            copied(queues[offset + (time + tap * distances[layer]) % length], inputs[layer, tap])
        offset += length


@compiled
def remember(time, distances, queues, inputs):
    """What entered all layers, into the queues in place of the oldest.

    Args:
        time, distances: see :func:`layers`.
        queues: (steps of all layers, R * B).
        inputs: (layers, taps, R * B), the present last.
    """
    taps, offset = inputs.shape[1], 0
    for layer in range(len(distances)):
        length = (taps - 1) * distances[layer]
        if length:
            copied(inputs[layer, taps - 1], queues[offset + time % length])
        offset += length
