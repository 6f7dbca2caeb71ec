"""Waveforms of equal length run together, results in the order of the batch."""

from __future__ import annotations

import torch
from torch import nn

from utility.networks.by_length import UnmaskedUpstream, run_by_length

WAVS = [torch.arange(1.0, n + 1) * sign for n, sign in ((3, 1), (2, 1), (3, -1), (5, 1), (2, -1))]


def test_groups_and_order():
    batches = []

    def net(batch):
        batches.append(tuple(batch.shape))
        return {"states": [batch[..., None], 2 * batch[..., None]], "codes": batch.long()}

    result = run_by_length(net, WAVS)
    assert batches == [(2, 2), (2, 3), (1, 5)]
    assert [state.shape for state in result["states"]] == [(5, 5, 1)] * 2 and result["codes"].dtype == torch.long
    for index, wav in enumerate(WAVS):
        assert torch.equal(result["states"][1][index, : len(wav), 0], 2 * wav) and not result["states"][1][index, len(wav) :].any()
        assert torch.equal(result["codes"][index, : len(wav)], wav.long())


def test_waveforms_of_one_length_are_one_batch():
    assert torch.equal(run_by_length(lambda batch: batch, [WAVS[0], WAVS[2]]), torch.stack([WAVS[0], WAVS[2]]))


def test_gradients_flow_through_the_order():
    scale = torch.ones(1, requires_grad=True)
    run_by_length(lambda batch: scale * batch, WAVS)[3].sum().backward()
    assert float(scale.grad) == 15


class Normed(UnmaskedUpstream):
    def __init__(self, batch_independent: bool):
        super().__init__(batch_independent)
        self.norm = nn.BatchNorm1d(1)

    def forward(self, wavs):
        return self.run(lambda batch: self.norm(batch[:, None])[:, 0], wavs)


def test_a_trained_batch_norm_mixes_items_only_as_published():
    for independent in (True, False):
        upstream = Normed(independent).train()
        together, alone = upstream(WAVS), upstream(WAVS[:1])
        assert torch.allclose(together[0, :3], alone[0]) is independent
        assert bool(upstream.norm.num_batches_tracked) is not independent
