"""What the kernels of S4 and S4D share: the trained tensors A, B, C and Δ of H state spaces (spec: audio-generation.md 1.1, 1.4).

Names, shapes and transforms are those of the public checkpoints. Complex tensors are stored as (..., 2) real ones, conjugate pairs by half.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utility.errors import ConfigError, UnknownNameError
from utility.training.fields import Count, NotNegative

from .hippo import initial

DT_MIN, DT_MAX = 0.001, 0.1
FLOOR = 1e-4  # least argument of an inverse transform, least rate of decay under "relu"


def _relu(x: Tensor) -> Tensor:
    return F.relu(x) + FLOOR


TRANSFORMS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "none": (lambda x: x, lambda y: y),
    "exp": (torch.exp, torch.log),
    "relu": (_relu, lambda y: y),
    "sigmoid": (torch.sigmoid, torch.logit),
    "softplus": (F.softplus, lambda y: torch.log(y.exp() - 1)),  # not expm1: the first weights are those of the public code
}
OPTIONS = ("real_scale", "imag_scale", "real_random", "imag_random", "B_init", "normalize")


def transform(name: str, field: str) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """A positive function and its inverse.

    Raises:
        UnknownNameError: it is none of ``TRANSFORMS``.
    """
    if name not in TRANSFORMS:
        raise UnknownNameError(field, name, TRANSFORMS)
    forward, inverse = TRANSFORMS[name]
    return forward, lambda y: inverse(y.clamp(min=FLOOR))


def inv_dt(uniform: Tensor, dt_min: float, dt_max: float, name: str) -> Tensor:
    """The stored form of Δ, log-uniform between two bounds, from numbers of [0, 1)."""
    log_dt = uniform * (math.log(dt_max) - math.log(dt_min)) + math.log(dt_min)
    return log_dt if name == "exp" else transform(name, "dt_transform")[1](log_dt.exp())


def check_bounds(dt_min: float = DT_MIN, dt_max: float = DT_MAX, *, source: str = "config") -> None:
    """Refuses bounds of Δ that are none.

    Raises:
        ConfigError: they are not above 0, or the wrong way round.
    """
    if not 0 < dt_min <= dt_max < math.inf:
        raise ConfigError(f"dt_min is {dt_min} and dt_max {dt_max}: they must be above 0, the first at most the second", source)


class SsmKernel(nn.Module):
    """The tensors of a kernel.

    Args:
        d_model: H.
        d_state: N, both halves of the conjugate pairs.
        channels: outputs per feature.
        init: see ``hippo.initial``.
        rank: rows of P.
        n_ssm: copies S of (A, B) that the features share, feature h taking copy h mod S; None: one per feature.
        dt_min, dt_max: bounds of the first Δ.
        dt_tie: one Δ per feature, not one per state.
        dt_transform, real_transform, imag_transform: of ``TRANSFORMS``.
        lr, wd: own learning rate and decay of Δ, A (with P) and B, one number or a mapping of ``dt``, ``A``, ``B``; a rate of None leaves
            the general one, 0 freezes the tensor.
        l_max: length of the longest kernel; None: whatever is asked for.
        options: of ``OPTIONS``, for the init.

    Raises:
        ConfigError, UnknownNameError: values that fit nothing.
    """

    low_rank = False

    def __init__(
        self,
        d_model: int,
        d_state: Count = 64,
        channels: Count = 1,
        init: str = "legs",
        rank: Count = 1,
        n_ssm: Count | None = None,
        dt_min: float = DT_MIN,
        dt_max: float = DT_MAX,
        dt_tie: bool = True,
        dt_transform: str = "exp",
        real_transform: str = "exp",
        imag_transform: str = "none",
        lr: NotNegative | Mapping[str, float | None] | None = None,
        wd: NotNegative | Mapping[str, float | None] | None = 0.0,
        l_max: Count | None = None,
        options: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        copies = d_model if n_ssm is None else n_ssm
        if copies < 1 or d_model % copies:
            raise ConfigError(f"n_ssm is {copies}: it must divide the {d_model} features of a layer")
        check_bounds(dt_min, dt_max)
        self.d_model, self.d_state, self.channels, self.rank, self.l_max = d_model, d_state, channels, rank, l_max
        self.to_dt = transform(dt_transform, "dt_transform")[0]
        self.to_real, from_real = transform(real_transform, "real_transform")
        self.to_imag, from_imag = transform(imag_transform, "imag_transform")
        system = initial(init, d_state, copies, rank, dict(options or {}), dtype=torch.float32)  # as the public code
        uniform = torch.rand(d_model, 1 if dt_tie else d_state // 2)
        self._own("inv_dt", inv_dt(uniform, dt_min, dt_max, dt_transform), "dt", lr, wd)
        c = torch.randn(channels, d_model, d_state // 2, dtype=torch.complex64)
        self.C = nn.Parameter(torch.view_as_real(c).clone())
        self._own("B", torch.view_as_real(system.B[None].to(torch.complex64)), "B", lr, wd)
        self._own("A_real", from_real(-system.A.real).float(), "A", lr, wd)
        self._own("A_imag", from_imag(-system.A.imag).float(), "A", lr, wd)
        if self.low_rank:
            self._own("P", torch.view_as_real(system.P.to(torch.complex64)), "A", lr, wd)

    def _own(self, name: str, value: Tensor, group: str, lr: Any, wd: Any) -> None:
        """Registers a tensor with its own learning rate and decay."""
        rate, decay = (setting.get(group) if isinstance(setting, Mapping) else setting for setting in (lr, wd))
        if min(rate or 0.0, decay or 0.0) < 0:
            raise ConfigError(f"the learning rate of {group} is {rate}, its decay {decay}: neither may be below 0")
        if rate == 0.0:
            self.register_buffer(name, value.clone())
            return
        parameter = nn.Parameter(value.clone())
        own = {"lr": rate, "weight_decay": decay}
        if rate is not None:
            parameter._optim = {key: value for key, value in own.items() if value is not None}
        self.register_parameter(name, parameter)

    def _per_feature(self, x: Tensor) -> Tensor:
        """(..., S, N/2) -> (..., H, N/2)."""
        copies = x.shape[-2]
        return x if copies == self.d_model else x.repeat(*[1] * (x.dim() - 2), self.d_model // copies, 1)

    def dt(self, rate: float = 1.0) -> Tensor:
        """Δ (H, 1), or (H, N/2) where it is not tied."""
        return self.to_dt(self.inv_dt) * rate

    def a(self) -> Tensor:
        """The diagonal (H, N/2), complex."""
        return self._per_feature(torch.complex(-self.to_real(self.A_real), -self.to_imag(self.A_imag)))

    def b(self) -> Tensor:
        """(1, H, N/2) complex."""
        return self._per_feature(torch.view_as_complex(self.B))

    def c(self) -> Tensor:
        """(channels, H, N/2) complex, as stored."""
        return torch.view_as_complex(self.C)
