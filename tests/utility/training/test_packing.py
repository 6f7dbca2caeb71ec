"""The samples of a batch on their way from the loader workers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from utility.errors import DataError
from utility.training.packing import Failure, Packing, as_waveform, naming


@pytest.mark.parametrize("wav", [np.zeros(3), torch.zeros(3, dtype=torch.float64), [0.0, 0.0, 0.0], np.zeros(3, np.float32)])
def test_waveforms_become_float32(wav):
    assert as_waveform(wav).dtype == torch.float32
    assert len(as_waveform(wav)) == 3


def test_whole_numbers_have_no_known_scale():
    with pytest.raises(DataError, match=r"is int16; floating point in \[-1, 1\] is expected"):
        as_waveform(np.array([0, 16384], np.int16))


@pytest.mark.parametrize("wav", ["a.wav", {"array": [0.0]}, None])
def test_what_is_no_waveform_is_named(wav):
    with pytest.raises(DataError, match=rf"a waveform of the task is a {type(wav).__name__}; batches are \(wavs, \*others\)"):
        as_waveform(wav)


class ShortError(DataError):
    index, fault = 1, "100 samples are too short"


def test_a_faulty_waveform_is_named_where_the_batch_has_names():
    with pytest.raises(DataError, match=r"^second: 100 samples are too short$"), naming(([3, 4], ["first", "second"])):
        raise ShortError("item 1 of the batch: 100 samples are too short")
    with pytest.raises(ShortError), naming(([3, 4],)):
        raise ShortError("item 1 of the batch: 100 samples are too short")


def test_in_a_worker_the_fault_travels_as_its_sentence():
    packed = Packing(lambda items: (items, [1]))([np.array([1, 2], np.int16)])
    assert isinstance(packed, Failure)
    assert "int16" in packed.sentence
