"""What the checks of upstreams share: the upstream under test, its states, and what a check may find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

SECONDS = (0.4, 0.5, 1.0, 1.237)
CLOSE = 1e-4  # largest difference relative to the largest value
KEY = "hidden_states"


class Fault(Exception):  # noqa: N818 - a finding about an upstream, not an error of the one who asks
    """What a check found wrong."""


class Nothing(Exception):  # noqa: N818
    """Why there is nothing to check."""


@dataclass
class Subject:
    """The upstream under test.

    Args:
        upstream: the module, on its device.
        device: where it is.
        rate: Hz of the waveforms that it takes.

    Attributes:
        first: the states of :data:`SECONDS` when they were asked for first.
    """

    upstream: nn.Module
    device: str
    rate: int = 16000
    first: list[Tensor] = field(default_factory=list)

    def waves(self, *seconds: float, seed: int = 0) -> list[Tensor]:
        """Fixed noise of these lengths."""
        generator = torch.Generator().manual_seed(seed)
        return [0.1 * torch.randn(round(s * self.rate), generator=generator).to(self.device) for s in seconds]

    def call(self, wavs: list[Tensor], train: bool = False, gradients: bool = False) -> dict[str, Any]:
        """Its dict for a batch."""
        self.upstream.train(train)
        with torch.set_grad_enabled(gradients):
            return self.upstream(wavs)

    def states(self, *seconds: float) -> list[Tensor]:
        """The hidden states for noise of these lengths, in eval mode."""
        return states_of(self.call(self.waves(*seconds)))

    def states_alone(self, wav: Tensor) -> list[Tensor]:
        """The hidden states of one waveform, in eval mode."""
        return states_of(self.call([wav]))

    @property
    def samples_per_frame(self) -> int:
        return self.upstream.get_downsample_rates(KEY)


def states_of(result: Any) -> list[Tensor]:
    """The hidden states of a result.

    Raises:
        Fault: there are none, or they are no tensors.
    """
    if not isinstance(result, Mapping):
        raise Fault(f"the call returned a {type(result).__name__}, not a dict")
    states = result.get(KEY)
    if not isinstance(states, (list, tuple)) or not states:
        raise Fault(f"{KEY!r} is {type(states).__name__}, not a list or tuple of tensors; there are the keys {', '.join(map(str, result))}")
    wrong = [type(state).__name__ for state in states if not isinstance(state, torch.Tensor)]
    if wrong:
        raise Fault(f"{KEY!r} holds a {wrong[0]}, not tensors alone")
    return list(states)


def largest_difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Over all states, relative to the largest value of each; infinite where shapes or numbers of states differ."""
    if [a.shape for a in ours] != [b.shape for b in theirs]:
        return float("inf")
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-9)) for a, b in zip(ours, theirs, strict=True))
