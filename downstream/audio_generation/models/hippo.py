"""State matrices that remember the past, and their diagonal and diagonal-plus-low-rank forms (spec: audio-generation.md 1.2, 1.3).

x'(t) = A x(t) + B u(t). HiPPO's A (Gu et al., 2020) is not normal, yet A + P Pᵀ is for a P of one or two columns, so that a unitary V gives
A = V (Λ - P̃ P̃*) V* with diagonal Λ (S4, Gu et al., 2022). The diagonal inits are those of S4D (Gu et al., 2022). Eigenvalues come in
conjugate pairs; one of each pair is kept, the one with the negative imaginary part.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from utility.errors import ConfigError, UnknownNameError

B_CLIP = 2.0  # bound of the imaginary part of B
COMBINATIONS = {
    "hippo": ("legs", "fourier"),
    "diag": ("diag-inv", "diag-lin"),
    "all": ("legs", "fourier", "diag-inv", "diag-lin"),
}
MEASURES = ("legs", "legt", "fourier", "fout")
SPECTRA = ("lin", "inv", "inv2", "quad", "legs", "hippo", "real", "rand")
INPUTS = ("constant", "random", "alternating", "unit-cw", "unit-ccw")


class Ssm(NamedTuple):
    """A diagonal-plus-low-rank system of half the conjugate pairs, complex128 tensors.

    Args:
        A: (S, N/2), the diagonal, of S copies.
        B: (S, N/2).
        P: (rank, S, N/2); A - P P* is the state matrix.
    """

    A: Tensor
    B: Tensor
    P: Tensor


def transition(measure: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """A (N, N) and B (N) of a HiPPO measure, float64.

    Raises:
        UnknownNameError: no such measure.
    """
    q = np.arange(n, dtype=np.float64)
    if measure == "legs":
        root = np.sqrt(2 * q + 1)
        return -np.tril(np.outer(root, root), -1) - np.diag(q + 1), root
    if measure == "legt":
        root = np.sqrt(2 * q + 1)
        signs = np.where(q[:, None] < q[None], (-1.0) ** (q[:, None] - q[None]), 1.0)
        return -0.5 * np.outer(root, root) * signs, 0.5 * root
    if measure in ("fourier", "fout"):
        b = np.where(q % 2 == 0, math.sqrt(2), 0.0)
        b[0] = 1.0
        d = np.stack([np.zeros(n // 2), np.arange(n // 2)], axis=1).reshape(-1)[1:]
        return np.pi * (np.diag(d, -1) - np.diag(d, 1)) - np.outer(b, b), b
    raise UnknownNameError("HiPPO measure", measure, MEASURES)


def low_rank(measure: str, n: int, rank: int) -> np.ndarray:
    """P (rank, N) with A + Pᵀ P normal; rows beyond the needed ones are 0.

    Raises:
        ConfigError: the measure needs a higher rank.
    """
    q = np.arange(n, dtype=np.float64)
    if measure == "legs":
        rows = np.sqrt(q + 0.5)[None]
    elif measure == "legt":
        root = np.sqrt(2 * q + 1)
        rows = np.stack([np.where(q % 2 == side, root, 0.0) for side in (1, 0)]) / math.sqrt(2)
    else:
        rows = transition(measure, n)[1][None].astype(np.float32)  # the public code holds this one in single precision, and so P Pᵀ
    if rank < len(rows):
        raise ConfigError(f"rank is {rank}: init {measure!r} needs {len(rows)}")
    return np.concatenate([rows, np.zeros((rank - len(rows), n), dtype=rows.dtype)])


def dplr(measure: str, n: int, rank: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Λ (N/2), P̃ (rank, N/2) and B̃ (N/2) of a HiPPO measure, complex128, by ascending imaginary part of Λ.

    The phase of each eigenvector is arbitrary, and with it that of B̃ and P̃; B̃ is not clipped.
    """
    a, b = transition(measure, n)
    p = low_rank(measure, n, rank)
    normal = a + p.T @ p
    frequencies, vectors = np.linalg.eigh(normal * -1j)
    frequencies, vectors = frequencies[: n // 2], vectors[:, : n // 2]
    if abs(frequencies[-1]) < 1e-6 * max(1.0, abs(frequencies[0])):  # a pair at 0: eigh may return any basis of its plane
        frequencies[-1] = 0.0
        vectors[:, -1] = 0.0
        vectors[:2, -1] = np.array([1, 1j]) / math.sqrt(2)
    decay = np.diagonal(normal).mean()
    back = vectors.conj().T
    return decay + 1j * frequencies, p @ back.T, back @ b


def diagonal_spectrum(name: str, n: int, copies: int, options: dict, dtype: torch.dtype = torch.float64) -> Tensor:
    """A (copies, N/2) of an S4D init, imaginary part negative.

    Args:
        name: one of ``SPECTRA``.
        n: N, both halves of the conjugate pairs.
        copies: S.
        options: of ``real_scale``, ``imag_scale``, ``real_random``, ``imag_random``.
        dtype: of the real and imaginary parts.
    """
    half = n // 2
    q = torch.arange(half, dtype=dtype).expand(copies, half)
    real = 0.5 * torch.ones_like(q)
    if name == "lin":
        imag = math.pi * q
    elif name == "inv":
        imag = n / math.pi * (n / (2 * q + 1) - 1)
    elif name == "inv2":
        imag = n / math.pi * (n / (q + 1) - 1)
    elif name == "quad":
        imag = (1 + 2 * q) ** 2 / math.pi
    elif name in ("legs", "hippo"):
        imag = -torch.from_numpy(dplr("legs", n)[0].imag.copy()).to(dtype).expand(copies, half)
    elif name == "real":
        real, imag = q + 1, torch.zeros_like(q)
    elif name == "rand":
        imag = torch.randn(copies, half, dtype=dtype).exp()
    else:
        raise UnknownNameError("spectrum of a diagonal init", name, SPECTRA)
    if options.get("real_random"):
        real = torch.rand(copies, half, dtype=dtype)
    if options.get("imag_random"):
        imag = half * torch.rand(copies, half, dtype=dtype)
    return torch.complex(-options.get("real_scale", 1.0) * real, -options.get("imag_scale", 1.0) * imag)


def diagonal_input(name: str, n: int, copies: int) -> Tensor:
    """B (copies, N/2) of an S4D init, complex128."""
    half = n // 2
    q = torch.arange(half, dtype=torch.float64)
    if name == "constant":
        b = torch.ones(half, dtype=torch.complex128)
    elif name == "random":
        return torch.randn(copies, half, dtype=torch.complex128)
    elif name == "alternating":
        b = ((-1.0) ** q).to(torch.complex128)
    elif name in ("unit-cw", "unit-ccw"):
        turn = (-2 if name == "unit-cw" else 2) * math.pi / n
        b = torch.polar(torch.ones_like(q), turn * q)
    else:
        raise UnknownNameError("B_init", name, INPUTS)
    return b.expand(copies, half).clone()


def initial(init: str, n: int, copies: int, rank: int = 1, options: dict | None = None, dtype: torch.dtype = torch.float64) -> Ssm:
    """The system that a kernel begins with.

    Args:
        init: a measure, ``diag-<spectrum>`` or ``dplr-<spectrum>``, or one of ``COMBINATIONS``, whose parts share the copies.
        n: N.
        copies: S.
        rank: rows of P.
        options: of ``diagonal_spectrum``; ``B_init``, ``normalize``.
        dtype: in which diagonal spectra are computed.

    Raises:
        UnknownNameError: an unknown name.
        ConfigError: N is odd, the copies cannot be shared out, or the rank is too low.
    """
    if n < 2 or n % 2:
        raise ConfigError(f"d_state is {n}: it must be even, conjugate pairs are stored by half")
    parts = COMBINATIONS.get(init, (init,))
    if copies % len(parts):
        raise ConfigError(f"n_ssm is {copies}: init {init!r} shares the copies among {len(parts)}")
    systems = [_one(part, n, copies // len(parts), rank, options or {}, dtype) for part in parts]
    return Ssm(*(torch.cat(tensors, dim=-2) for tensors in zip(*systems, strict=True)))


def _one(init: str, n: int, copies: int, rank: int, options: dict, dtype: torch.dtype) -> Ssm:
    family, _, name = init.partition("-")
    if family in ("diag", "dplr") and name:
        return _diagonal(name, n, copies, rank, options, dtype)
    if init not in MEASURES:
        names = [*MEASURES, *COMBINATIONS, *(f"{kind}-{spectrum}" for kind in ("diag", "dplr") for spectrum in SPECTRA)]
        raise UnknownNameError("init", init, names)
    a, p, b = (torch.from_numpy(np.ascontiguousarray(value)) for value in dplr(init, n, rank))
    b = torch.complex(b.real, b.imag.clamp(-B_CLIP, B_CLIP))
    return Ssm(a.expand(copies, -1), b.expand(copies, -1), p[:, None].expand(-1, copies, -1))


def _diagonal(name: str, n: int, copies: int, rank: int, options: dict, dtype: torch.dtype) -> Ssm:
    a = diagonal_spectrum(name, n, copies, options, dtype).to(torch.complex128)
    if name in ("legs", "hippo"):
        b = torch.from_numpy(dplr("legs", n)[2]).expand(copies, -1)
        b = torch.complex(b.real, b.imag.clamp(-B_CLIP, B_CLIP))
    else:
        b = diagonal_input(options.get("B_init", "constant"), n, copies)
    if options.get("normalize"):
        b = b / (2 * (b / a).abs().square().sum(-1, keepdim=True)).sqrt()
    return Ssm(a, b, torch.zeros(rank, copies, n // 2, dtype=torch.complex128))
