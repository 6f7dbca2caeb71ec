"""A tiny upstream with weights that independent batches leave alone; it notes each waveform in the file that ``STORE_CALLS`` names."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

RATE, WIDTH = 16, 6


class UpstreamExpert(nn.Module):
    """``ckpt`` is a number that decides the weights, ``model_config`` the scale of the waveforms."""

    batch_independent = True

    def __init__(self, ckpt=None, model_config=None, **kwargs):
        super().__init__()
        self.scale = float(model_config or 1)
        self.linear = nn.Linear(RATE, WIDTH)
        generator = torch.Generator().manual_seed(int(ckpt or 0))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)

    def get_downsample_rates(self, key):
        return RATE

    def forward(self, wavs):
        if "STORE_CALLS" in os.environ:
            with Path(os.environ["STORE_CALLS"]).open("a") as file:
                file.write("".join(f"{len(wav)}\n" for wav in wavs if len(wav) < 16000))  # not the Featurizer's probe
        frames = [wav[: len(wav) // RATE * RATE].view(-1, RATE) * self.scale for wav in wavs]
        hidden = [self.linear(each) for each in frames]
        states = [[each[:, :WIDTH] for each in frames], hidden, [each.tanh() for each in hidden]]
        padded = [pad_sequence(state, batch_first=True) for state in states]
        return {"hidden_states": padded, "last_hidden_state": padded[-1], "lengths": torch.tensor([len(each) for each in frames])}
