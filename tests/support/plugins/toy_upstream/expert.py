"""A tiny upstream in S3PRL's style: frames of 16 samples, a fixed random map of them, and dropout in training mode."""

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

RATE, WIDTH = 16, 6


class UpstreamExpert(nn.Module):
    def __init__(self, ckpt=None, model_config=None, **kwargs):
        super().__init__()
        self.linear = nn.Linear(RATE, WIDTH)
        self.dropout = nn.Dropout(0.2)

    def get_downsample_rates(self, key):
        return RATE

    def forward(self, wavs):
        frames = pad_sequence([wav[: len(wav) // RATE * RATE].view(-1, RATE) for wav in wavs], batch_first=True)
        hidden = self.dropout(self.linear(frames))
        return {"hidden_states": [frames[..., :WIDTH], hidden, torch.tanh(hidden)]}
