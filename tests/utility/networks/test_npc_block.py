"""A block of NPC against the formula: its dropout comes after the second batch norm and before the input is added, in training alone."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from utility.networks.npc import ConvBlock, NpcConfig


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_dropout(training, residual):
    torch.manual_seed(1)
    block = ConvBlock(4, NpcConfig(hidden_size=4, dropout=0.5, batch_norm=False), residual).train(training)
    below = torch.randn(2, 4, 50)
    inner = block.linear(F.relu(block.conv(below)))
    torch.manual_seed(2)
    dropped = F.dropout(inner, 0.5, training)
    torch.manual_seed(2)
    assert torch.equal(block(below), F.relu(dropped + below if residual else dropped))
    assert torch.equal(dropped, inner) is not training
