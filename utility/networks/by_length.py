"""Batches without padding: waveforms of equal length run together, so that no item depends on what else is in its batch.

For nets in which zero padding runs through everything (norms over the whole item, recurrences, convolutions with biases) and no mask can
help.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from utility.features.waves import pad_waves


def run_by_length(run: Callable[[Tensor], Any], wavs: Sequence[Tensor]) -> Any:
    """Runs groups of waveforms of one length, the shortest first, and joins their results.

    Args:
        run: maps (b, L) waveforms to a (b, T, ...) tensor, or to a list or a dict of such.
        wavs: 1-D tensors on one device.

    Returns:
        the same for all of them in the order of ``wavs``: tensors (B, longest T, ...), zero behind an item's own frames.
    """
    groups: dict[int, list[int]] = {}
    for index, wav in enumerate(wavs):
        groups.setdefault(len(wav), []).append(index)
    members = [groups[length] for length in sorted(groups)]
    return _joined([run(torch.stack([wavs[index] for index in group])) for group in members], members)


def _joined(parts: list[Any], members: list[list[int]]) -> Any:
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], dict):
        return {key: _joined([part[key] for part in parts], members) for key in parts[0]}
    if not isinstance(parts[0], Tensor):
        return [_joined(list(same), members) for same in zip(*parts, strict=True)]
    items: dict[int, Tensor] = {}
    for part, group in zip(parts, members, strict=True):
        items.update(zip(group, part, strict=True))
    return nn.utils.rnn.pad_sequence([items[index] for index in range(len(items))], batch_first=True)


class UnmaskedUpstream(nn.Module):
    """Base of upstreams whose net takes (B, L) waveforms and knows of no padding.

    Args:
        batch_independent: run waveforms of equal length together in place of padding; batch norms then use their running statistics also
            in training.
    """

    def __init__(self, batch_independent: bool):
        super().__init__()
        self.batch_independent = batch_independent

    def run(self, net: Callable[[Tensor], Any], wavs: Sequence[Tensor]) -> Any:
        """What the net makes of the waveforms: tensors (B, T, ...), lists or a dict of such."""
        if not self.batch_independent:
            return net(pad_waves(wavs))
        for part in self.modules():
            if isinstance(part, _BatchNorm):
                part.eval()  # in training, the statistics of the batch would mix its items
        return run_by_length(net, wavs)
