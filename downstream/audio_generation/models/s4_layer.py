"""The S4 layer: a long convolution whose kernel is a state space, a nonlinearity, and a mixing of the features.

Spec: audio-generation.md 1.7, 1.8. Names in the state dict are those of the public code: ``layer.D``, ``layer.kernel.*``,
``output_linear.0.*``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utility.errors import ConfigError, UnknownNameError
from utility.training.fields import Count, Part, check_fields, check_name, check_options, keywords_of

from .precision import in_full
from .recomputed import recomputed
from .recurrence import Step
from .s4_kernel import S4Kernel
from .s4d_kernel import MinimalS4dKernel, S4dKernel
from .ssm_kernel import OPTIONS, SsmKernel, check_bounds

MODES = {"dplr": S4Kernel, "nplr": S4Kernel, "s4": S4Kernel, "diag": S4dKernel, "s4d": S4dKernel}
ACTIVATIONS: dict[str | None, Callable[[Tensor], Tensor]] = {
    None: lambda x: x,
    "id": lambda x: x,
    "identity": lambda x: x,
    "linear": lambda x: x,
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


def activation(name: str | None, field: str = "activation") -> Callable[[Tensor], Tensor]:
    """The function of this name.

    Raises:
        UnknownNameError: it is none of ``ACTIVATIONS``.
    """
    if name not in ACTIVATIONS:
        raise UnknownNameError(field, str(name), [str(known) for known in ACTIVATIONS])
    return ACTIVATIONS[name]


def kernel_fields(mode: str) -> set[str]:
    """The names of the fields that a kernel of this mode takes.

    Raises:
        UnknownNameError: no such mode.
    """
    check_name("mode of an S4 layer", mode, MODES)
    return {*keywords_of(MODES[mode], besides=("d_model",)), *keywords_of(SsmKernel, besides=("d_model", "options")), *OPTIONS}


def check_layer(fields: Mapping[str, Any], besides: Iterable[str] = (), *, source: str) -> None:
    """Refuses fields of ``S4Block`` that do not exist, and values that no layer and no kernel can have.

    Args:
        fields: of the section.
        besides: names of fields for something else.
        source: what errors call the section.

    Raises:
        ConfigError: there is at least one fault.
        UnknownNameError: no such mode.
    """
    own = keywords_of(S4Block, besides=("d_model", "transposed"))
    check_fields(fields, {*besides, *own, *kernel_fields(fields.get("mode", "dplr"))}, source=source)
    for kind in (S4Block, SsmKernel, MODES[fields.get("mode", "dplr")]):
        check_options(kind, fields, source=source)
    check_bounds(**{name: fields[name] for name in ("dt_min", "dt_max") if name in fields}, source=source)


def kernel_of(mode: str, d_model: int, fields: Mapping[str, Any]) -> SsmKernel:
    """The kernel of a layer.

    Args:
        mode: of ``MODES``.
        d_model: H.
        fields: the kernel's arguments and ``ssm_kernel.OPTIONS``.

    Raises:
        ConfigError: unknown fields, all of them.
        UnknownNameError: no such mode.
    """
    check_fields(fields, kernel_fields(mode), source=f"S4 layer of mode {mode}")
    kind = MODES[mode]
    options = {name: value for name, value in fields.items() if name in OPTIONS}
    return kind(d_model, options=options, **{name: value for name, value in fields.items() if name not in OPTIONS})


def convolved(u: Tensor, kernel: Tensor, size: int) -> Tensor:
    """Cyclic convolution: (B, H, L), (channels, H, K) -> (B, channels, H, size)."""
    spectrum = torch.fft.rfft(u, n=size)[:, None] * torch.fft.rfft(kernel, n=size)
    return torch.fft.irfft(spectrum, n=size)


class LongConvolution(nn.Module):
    """y = k * u + D u, feature by feature, by Fourier transforms; or step by step.

    Args:
        d_model: H.
        channels: outputs per feature.
        bidirectional: a second kernel runs from the end; it begins one step after the present.
        mode: of ``MODES``.
        fields: see ``kernel_of``.
    """

    def __init__(self, d_model: int, channels: int, bidirectional: bool, mode: str, fields: Mapping[str, Any]):
        super().__init__()
        self.channels, self.bidirectional, self.l_max = channels, bidirectional, fields.get("l_max")
        self.D = nn.Parameter(torch.randn(channels, d_model))
        self.kernel = kernel_of(mode, d_model, {**fields, "channels": channels * (2 if bidirectional else 1)})
        self.stepping: Step | None = None

    def forward(self, u: Tensor, rate: float = 1.0, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """(B, H, L), state (B, H, N/2) or None -> ((B, channels, H, L), next state or None), never in half precision.

        Raises:
            ConfigError: a state for a bidirectional layer.
        """
        with in_full(u) as wide:
            return self._convolved(wide, rate, state)

    def _convolved(self, u: Tensor, rate: float, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if state is not None and self.bidirectional:
            raise ConfigError("bidirectional is true: such a layer cannot go on from a state")
        length = u.shape[-1]
        span = length if self.l_max is None else min(length, round(self.l_max / rate))
        kernel, of_state = self.kernel(span, rate=rate, state=state)
        if self.bidirectional:
            ahead, back = kernel.chunk(2, dim=0)
            kernel = F.pad(ahead, (0, length)) + F.pad(back.flip(-1), (length, 0))
        # the spectra, most of what a layer would keep, are computed again in the backward pass
        y = recomputed(convolved, u, kernel, span + length)[..., :length]
        y = torch.addcmul(y, u[:, None], self.D[..., None])
        if state is None:
            return y, None
        return y + of_state, self.kernel.advance(state, u)

    def setup_step(self, mode: str | None = None) -> None:
        """Prepares ``step`` from the weights of now; again after any change of them.

        Args:
            mode: of the kernel's ``modes``; None: its first. A diagonal kernel has one way, whatever the mode.

        Raises:
            ConfigError: the layer is bidirectional.
        """
        if self.bidirectional:
            raise ConfigError("bidirectional is true: such a layer cannot go step by step")
        step = self.kernel.recurrence(mode or self.kernel.modes[0])
        real = self.D.dtype
        for name, value in vars(step).items():
            setattr(step, name, value.detach().to(torch.complex128 if real == torch.float64 else torch.complex64))
        self.stepping = step

    def default_state(self, *batch: int) -> Tensor:
        """Zeros of the state of ``step``, (*batch, H, N or N/2) complex."""
        return self._prepared().zeros(*batch)

    def step(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H), state -> (B, channels, H), state."""
        y, state = self._prepared().step(u, state)
        return y + self.D * u[..., None, :], state

    def _prepared(self) -> Step:
        if self.stepping is None:
            self.setup_step()
        return self.stepping


class S4Block(nn.Module):
    """Convolution, nonlinearity, linear mixing of the features.

    Args:
        d_model: H.
        channels: outputs per feature of the convolution.
        bidirectional: see ``LongConvolution``.
        activation: after the convolution.
        mult_act: a second nonlinearity, after the first.
        final_act: "glu", or the activation after the linear layer; None: no linear layer.
        dropout: probability, applied before and after the activation.
        transposed: inputs are (B, H, L), not (B, L, H).
        mode: "dplr" (S4; also "nplr", "s4") or "diag" (S4D; also "s4d").
        fields: see ``kernel_of``.

    Attributes:
        standard: activations are those of the public models.
    """

    def __init__(
        self,
        d_model: int,
        channels: Count = 1,
        bidirectional: bool = False,
        activation: str | None = "gelu",
        mult_act: str | None = None,
        final_act: str | None = "glu",
        dropout: Part = 0.0,
        transposed: bool = True,
        mode: str = "dplr",
        **fields: Any,
    ):
        super().__init__()
        self.transposed = transposed
        self.standard = activation == "gelu" and mult_act in (None, "id") and final_act in ("glu", "id", None)
        self.layer = LongConvolution(d_model, channels, bidirectional, mode, fields)
        self.activation = _function(activation)
        self.mult_act = _function(mult_act, "mult_act")
        self.dropout = nn.Dropout(dropout)
        if final_act is None:
            self.output_linear = nn.Sequential()
            return
        last = nn.GLU(dim=-1) if final_act == "glu" else _Activation(_function(final_act, "final_act"))
        self.output_linear = nn.Sequential(nn.Linear(d_model * channels, d_model * (2 if final_act == "glu" else 1)), last)

    def forward(self, x: Tensor, lengths: Tensor | None = None, state: Tensor | None = None, rate: float = 1.0) -> tuple[Tensor, Any]:
        """(B, L, H), or (B, H, L) where transposed -> (the same shape, next state or None).

        Args:
            x: the input.
            lengths: (B,), what lies behind is read as zero.
            state: (B, H, N/2) complex, what the sequences begin with.
            rate: relative step size.
        """
        u = x if self.transposed else x.mT
        if lengths is not None:
            u = u * (torch.arange(u.shape[-1], device=u.device) < lengths.to(u.device)[:, None])[:, None]
        y, state = self.layer(u, rate, state)
        y = self._mixed(y.flatten(1, 2).mT)
        return (y.mT if self.transposed else y), state

    def _mixed(self, y: Tensor) -> Tensor:
        """(..., channels·H) -> (..., H)."""
        y = self.dropout(y)
        return self.output_linear(self.dropout(self.mult_act(self.activation(y))))

    def setup_step(self, mode: str | None = None) -> None:
        """See ``LongConvolution.setup_step``."""
        self.layer.setup_step(mode)

    def default_state(self, *batch: int, device: Any = None) -> Tensor:
        """Zeros of the state of ``step``."""
        state = self.layer.default_state(*batch)
        return state if device is None else state.to(device)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H), state -> (B, H), state."""
        y, state = self.layer.step(x, state)
        return self._mixed(y.flatten(-2)), state


class MinimalS4d(nn.Module):
    """S4D in its smallest form: causal convolution, GELU, GLU.

    Args:
        d_model: H.
        d_state: N.
        dropout: probability.
        transposed: inputs are (B, H, L), not (B, L, H).
        fields: of ``MinimalS4dKernel``.
    """

    def __init__(self, d_model: int, d_state: int = 64, dropout: float = 0.0, transposed: bool = True, **fields: Any):
        super().__init__()
        self.transposed = transposed
        self.D = nn.Parameter(torch.randn(d_model))
        self.kernel = MinimalS4dKernel(d_model, n=d_state, **fields)
        self.dropout = nn.Dropout(dropout)
        self.output_linear = nn.Sequential(nn.Conv1d(d_model, 2 * d_model, 1), nn.GLU(dim=-2))

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """(B, L, H), or (B, H, L) where transposed -> (the same shape, None)."""
        u = x if self.transposed else x.mT
        length = u.shape[-1]
        with in_full(u) as wide:
            spectrum = torch.fft.rfft(wide, n=2 * length) * torch.fft.rfft(self.kernel(length), n=2 * length)
            y = torch.fft.irfft(spectrum, n=2 * length)[..., :length] + wide * self.D[:, None]
        y = self.output_linear(self.dropout(F.gelu(y)))
        return (y if self.transposed else y.mT), None


class _Activation(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


_function = activation  # the name that an argument of S4Block hides
