"""Sums over poles on the unit circle, the heart of the S4 kernel, without ever holding (H, N, L) numbers (spec: audio-generation.md 1.5).

For ω = exp(-iθ) with θ = 2πk/L and z = 2(1-ω)/(1+ω) = 2i tan(θ/2), a conjugate pair of poles gives, with c = cos(θ/2) and s = sin(θ/2),

    v/(z-λ) + v̄/(z-λ̄) = c · r̃,    r̃ = (4is Re v - 2c Re(vλ̄)) / (c²|λ|² - 4s² - 4isc Re λ)

whose denominator is -4 where z is infinite. Real and imaginary part of 1/denominator are the same for all numerators, so that the sum over
poles is one product of real matrices; the backward pass computes them again instead of keeping them. CPUs do all of it in compiled loops.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from utility.features.threads import in_threads, workers

BLOCK = 1 << 24  # numbers of one temporary, enough to keep a GPU busy


def half_angles(length: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """cos(θ/2) and sin(θ/2) of the ⌊length/2⌋ + 1 frequencies of a real transform, in the type and on the device of ``like``."""
    half = torch.arange(length // 2 + 1, dtype=torch.float64) * (math.pi / length)
    cosine = half.cos()
    if length % 2 == 0:
        cosine[-1] = 0.0  # exactly, at ω = -1
    return cosine.to(like), half.sin().to(like)


def cauchy(v: Tensor, poles: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """r̃ of several numerators over the same poles.

    Args:
        v: (J, H, N/2) complex.
        poles: (H, N/2) complex, one of each conjugate pair, real part negative.
        cosine, sine: (F,) of ``half_angles``.

    Returns:
        (J, H, F) complex; differentiable once, in memory of its own size.
    """
    numerators = torch.cat([-2 * (v * poles.conj()).real, 4 * v.real]).transpose(0, 1).contiguous()  # (H, 2J, N)
    return torch.view_as_complex(_Sums.apply(numerators, poles.abs(), 4 * poles.real, cosine, sine))


class _Sums(torch.autograd.Function):
    """(H, 2J, N) numerators, (H, N) |λ| and 4 Re λ -> (J, H, F, 2)."""

    @staticmethod
    def forward(ctx: Any, numerators: Tensor, modulus: Tensor, damping: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(numerators, modulus, damping, cosine, sine)
        heads, twice, _ = numerators.shape
        out = numerators.new_empty(twice // 2, heads, len(cosine), 2)
        (_looped if numerators.device.type == "cpu" else _sums)("sums", numerators, modulus, damping, cosine, sine, out)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        given = ctx.saved_tensors
        made = [torch.zeros_like(tensor) for tensor in given[:3]]
        (_looped if gradient.device.type == "cpu" else _gradients)("gradients", *given, gradient, *made)
        d_numerators, d_square, d_damping = made
        return d_numerators, 2 * given[1] * d_square, d_damping, None, None


def _looped(name: str, numerators: Tensor, *others: Tensor) -> None:
    """A function of ``cauchy_loops``, its features shared out to the cores."""
    from . import cauchy_loops  # compiles

    arrays = [tensor.detach().contiguous().numpy() for tensor in (numerators, *others)]
    heads, share = len(numerators), -(-len(numerators) // workers())
    parts = [(first, min(first + share, heads)) for first in range(0, heads, share)]
    in_threads(lambda part: getattr(cauchy_loops, name)(*part, *arrays), parts)


def _sums(_: str, numerators: Tensor, modulus: Tensor, damping: Tensor, cosine: Tensor, sine: Tensor, out: Tensor) -> None:
    """Fills ``out`` in blocks, as products of matrices."""
    for rows, columns in _blocks(modulus, len(cosine)):
        c, s = cosine[columns], sine[columns]
        p, q = _inverse(modulus[rows], damping[rows], c, s)
        (ap, bp), (aq, bq) = (torch.bmm(numerators[rows], part).chunk(2, dim=1) for part in (p, q))
        out[:, rows, columns, 0] = (ap * c - bq * s).transpose(0, 1)
        out[:, rows, columns, 1] = (aq * c + bp * s).transpose(0, 1)


def _gradients(
    _: str,
    numerators: Tensor,
    modulus: Tensor,
    damping: Tensor,
    cosine: Tensor,
    sine: Tensor,
    gradient: Tensor,
    d_numerators: Tensor,
    d_square: Tensor,
    d_damping: Tensor,
) -> None:
    """Adds to the last three: gradients of the numerators, of |λ|² and of 4 Re λ."""
    for rows, columns in _blocks(modulus, len(cosine)):
        c, s = cosine[columns], sine[columns]
        p, q = _inverse(modulus[rows], damping[rows], c, s)
        real, imag = (gradient[:, rows, columns, part].transpose(0, 1) for part in (0, 1))
        to_p, to_q = torch.cat([real * c, imag * s], dim=1), torch.cat([imag * c, real * -s], dim=1)
        d_numerators[rows] += torch.bmm(to_p, p.mT) + torch.bmm(to_q, q.mT)
        weights = numerators[rows].mT
        d_p, d_q = torch.bmm(weights, to_p), torch.bmm(weights, to_q)
        square, cross = (p - q) * (p + q), 2 * p * q  # of the square of 1/denominator
        d_square[rows] -= torch.addcmul(square * d_p, cross, d_q) @ c.square()
        d_damping[rows] += torch.addcmul(square * d_q, cross, d_p, value=-1) @ (s * c)


def _inverse(modulus: Tensor, damping: Tensor, c: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part (h, N, F) of 1/denominator."""
    near, far = modulus[..., None] * c, 2 * s
    real = (near - far) * (near + far)
    imag = damping[..., None] * (s * c)  # of the conjugate
    square = torch.addcmul(real.square(), imag, imag).reciprocal_()
    return real.mul_(square), imag.mul_(square)


def _blocks(modulus: Tensor, frequencies: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the parts whose (rows, N, columns) numbers are few enough."""
    heads, poles = modulus.shape
    most = BLOCK // poles
    columns = max(1, min(frequencies, most))
    rows = max(1, most // columns)
    return [(slice(h, h + rows), slice(f, f + columns)) for h in range(0, heads, rows) for f in range(0, frequencies, columns)]
