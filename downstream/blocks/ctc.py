"""Connectionist temporal classification: loss and greedy decoding, the whole batch at once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

log = logging.getLogger(__name__)


def ctc_loss(logits: Tensor, lengths: Tensor, labels: Sequence[Sequence[int]], blank: int = 0, zero_infinity: bool = True) -> Tensor:
    """The negative log likelihood of each item divided by its number of labels, averaged over the batch.

    Args:
        logits: (B, T, C), before the softmax.
        lengths: (B,), true numbers of frames.
        labels: B sequences of token ids.
        blank: id of the blank.
        zero_infinity: an item with fewer frames than its labels need counts as 0 instead of infinity.

    Returns:
        scalar, in nats per label.
    """
    flat = torch.cat([torch.as_tensor(label, dtype=torch.long) for label in labels]).to(logits.device)
    sizes = torch.tensor([len(label) for label in labels])
    log_probabilities = F.log_softmax(logits.float(), dim=-1).transpose(0, 1)
    return F.ctc_loss(log_probabilities, flat, lengths.cpu().long(), sizes, blank=blank, zero_infinity=zero_infinity)


def frames_needed(label: Sequence[int]) -> int:
    """The fewest frames on which CTC can emit a label: one per token and one between two equal ones."""
    return len(label) + sum(a == b for a, b in pairwise(label))


class LongLabels:
    """Counts the utterances whose label is too long for their frames; CTC learns nothing from them."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._reported = 0

    def note(self, labels: Iterable[Sequence[int]], lengths: Tensor, names: Iterable[str]) -> None:
        """Takes a batch: ids, numbers of frames (B,), names."""
        for label, frames, name in zip(labels, lengths.tolist(), names, strict=True):
            if len(label) > frames or frames_needed(label) > frames:
                self._names[name] = None

    def report(self) -> None:
        """Warns if there are more than at the last report."""
        if len(self._names) > self._reported:
            self._reported = len(self._names)
            what = "%d utterances so far have fewer frames than their labels need, such as %s; such utterances teach nothing"
            log.warning(what, self._reported, next(iter(self._names)))


def greedy(logits: Tensor, lengths: Tensor | None = None, blank: int = 0, drop: Iterable[int] = ()) -> list[list[int]]:
    """The likeliest id of each frame, repetitions merged, blanks removed.

    Args:
        logits: (B, T, C).
        lengths: (B,), true numbers of frames; None decodes the padding too.
        blank: id of the blank.
        drop: other ids to leave out of the result.

    Returns:
        B lists of token ids.
    """
    return collapse(logits.argmax(dim=-1), lengths, blank, drop)


def collapse(ids: Tensor, lengths: Tensor | None = None, blank: int = 0, drop: Iterable[int] = ()) -> list[list[int]]:
    """Merges repetitions in (B, T) ids, then removes the blank and the ids in ``drop``; other arguments as for :func:`greedy`."""
    wanted = torch.ones_like(ids, dtype=torch.bool)
    wanted[:, 1:] = ids[:, 1:] != ids[:, :-1]
    for index in (blank, *drop):
        wanted &= ids != index
    if lengths is not None:
        wanted &= torch.arange(ids.size(1), device=ids.device) < lengths.to(ids.device)[:, None]
    counts = wanted.sum(dim=1).tolist()
    return [part.tolist() for part in ids[wanted].cpu().split(counts)]
