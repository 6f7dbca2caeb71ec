"""The kernel of a diagonal-plus-low-rank state space, S4, made discrete by the bilinear rule (spec: audio-generation.md 1.5).

The stored C is C̃ = C - (Ā^L)ᵀ C once a kernel of length L (the buffer ``l_kernel``) has been made; a longer one doubles L. A is Λ - P P*
with Re Λ < 0, so that Ā is a contraction and its powers cannot grow.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from utility.errors import ConfigError, UnknownNameError

from .cauchy import cauchy, half_angles
from .recomputed import recomputed
from .recurrence import DenseStep, EigenStep, HalfStep, RealSystem, Step, bilinear, from_readout, readout, run, split, state_matrix
from .ssm_kernel import SsmKernel

MODES = ("dense", "diagonal", "linear")


class S4Kernel(SsmKernel):
    """Kernels of H diagonal-plus-low-rank state spaces.

    Args:
        d_model: H.
        others: see ``SsmKernel``; Δ must be tied.

    Attributes:
        modes: names of the ways to step, the default first.
        tuned: the number in ``l_kernel``, for which a GPU would have to be waited for.
    """

    low_rank = True
    modes = MODES

    def __init__(self, d_model: int, **others):
        super().__init__(d_model, **others)
        if self.inv_dt.shape[-1] != 1:
            raise ConfigError("dt_tie is false: only a diagonal kernel (mode: diag) has one step size for each state")
        self.register_buffer("l_kernel", torch.tensor(0))
        self.tuned = 0

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self.tuned = int(self.l_kernel)

    def p(self) -> Tensor:
        """(rank, H, N/2) complex."""
        return self._per_feature(torch.view_as_complex(self.P))

    def forward(self, length: int, rate: float = 1.0, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The convolution kernel; C changes in place where it has not been tuned to this length.

        Args:
            length: L.
            rate: relative step size.
            state: (B, H, N/2) complex, what the sequence begins with.

        Returns:
            ((channels, H, L), (B, channels, H, L) the state's own output or None).
        """
        self.tune(length * rate)
        span = round(self.tuned / rate)
        dt, a, b, c, p = self.dt(rate), self.a(), self.b(), self.c(), self.p()
        starts = b if state is None else torch.cat([self._undone(state, dt, a, p), b])
        left, right = torch.cat([starts, p]), torch.cat([c, p.conj()])
        products = (dt * left[:, None] * right).flatten(0, 1)
        cosine, sine = half_angles(span, dt)
        sums = cauchy(products, dt * a, cosine, sine).unflatten(0, (len(left), len(right)))
        # of all that follows only the sums are kept for the backward pass
        kernels = recomputed(self._in_time, sums, cosine, sine, span)[..., :length]
        return kernels[-1], None if state is None else kernels[:-1]

    def _in_time(self, sums: Tensor, cosine: Tensor, sine: Tensor, span: int) -> Tensor:
        """(starts + rank, channels + rank, H, F) sums -> (starts, channels, H, span) kernels."""
        return torch.fft.irfft(self._corrected(sums, cosine) * torch.complex(cosine, sine), n=span)

    def _corrected(self, sums: Tensor, cosine: Tensor) -> Tensor:
        """The low-rank part taken into account: (starts, channels, H, F) of (starts + rank, channels + rank, H, F)."""
        r = self.rank
        plain, to_p, from_p, within = sums[:-r, :-r], sums[:-r, -r:], sums[-r:, :-r], sums[-r:, -r:]
        if r == 1:
            return plain - to_p * from_p * (cosine / (1 + cosine * within))
        matrix = torch.eye(r, device=sums.device) + (cosine * within).permute(2, 3, 0, 1)  # (H, F, rank, rank)
        solved = torch.linalg.solve(matrix, from_p.permute(2, 3, 0, 1))  # (H, F, rank, channels)
        return plain - cosine * torch.einsum("srhf,hfrc->schf", to_p, solved)

    @torch.no_grad()
    def tune(self, length: float) -> None:
        """Makes C fit kernels of this length, or of ``l_max`` at first."""
        if self.tuned == 0:
            first = self.l_max if self.l_max is not None else round(length)
            self._retune(first, -1.0)
            self._note(first)
        while length > self.tuned:
            self._retune(self.tuned, 1.0)
            self._note(2 * self.tuned)

    def _note(self, length: int) -> None:
        self.tuned = length
        self.l_kernel.fill_(length)

    def _retune(self, length: int, sign: float) -> None:
        """C := C ± (Ā^length)ᵀ C."""
        system = self._system()
        change = from_readout(torch.einsum("hmn,chm->chn", torch.linalg.matrix_power(system.A, length), system.C))
        self.C.add_(sign * torch.view_as_real(change).to(self.C.dtype))

    def _undone(self, state: Tensor, dt: Tensor, a: Tensor, p: Tensor) -> Tensor:
        """The B whose discrete form is the state one step on: s/Δ + A s / 2."""
        along = 2 * torch.einsum("rhn,bhn->rbh", p.conj(), state).real
        moved = a * state - torch.einsum("rhn,rbh->bhn", p, along.to(p.dtype))
        return state / dt + moved / 2

    def _system(self) -> RealSystem:
        """The discrete system with C as it is stored."""
        return bilinear(state_matrix(self.a(), self.p()), split(self.b()[0]), readout(self.c()), self.dt())

    def _endless(self) -> RealSystem:
        """The discrete system with the C of a sequence without end."""
        system, length = self._system(), self.tuned
        if length == 0:
            return system
        rest = torch.eye(self.d_state, device=system.A.device, dtype=system.A.dtype) - torch.linalg.matrix_power(system.A, length)
        return system._replace(C=torch.linalg.solve(rest.mT, system.C.permute(1, 2, 0)).permute(2, 0, 1))

    @torch.no_grad()
    def recurrence(self, mode: str = "dense") -> Step:
        """The step of which the kernel is the impulse response, complex128, from the weights of now.

        Args:
            mode: of ``MODES``; "dense" needs N², the others N multiplications for each feature. "diagonal" is "linear" where eigenvectors
                would be inaccurate.

        Raises:
            UnknownNameError: another mode.
        """
        if mode not in MODES:
            raise UnknownNameError("mode of a recurrence", mode, MODES)
        system = self._endless()
        if mode == "dense":
            return DenseStep.of(system)
        step = EigenStep.of(DenseStep.of(system)) if mode == "diagonal" else None
        return self._half(system) if step is None else step

    def _half(self, system: RealSystem) -> HalfStep:
        wide = torch.complex128
        a, b, p = self.a().to(wide), self.b()[0].to(wide), self.p().to(wide)
        return HalfStep.of(a, b, p, from_readout(system.C), self.dt().double())

    @torch.no_grad()
    def advance(self, state: Tensor, u: Tensor) -> Tensor:
        """(B, H, N/2) state after the inputs (B, H, L)."""
        real, imag = run(self._system(), split(state), u).chunk(2, dim=-1)
        return torch.complex(real, imag).to(state.dtype)
