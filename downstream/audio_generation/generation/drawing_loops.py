"""Drawing codes on a CPU in one loop: PyTorch's operations on so few numbers take as long as the step of a small network."""

from __future__ import annotations

import math

import numpy as np

from utility.compiled import compiled

LEAST = -708.0  # the logarithm of the least normal number
LOG2_E, LN2_HIGH, LN2_LOW = 1 / math.log(2), 0.6931471803691238, 1.9082149292705877e-10
ROUND = 1.5 * 2.0**52  # with it added, the low bits of a number are those of the nearest whole number
_2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13 = (1 / math.factorial(n) for n in range(2, 14))


@compiled(error_model="numpy", inline="always")
def exponential(x):
    """e^x of a float64 that is at most 0, within a few units of the last place: 2^k by its bits, times a Taylor series; 0 below 1e-307."""
    within = LEAST if x < LEAST else x
    shifted = np.float64(within * LOG2_E + ROUND)
    whole = shifted - ROUND
    r = within - whole * LN2_HIGH - whole * LN2_LOW
    small = _7 + r * (_8 + r * (_9 + r * (_10 + r * (_11 + r * (_12 + r * _13)))))
    series = 1.0 + r * (1.0 + r * (_2 + r * (_3 + r * (_4 + r * (_5 + r * (_6 + r * small))))))
    power = np.int64((np.float64(shifted).view(np.int64) + 1023) << 52).view(np.float64)
    return 0.0 if x < LEAST else series * power


@compiled(error_model="numpy")
def powers(logits, highest, temp, out):
    """e^((logits - highest) / temp) into ``out``, and their sum."""
    for i in range(len(out)):
        out[i] = exponential((logits[i] - highest) / temp)
    total = 0.0
    for i in range(len(out)):
        total += out[i]
    return total


@compiled(error_model="numpy")
def draw(logits, uniforms, temp, codes, likelihoods):
    """See ``Drawing``, without ``top_p``; fills the last two.

    Args:
        logits: (B, n_codes) float32.
        uniforms: (B,) float64.
        temp: the temperature.
        codes: (B,) int64.
        likelihoods: (B,) float64.
    """
    shares = np.empty(logits.shape[1])
    for row in range(len(codes)):
        own = logits[row]
        code = np.argmax(own)
        highest = np.float64(own[code])
        total = powers(own, highest, 1.0, shares)
        if temp > 0:
            left = uniforms[row] * (total if temp == 1 else powers(own, highest, temp, shares))
            code, cumulative = 0, shares[0]
            while code < len(shares) - 1 and cumulative <= left:
                code += 1
                cumulative += shares[code]
        codes[row] = code
        likelihoods[row] = own[code] - highest - math.log(total)
