"""Codes as what a network reads and what it must say (specs/audio-generation.md, 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

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

    def item(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """(L,) -> input (pad_len + L,), the codes one place later behind zero tokens, and target (L - context_len,)."""
        before = torch.full((self.pad_len + 1,), self.zero, dtype=torch.int64)
        return torch.cat([before, codes[:-1]]), codes[self.context_len :]

    def batch(self, sequences: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Sequences (L_i,) -> input (B, pad_len + L), padded with zero tokens, and target (B, L), padded with :data:`IGNORED`."""
        items = [self.item(codes) for codes in sequences]
        x = pad_sequence([x for x, _ in items], batch_first=True, padding_value=self.zero)
        y = pad_sequence([y for _, y in items], batch_first=True, padding_value=IGNORED)
        y = pad(y, (self.context_len, 0), value=IGNORED)[:, : x.size(1) - self.pad_len]
        length = self._padded(x.size(1) - self.pad_len)
        return pad(x, (0, length + self.pad_len - x.size(1)), value=self.zero), pad(y, (0, length - y.size(1)), value=IGNORED)

    def _padded(self, length: int) -> int:
        if self.powers and not self.pad_len:
            length = max(length, min(1 << (length - 1).bit_length(), LONGEST_POWER))
        return -(-length // self.multiple) * self.multiple
