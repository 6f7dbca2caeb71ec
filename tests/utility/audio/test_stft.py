"""The transform of speech enhancement against what the STM32 model zoo computed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from utility.audio.stft import Stft, StftOptions
from utility.errors import ConfigError

FIELDS = ("sample_rate", "n_fft", "hop_length", "win_length", "window", "center", "power", "peak_normalize")


@pytest.fixture(scope="module")
def recorded(golden):
    folder = golden("enhancement/stft")
    cases = json.loads((folder / "params.json").read_text())["cases"]
    return {case["key"]: case for case in cases}, dict(np.load(folder / "io.npz"))


def options_of(params: dict) -> StftOptions:
    return StftOptions(**{name: params[name] for name in FIELDS if name in params})


def test_recorded_spectra(recorded):
    params, arrays = recorded
    keys = [name.removesuffix(".complex") for name in arrays if name.endswith(".complex")]
    assert len(keys) == 10
    for key in keys:
        stft, wave = Stft(options_of(params[key])), torch.from_numpy(arrays[f"wave.{key.partition('_')[0]}"])
        np.testing.assert_allclose(stft.spectrum(wave), arrays[f"{key}.complex"], rtol=1e-4, atol=5e-6)
        assert stft.options.frames(len(wave)) == arrays[f"{key}.complex"].shape[1]
        if f"{key}.magnitude" in arrays:
            np.testing.assert_allclose(stft.magnitude(wave), arrays[f"{key}.magnitude"], rtol=1e-4, atol=5e-6)


def test_recorded_inverses(recorded):
    params, arrays = recorded
    keys = [name.removesuffix(".istft_torch") for name in arrays if name.endswith(".istft_torch")]
    assert len(keys) == 3
    for key in keys:
        stft = Stft(options_of(params[key]))
        wave = stft.waves(torch.from_numpy(arrays[f"{key}.complex"]))
        for library in ("torch", "librosa"):
            np.testing.assert_allclose(wave, arrays[f"{key}.istft_{library}"], rtol=1e-4, atol=2e-6)


def test_recorded_window(recorded):
    _, arrays = recorded
    np.testing.assert_allclose(Stft(StftOptions()).window, arrays["window.hann400"], atol=1e-6)


def test_there_and_back_with_a_window_that_is_not_hann():
    """The public code synthesises with Hann whatever the analysis was."""
    stft, wave = Stft(StftOptions(window="hamming")), torch.randn(2, 3200, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(stft.waves(stft.spectrum(wave)), wave, rtol=0, atol=1e-5)


def test_impossible_options_are_named_at_once():
    with pytest.raises(ConfigError, match=r"hop_length must be .* not 0; power must be"):
        StftOptions(hop_length=0, power=0)
    with pytest.raises(ConfigError, match="win_length 600 exceeds n_fft 512; window 'hahn'"):
        StftOptions(win_length=600, window="hahn")


@pytest.mark.parametrize(
    ("options", "has"),
    [
        (StftOptions(), True),
        (StftOptions(hop_length=300), True),
        (StftOptions(hop_length=400), False),  # the window begins with 0
        (StftOptions(hop_length=400, window="boxcar"), True),
        (StftOptions(hop_length=401, window="boxcar"), False),
        (StftOptions(center=False), False),
    ],
)
def test_transforms_without_an_inverse(options, has):
    assert options.has_inverse == has
    wave = torch.randn(4000, generator=torch.Generator().manual_seed(0))
    if has:
        found = Stft(options).waves(Stft(options).spectrum(wave))
        torch.testing.assert_close(found, wave[: len(found)], rtol=0, atol=1e-3)
    else:
        with pytest.raises(RuntimeError, match="istft"):
            Stft(options).waves(Stft(options).spectrum(wave))
