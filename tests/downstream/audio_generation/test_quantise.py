"""Codes against recorded ones of the public code: exact, silence and constants included."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from downstream.audio_generation.quantise import Quantiser, quantise
from utility.errors import UnknownNameError

KINDS = {"linear": "linear", "mulaw": "mu-law"}


@pytest.fixture(params=[8, 16])
def case(request, golden):
    folder = golden(f"generation/quantise/bits{request.param}")
    with np.load(folder / "inputs.npz") as inputs, np.load(folder / "expected.npz") as expected:
        return request.param, dict(inputs), dict(expected)


@pytest.mark.parametrize("word", KINDS)
def test_codes_and_waveforms_are_those_recorded(case, word):
    bits, inputs, expected = case
    quantiser = Quantiser(KINDS[word], bits)
    assert len(inputs) == 9
    for name in inputs:
        codes = quantiser.encode(torch.from_numpy(inputs[name]))
        np.testing.assert_array_equal(codes, expected[f"{name}_{word}"])
        np.testing.assert_allclose(quantiser.decode(codes), expected[f"{name}_{word}_decoded"], rtol=1e-5, atol=1e-7)
    every = torch.from_numpy(expected["all_codes"])
    np.testing.assert_allclose(quantiser.decode(every), expected[f"all_{word}_decoded"], rtol=1e-5, atol=1e-7)
    assert quantiser.zero == expected["q_zero"]


def test_the_bare_quantiser(case):
    bits, _, expected = case
    np.testing.assert_array_equal(quantise(torch.from_numpy(expected["quantize_u"]), bits), expected["quantize_codes"])


@pytest.mark.parametrize("kind", ["linear", "mu-law"])
def test_the_ends_of_the_range_are_the_ends_of_the_codes(kind):
    codes = Quantiser(kind).encode(torch.tensor([[-0.3, 0.1, 0.2], [5.0, 5.0, 5.0]]))
    assert codes[0].tolist()[::2] == [0, 255]
    assert codes[1].tolist() == [0, 0, 0]  # silence is the lowest code, not the middle one
    assert Quantiser(kind).decode(torch.tensor([128])).item() == 0


def test_an_unknown_kind_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'mu-law'"):
        Quantiser("mulaw")
