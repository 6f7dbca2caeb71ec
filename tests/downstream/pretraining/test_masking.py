"""How much of the frames is hidden, where, and by what."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from downstream.blocks.pretraining.masking import NOISE_DEVIATION, Masking
from utility.errors import ConfigError

LENGTHS = torch.tensor([200, 130, 60])


@pytest.fixture
def frames() -> Tensor:
    """No number is zero but those of the padding."""
    torch.manual_seed(0)
    frames = torch.rand(3, 200, 80) + 1
    for item, length in zip(frames, LENGTHS.tolist(), strict=True):
        item[length:] = 0
    return frames


def applied(frames: Tensor, times: int = 100, **fields) -> list[tuple[Tensor, Tensor]]:
    return [Masking(**fields).apply(frames, LENGTHS) for _ in range(times)]


def test_the_given_part_of_the_time_is_hidden(frames):
    before = frames.clone()
    shares = []
    for hidden, label in applied(frames, mask_allow_overlap=False):
        rows = label.any(-1)
        assert torch.equal(rows, label.all(-1)), "a frame is hidden whole"
        assert not any(row[length:].any() for row, length in zip(rows, LENGTHS.tolist(), strict=True))
        assert torch.equal(hidden[~label], frames[~label])
        shares.append(rows.sum(1) / LENGTHS)
    assert torch.equal(frames, before)
    assert torch.stack(shares).mean(0) == pytest.approx([4 * 7 / 200, 3 * 7 / 130, 1 * 7 / 60], abs=1e-6)


def test_one_dice_an_utterance_decides_between_zeros_other_spans_and_nothing(frames):
    kinds = torch.zeros(3)
    for hidden, label in applied(frames, times=400):
        for index in range(3):
            rows = label[index].any(-1)
            if (hidden[index][rows] == 0).all():
                kinds[0] += 1
            elif torch.equal(hidden[index], frames[index]):
                kinds[2] += 1
            else:
                own = {tuple(row.tolist()) for row in frames[index, : LENGTHS[index]]}
                assert all(tuple(row.tolist()) in own for row in hidden[index][rows])
                kinds[1] += 1
    assert (kinds / kinds.sum()).tolist() == pytest.approx([0.8, 0.1, 0.1], abs=0.04)


def test_spans_are_as_long_as_they_should_be_and_apart_on_the_grid(frames):
    lengths = set()
    for _, label in applied(frames, mask_consecutive_min=3, mask_consecutive_max=5, mask_allow_overlap=False):
        row = label[0].any(-1).int()
        edges = torch.diff(row, prepend=torch.zeros(1, dtype=torch.int), append=torch.zeros(1, dtype=torch.int))
        lengths |= set(((edges == -1).nonzero() - (edges == 1).nonzero()).flatten().tolist())
    assert lengths == {3, 4, 5}


def test_a_block_of_channels_is_hidden_in_all_frames(frames):
    widths = set()
    for hidden, label in applied(frames, times=300, mask_proportion=0.0, mask_frequency=0.2):
        for index, length in enumerate(LENGTHS.tolist()):
            channels = label[index, 0]
            assert torch.equal(label[index, :length], channels.expand(length, -1))
            assert not label[index, length:].any()
            assert (hidden[index][:, channels] == 0).all()
            assert torch.equal(hidden[index][:, ~channels], frames[index][:, ~channels])
            widths.add(int(channels.sum()))
    assert widths == set(range(17))


def test_noise_comes_over_some_batches_and_everything_is_rebuilt_without_other_masks(frames):
    noisy = []
    for hidden, label in applied(frames, mask_proportion=0.0, noise_proportion=0.3):
        assert label.sum((1, 2)).tolist() == (LENGTHS * 80).tolist()
        assert (hidden[1, 130:] == 0).all()
        noisy.append(not torch.equal(hidden, frames))
        if noisy[-1]:
            assert (hidden - frames)[0].std().item() == pytest.approx(NOISE_DEVIATION, rel=0.05)
    assert 0.15 < sum(noisy) / len(noisy) < 0.45


@pytest.mark.parametrize("length", [0, 1, 3, 7, 8])
def test_utterances_shorter_than_a_span(length):
    frames = torch.ones(1, 10, 4)
    for overlap in (True, False):
        hidden, label = Masking(mask_proportion=0.9, mask_allow_overlap=overlap).apply(frames, torch.tensor([length]))
        assert not label[0, length:].any()
        assert hidden.shape == frames.shape


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"mask_proportion": 1.0}, "mask_proportion must be 0 or more and below 1, not 1.0"),
        ({"mask_consecutive_min": 8}, "mask_consecutive_max at least that, not 8 and 7"),
        ({"mask_bucket_ratio": 0.5}, "mask_bucket_ratio must be at least 1, not 0.5"),
        ({"sequence_length": "long"}, "sequence_length must be of type int, not 'long'"),
    ],
)
def test_impossible_settings(fields, sentence):
    with pytest.raises(ConfigError, match=sentence):
        Masking.of(fields, "task")
