"""From scores of frames to a span of time (spec: downstream-content.md 7.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from utility.training.fields import Limits, NotNegative


@dataclass(frozen=True)
class Decoder:
    """Picks the span with the largest weighted log probability among the best starts and ends.

    Args:
        candidates: how many starts and how many ends are tried together; where no pair of them is possible, and for 0, all are.
        start_weight, end_weight: of the log probabilities of start and end.
        longest_seconds: no answer is longer.
    """

    candidates: Annotated[int, Limits(least=0)] = 3
    start_weight: float = 0.4
    end_weight: float = 0.6
    longest_seconds: NotNegative = 5.5

    def __call__(self, starts: Tensor, ends: Tensor, seconds_per_step: float) -> tuple[float, float, float]:
        """The answer within one passage.

        Args:
            starts, ends: (T,) logits of the steps at which an answer begins and the last ones of it.
            seconds_per_step: duration of a step.

        Returns:
            start and end in seconds (the end of its last step), and the score, 0 to 1.
        """
        starts, ends = starts.detach(), ends.detach()
        longest = max(1, round(self.longest_seconds / seconds_per_step))
        starts, ends = (weight * scores.log_softmax(0) for weight, scores in ((self.start_weight, starts), (self.end_weight, ends)))
        start, end = self._best_of_few(starts, ends, longest) or _best_of_all(starts, ends, longest)
        return start * seconds_per_step, (end + 1) * seconds_per_step, float((starts[start] + ends[end]).exp())

    def _best_of_few(self, starts: Tensor, ends: Tensor, longest: int) -> tuple[int, int] | None:
        few = min(self.candidates, len(starts))
        if not few:
            return None
        firsts, lasts = (scores.topk(few).indices.tolist() for scores in (starts, ends))
        pairs = [(first, last) for first in firsts for last in lasts if first <= last < first + longest]
        return max(pairs, key=lambda pair: float(starts[pair[0]] + ends[pair[1]]), default=None)


def _best_of_all(starts: Tensor, ends: Tensor, longest: int) -> tuple[int, int]:
    """The best pair with start <= end < start + longest."""
    longest = min(longest, len(starts))
    after = torch.cat([ends, ends.new_full((longest - 1,), float("-inf"))]).unfold(0, longest, 1)
    best = int((starts.unsqueeze(1) + after).argmax())
    return best // longest, best // longest + best % longest
