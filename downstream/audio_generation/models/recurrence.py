"""The same state spaces one step at a time: s' = Ā s + B̄ u, y = C s' (spec: audio-generation.md 1.9).

Everything is prepared in double precision and real arithmetic: half of the conjugate pairs, s = a + ib, is the real vector (a, b) of N
numbers, on which a diagonal-plus-low-rank A acts as a real (N, N) matrix.

====================  ===============  ======================  =======================================================
class                 state            multiplications a step  equal to the kernel
====================  ===============  ======================  =======================================================
``DenseStep``         N complex        N²                      yes
``EigenStep``         N complex        N                       where the eigenvectors of Ā are well conditioned
``HalfStep``          N/2 complex      N                       yes: Ā of the bilinear rule is again diagonal plus rank
====================  ===============  ======================  =======================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

WORST_CONDITION = 1e3  # of eigenvectors: what single precision loses by them


class RealSystem(NamedTuple):
    """A discrete system over (real, imaginary) parts of half the conjugate pairs, float64.

    Args:
        A: (H, N, N).
        B: (H, N).
        C: (channels, H, N).
    """

    A: Tensor
    B: Tensor
    C: Tensor


def split(x: Tensor) -> Tensor:
    """(..., N/2) complex -> (..., N) float64, real parts first."""
    return torch.cat([x.real, x.imag], dim=-1).double()


def readout(c: Tensor) -> Tensor:
    """The real vector that gives 2 Re Σ c_n s_n of a split state."""
    return 2 * split(c.conj().resolve_conj())


def from_readout(c: Tensor) -> Tensor:
    """Inverse of ``readout``: (..., N) -> (..., N/2) complex128."""
    real, imag = c.chunk(2, dim=-1)
    return torch.complex(real, -imag) / 2


def state_matrix(a: Tensor, p: Tensor) -> Tensor:
    """Λ - P P* over split states: (H, N/2), (rank, H, N/2) -> (H, N, N) float64."""
    real, imag = (torch.diag_embed(part.double()) for part in (a.real, a.imag))
    diagonal = torch.cat([torch.cat([real, -imag], dim=-1), torch.cat([imag, real], dim=-1)], dim=-2)
    columns = split(p)
    return diagonal - 2 * torch.einsum("rhm,rhn->hmn", columns, columns)


def bilinear(a: Tensor, b: Tensor, c: Tensor, dt: Tensor) -> RealSystem:
    """The bilinear rule: (H, N, N), (H, N), (channels, H, N), Δ (H, 1)."""
    half = dt.double()[..., None] / 2
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    solved = torch.linalg.solve(eye - half * a, torch.cat([eye + half * a, 2 * half * b[..., None]], dim=-1))
    return RealSystem(solved[..., :-1], solved[..., -1], c)


def run(system: RealSystem, state: Tensor, u: Tensor) -> Tensor:
    """The split state (B, H, N) after the inputs u (B, H, L), block by block."""
    length = u.shape[-1]
    width = max(1, round(length**0.5))
    columns = [system.B]
    for _ in range(width - 1):
        columns.append(torch.einsum("hmn,hn->hm", system.A, columns[-1]))
    table = torch.stack(columns[::-1], dim=-1)  # (H, N, width): Ā^(width-1) B̄ ... B̄
    jump = torch.linalg.matrix_power(system.A, width)
    rest = length % width
    if rest:
        whole = torch.linalg.matrix_power(system.A, rest)
        state = torch.einsum("hmn,bhn->bhm", whole, state) + torch.einsum("hnl,bhl->bhn", table[..., -rest:], u[..., :rest].double())
    for begin in range(rest, length, width):
        piece = u[..., begin : begin + width].double()
        state = torch.einsum("hmn,bhn->bhm", jump, state) + torch.einsum("hnl,bhl->bhn", table, piece)
    return state


@dataclass
class DenseStep:
    """A whole matrix for each feature, over both conjugates.

    Args:
        a_bar: (H, N, N) complex.
        b_bar: (H, N) complex.
        c_bar: (channels, H, N) complex; y = Re Σ c_bar s.
    """

    a_bar: Tensor
    b_bar: Tensor
    c_bar: Tensor

    @classmethod
    def of(cls, system: RealSystem) -> DenseStep:
        """complex128."""
        n = system.A.shape[-1] // 2
        eye = torch.eye(n, dtype=torch.complex128, device=system.A.device)
        basis = torch.cat([torch.cat([eye, 1j * eye], dim=1), torch.cat([eye, -1j * eye], dim=1)])
        back = basis.conj().T / 2
        return cls(basis @ system.A.to(basis.dtype) @ back, system.B.to(basis.dtype) @ basis.T, system.C.to(basis.dtype) @ back)

    def zeros(self, *batch: int) -> Tensor:
        """(*batch, H, N)."""
        return self.b_bar.new_zeros(*batch, *self.b_bar.shape)

    def step(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H), (B, H, N) -> (B, channels, H), (B, H, N)."""
        state = torch.matmul(self.a_bar, state[..., None])[..., 0] + self.b_bar * u[..., None]
        return (self.c_bar * state[..., None, :, :]).sum(-1).real, state


@dataclass
class EigenStep:
    """The eigenvalues of Ā, both conjugates.

    Args:
        a_bar: (H, N) complex.
        b_bar: (H, N) complex.
        c_bar: (channels, H, N) complex; y = Re Σ c_bar s.
    """

    a_bar: Tensor
    b_bar: Tensor
    c_bar: Tensor

    @classmethod
    def of(cls, dense: DenseStep) -> EigenStep | None:
        """complex128; None where the eigenvectors are worse conditioned than ``WORST_CONDITION``, as are those of HiPPO's matrices."""
        values, vectors = torch.linalg.eig(dense.a_bar)
        if torch.linalg.cond(vectors).max() > WORST_CONDITION:
            return None
        d_b = torch.linalg.solve(vectors, dense.b_bar[..., None])[..., 0]
        return cls(values, d_b, torch.einsum("hmn,chm->chn", vectors, dense.c_bar))

    def zeros(self, *batch: int) -> Tensor:
        """(*batch, H, N)."""
        return self.b_bar.new_zeros(*batch, *self.b_bar.shape)

    def step(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H), (B, H, N) -> (B, channels, H), (B, H, N)."""
        state = self.a_bar * state + self.b_bar * u[..., None]
        return (self.c_bar * state[..., None, :, :]).sum(-1).real, state


@dataclass
class HalfStep:
    """Diagonal plus rank over half of the conjugate pairs: s' = a_bar s + b_bar u - left (2 Re right·s).

    Args:
        a_bar: (H, N/2) complex.
        b_bar: (H, N/2) complex.
        c_bar: (channels, H, N/2) complex; y = 2 Re Σ c_bar s.
        left, right: (rank, H, N/2) complex; rank 0 for a diagonal system.
    """

    a_bar: Tensor
    b_bar: Tensor
    c_bar: Tensor
    left: Tensor
    right: Tensor

    @classmethod
    def diagonal(cls, d_a: Tensor, d_b: Tensor, d_c: Tensor) -> HalfStep:
        """Without a low-rank part."""
        none = d_a.new_zeros(0, *d_a.shape)
        return cls(d_a, d_b, d_c, none, none)

    @classmethod
    def of(cls, a: Tensor, b: Tensor, p: Tensor, d_c: Tensor, dt: Tensor) -> HalfStep:
        """The bilinear rule for Λ - P P*, by Woodbury: with D = 1/(2/Δ - Λ), E = 2/Δ + Λ, R = (I + P*DP)⁻¹P*D

        Ā = DE - DP ((I - RP) P* + RE),  B̄ = 2 (DB - DP RB).

        Args:
            a, b: (H, N/2); p: (rank, H, N/2); d_c: (channels, H, N/2); all complex128.
            dt: (H, 1) float64.
        """
        d, e = 1 / (2 / dt - a), 2 / dt + a
        within = 2 * torch.einsum("rhn,hn,shn->hrs", p.conj(), d, p).real
        eye = torch.eye(len(p), dtype=dt.dtype, device=dt.device)
        inverse = torch.linalg.inv(eye + within).to(p.dtype)
        r = torch.einsum("hrs,shn->rhn", inverse, p.conj() * d)
        r_p = 2 * torch.einsum("rhn,shn->hrs", r, p).real
        r_b = 2 * torch.einsum("rhn,hn->rh", r, b).real
        right = torch.einsum("hrs,shn->rhn", (eye - r_p).to(p.dtype), p.conj()) + r * e
        d_b = 2 * (d * b - torch.einsum("rhn,rh->hn", d * p, r_b.to(p.dtype)))
        return cls(d * e, d_b, d_c, d * p, right)

    def zeros(self, *batch: int) -> Tensor:
        """(*batch, H, N/2)."""
        return self.b_bar.new_zeros(*batch, *self.b_bar.shape)

    def step(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H), (B, H, N/2) -> (B, channels, H), (B, H, N/2)."""
        moved = self.a_bar * state + self.b_bar * u[..., None]
        if len(self.left):
            along = 2 * torch.einsum("rhn,...hn->...rh", self.right, state).real
            moved = moved - torch.einsum("rhn,...rh->...hn", self.left, along.to(moved.dtype))
        return 2 * (self.c_bar * moved[..., None, :, :]).sum(-1).real, moved


Step = DenseStep | EigenStep | HalfStep
