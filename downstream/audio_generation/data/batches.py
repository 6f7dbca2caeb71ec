"""Codes as what a network reads and what it must say (specs/audio-generation.md, 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

IGNORED = -100  # the target of a position that is not scored
LONGEST_POWER = 16000


@dataclass(frozen=True)
class Framing:
    """How sequences of codes become a batch.

    Args:
        zero: the code of silence.
        pad_len: zero tokens before the first code that the network needs (WaveNet, SampleRNN).
        context_len: so many codes at the beginning of a sequence are read and not scored.
        multiple: pad to a multiple of this, where the network takes nothing else.
        powers: pad to the next power of two, at most 16000, as the published models were trained on SC09.
    """

    zero: int
    pad_len: int = 0
    context_len: int = 0
    multiple: int = 1
    powers: bool = False

    def batch(self, sequences: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Sequences (L_i,) -> input (B, pad_len + L), padded with zero tokens, and target (B, L), padded with :data:`IGNORED`."""
        return self.window(sequences, 0, self.length(max(map(len, sequences))))

    def window(self, sequences: Sequence[Tensor], start: int, stop: int) -> tuple[Tensor, Tensor]:
        """What ``batch`` gives for the codes from ``start`` to ``stop``: input (B, pad_len + stop - start), target (B, stop - start)."""
        inputs, targets = zip(*(self.part(codes, start, stop) for codes in sequences), strict=True)
        return torch.stack(inputs), torch.stack(targets)

    def part(self, codes: Tensor, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Of one sequence (L,): input (pad_len + stop - start,), the codes one place later, and target (stop - start,)."""
        earlier = start - self.pad_len - 1
        return (
            _cut(codes, earlier, stop - 1, 0, len(codes) - 1, self.zero),
            _cut(codes, start, stop, self.context_len, len(codes), IGNORED),
        )

    def length(self, length: int) -> int:
        """L of a batch whose longest sequence has this length."""
        if self.powers and not self.pad_len:
            length = max(length, min(1 << (length - 1).bit_length(), LONGEST_POWER))
        return -(-length // self.multiple) * self.multiple


def _cut(codes: Tensor, start: int, stop: int, first: int, last: int, other: int) -> Tensor:
    """(stop - start,): the codes of these places where they are from ``first`` on and before ``last``, ``other`` elsewhere."""
    found = codes.new_full((stop - start,), other)
    low, high = max(start, first), min(stop, last)
    if low < high:
        found[low - start : high - start] = codes[low:high]
    return found
