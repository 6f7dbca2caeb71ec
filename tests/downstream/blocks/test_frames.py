"""Frames brought to another rate or length, against S3PRL's recorded outputs and at any rate."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from downstream.blocks.frames import downsample, frames_at, match_length
from utility.errors import UnknownNameError


def test_recorded_downsampling(golden):
    folder = golden("tasks/batching/downsample")
    given, expected = np.load(folder / "inputs.npz"), np.load(folder / "outputs.npz")
    items, outputs = (json.loads((folder / f"{name}.json").read_text()) for name in ("params", "outputs"))
    for number, ((rate, style), output) in enumerate(zip(items["items"], outputs, strict=True)):
        features, lengths = downsample(torch.from_numpy(given["x"]), torch.from_numpy(given["len"]), rate, style)
        np.testing.assert_array_equal(features, expected[f"y{number}"])
        assert (list(features.shape), lengths.tolist()) == (output["shape"], output["lengths"])
    assert len(outputs) == 5


def test_recorded_lengths(golden):
    folder = golden("tasks/batching/match_length")
    features, expected = torch.from_numpy(np.load(folder / "inputs.npz")["x"]), np.load(folder / "outputs.npz")
    frames = json.loads((folder / "params.json").read_text())["label_lens"]
    assert len(frames) == 9
    for wanted in frames:
        np.testing.assert_array_equal(match_length(features, wanted), expected[f"phone_{wanted}"])


@pytest.mark.parametrize("style", ["concat", "drop"])
def test_an_utterance_keeps_a_frame(style: str):
    features, lengths = downsample(torch.ones(2, 2, 3), torch.tensor([2, 1]), 4, style)
    assert features.shape == (2, 1, 12 if style == "concat" else 3)
    assert lengths.tolist() == [1, 1]
    assert downsample(torch.ones(1, 9, 3), torch.tensor([0]), 2, style)[1].tolist() == [0]


def test_no_downsampling_is_none():
    features, lengths = torch.randn(2, 5, 3), torch.tensor([5, 2])
    same, still = downsample(features, lengths, 1, "concat")
    assert same is features
    assert still is lengths


def test_unknown_style():
    with pytest.raises(UnknownNameError, match="did you mean 'concat'"):
        downsample(torch.ones(1, 4, 1), torch.tensor([4]), 2, "concatenate")


@pytest.mark.parametrize(("upstream", "factor"), [(160, 1), (320, 2), (640, 4)])
@pytest.mark.parametrize("excess", [-1, 0, 1])
def test_whole_rates_are_repeated_frames(upstream: int, factor: int, excess: int):
    features = torch.arange(12.0)[:, None]
    labels = 12 * factor + excess
    assert torch.equal(frames_at(features, labels, upstream, 160), match_length(features[None], labels)[0])


@pytest.mark.parametrize("upstream", [80, 100, 160, 240, 270, 320, 512])
def test_each_label_gets_the_frame_of_its_time(upstream: int):
    frames = 16000 // upstream + 1
    found = frames_at(torch.arange(float(frames))[:, None], 100, upstream, 160)[:, 0]
    middles = (torch.arange(100) + 0.5) * 160
    assert (found * upstream <= middles).all()
    assert ((found + 1) * upstream > middles).all()


def test_no_frame_at_all_is_silence():
    """mel finds none in what is silent but for its first samples."""
    assert torch.equal(frames_at(torch.ones(0, 3), 4, 160, 160), torch.zeros(4, 3))
