"""The samples of a batch on their way from the loader workers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from utility.errors import DataError
from utility.training.packing import Failure, Packing, as_waveform


@pytest.mark.parametrize("wav", [np.zeros(3), torch.zeros(3, dtype=torch.float64), [0.0, 0.0, 0.0], np.zeros(3, np.float32)])
def test_waveforms_become_float32(wav):
    assert as_waveform(wav).dtype == torch.float32
    assert len(as_waveform(wav)) == 3


def test_whole_numbers_have_no_known_scale():
    with pytest.raises(DataError, match=r"is int16; floating point in \[-1, 1\] is expected"):
        as_waveform(np.array([0, 16384], np.int16))


def test_in_a_worker_the_fault_travels_as_its_sentence():
    packed = Packing(lambda items: (items, [1]))([np.array([1, 2], np.int16)])
    assert isinstance(packed, Failure)
    assert "int16" in packed.sentence
