"""The kernel and the recurrence of a diagonal state space, S4D (spec: audio-generation.md 1.6).

K[l] = 2 Re Σ_n c_n exp(μ_n l). With l = j·m + k and m about √L the sum over n is one matrix product of (√L, N) by (N, √L) for each feature;
numbers of the order H·N·L are never held.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from utility.errors import UnknownNameError

from .recurrence import HalfStep
from .ssm_kernel import SsmKernel

DISCRETISATIONS = ("zoh", "bilinear", "dss")


def vandermonde(c: Tensor, mu: Tensor, length: int) -> Tensor:
    """2 Re Σ_n c_n exp(μ_n l) for l = 0 .. length - 1.

    Args:
        c: (J, H, N/2) complex.
        mu: (H, N/2) complex.
        length: of the result.

    Returns:
        (J, H, length) real.
    """
    width = max(1, math.isqrt(length))
    rows = -(-length // width)
    steps = torch.arange(max(rows, width), device=mu.device, dtype=mu.real.dtype)
    fine = (mu[..., None] * steps[:width]).exp()  # (H, N/2, width)
    coarse = (mu[..., None, :] * (width * steps[:rows, None])).exp()  # (H, rows, N/2)
    left = 2 * c[:, :, None] * coarse
    table = torch.matmul(torch.cat([left.real, -left.imag], dim=-1), torch.cat([fine.real, fine.imag], dim=-2))
    return table.flatten(-2)[..., :length]


class S4dKernel(SsmKernel):
    """Kernels of H diagonal state spaces.

    Args:
        d_model: H.
        disc: how time is made discrete, of ``DISCRETISATIONS``.
        bandlimit: frequencies above this part of the sampling rate are left out of the kernel; None: none are.
        others: see ``SsmKernel``.
    """

    modes = ("diagonal",)

    def __init__(self, d_model: int, disc: str = "zoh", bandlimit: float | None = None, init: str = "diag-lin", **others):
        if disc not in DISCRETISATIONS:
            raise UnknownNameError("disc", disc, DISCRETISATIONS)
        super().__init__(d_model, init=init, **others)
        self.disc, self.bandlimit = disc, bandlimit

    def forward(self, length: int, rate: float = 1.0, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The convolution kernel.

        Args:
            length: L.
            rate: relative step size.
            state: (B, H, N/2) complex, what the sequence begins with.

        Returns:
            ((channels, H, L), (B, channels, H, L) the state's own output or None).
        """
        dt, a, b = self.dt(rate), self.a(), self.b()
        c = self._limited(self.c(), dt, a)
        if self.disc == "dss":
            return self._dss(dt, a, b * c, length), None
        weight, mu = self._discrete(dt, a)
        starts = b if state is None else torch.cat([self._undone(state, dt, a), b])
        products = (starts[:, None] * c * weight).flatten(0, 1)
        kernels = vandermonde(products, mu, length).unflatten(0, (-1, self.channels))
        return kernels[-1], None if state is None else kernels[:-1]

    def _discrete(self, dt: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        """The factor w of B and the exponent μ, both (H, N/2)."""
        dt_a = dt * a
        if self.disc == "bilinear":
            return dt / (1 - dt_a / 2), torch.log((1 + dt_a / 2) / (1 - dt_a / 2))
        return torch.expm1(dt_a) / a, dt_a

    def _limited(self, c: Tensor, dt: Tensor, a: Tensor) -> Tensor:
        if self.bandlimit is None:
            return c
        frequency = dt * a.imag.abs() / (2 * math.pi)
        return c * (frequency < self.bandlimit / 2)

    def _undone(self, state: Tensor, dt: Tensor, a: Tensor) -> Tensor:
        """The B whose discrete form is the state one step on."""
        dt_a = dt * a
        if self.disc == "bilinear":
            return state / dt * (1 + dt_a / 2)
        return state * a * dt_a.exp() / torch.expm1(dt_a)

    def _dss(self, dt: Tensor, a: Tensor, bc: Tensor, length: int) -> Tensor:
        """Normalised to the length (Gupta et al., 2022)."""
        dt_a = dt * a
        norm = torch.expm1(dt_a * length) * a
        weight = torch.expm1(dt_a) * norm.conj() / (norm.abs().square() + 1e-7)
        return vandermonde(bc * weight / 2, dt_a, length)

    @torch.no_grad()
    def recurrence(self, mode: str = "diagonal") -> HalfStep:
        """The step of which the kernel is the impulse response, from the weights of now; there is one way, whatever the mode.

        Raises:
            UnknownNameError: ``dss`` has none.
        """
        if self.disc == "dss":
            raise UnknownNameError("disc of a recurrence", self.disc, DISCRETISATIONS[:2])
        dt, a = self.dt().double(), self.a().to(torch.complex128)
        weight, mu = self._discrete(dt, a)
        return HalfStep.diagonal(mu.exp(), self.b()[0] * weight, self._limited(self.c(), dt, a).to(a.dtype))

    @torch.no_grad()
    def advance(self, state: Tensor, u: Tensor) -> Tensor:
        """(B, H, N/2) state after the inputs (B, H, L)."""
        step = self.recurrence()
        return advance(step.a_bar, step.b_bar, state.to(step.a_bar.dtype), u).to(state.dtype)


def advance(d_a: Tensor, d_b: Tensor, state: Tensor, u: Tensor) -> Tensor:
    """Ā^L s + Σ_l Ā^(L-1-l) B̄ u_l of a diagonal Ā (H, N): (B, H, N) complex, whatever the length within memory of H·√L·N."""
    length = u.shape[-1]
    width = max(1, math.isqrt(length))
    mu = d_a.log()
    for begin in range(0, length, width):
        piece = u[..., begin : begin + width].to(state.dtype)
        powers = (mu[..., None] * torch.arange(piece.shape[-1], device=u.device).flip(0)).exp()
        state = state * (mu * piece.shape[-1]).exp() + d_b * torch.einsum("hnl,bhl->bhn", powers, piece)
    return state


class MinimalS4dKernel(nn.Module):
    """S4D with all that can be left out left out: B = 1, zero-order hold, positive imaginary parts.

    Args:
        d_model: H.
        n: N.
        dt_min, dt_max: bounds of the first Δ.
        lr: own learning rate of Δ and A; None: the general one.
    """

    def __init__(self, d_model: int, n: int = 64, dt_min: float = 0.001, dt_max: float = 0.1, lr: float | None = None):
        super().__init__()
        uniform = torch.rand(d_model)
        c = torch.randn(d_model, n // 2, dtype=torch.complex64)
        self.C = nn.Parameter(torch.view_as_real(c).clone())
        self.log_dt = nn.Parameter(uniform * (math.log(dt_max) - math.log(dt_min)) + math.log(dt_min))
        self.log_A_real = nn.Parameter(torch.full((d_model, n // 2), 0.5).log())
        self.A_imag = nn.Parameter((math.pi * torch.arange(n // 2)).expand(d_model, -1).clone())
        if lr is not None:
            for parameter in (self.log_dt, self.log_A_real, self.A_imag):
                parameter._optim = {"lr": lr, "weight_decay": 0.0}

    def forward(self, length: int) -> Tensor:
        """(H, L)."""
        a = torch.complex(-self.log_A_real.exp(), self.A_imag)
        dt_a = self.log_dt.exp()[:, None] * a
        c = torch.view_as_complex(self.C) * torch.expm1(dt_a) / a
        return vandermonde(c[None], dt_a, length)[0]
