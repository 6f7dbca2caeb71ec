"""Losses of batches: padding does not count, and each falls when the estimate comes nearer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from downstream.blocks.enhancement.batching import padded
from downstream.blocks.enhancement.losses import LOSSES, Enhanced, build_loss
from utility.audio.stft import Stft, StftOptions
from utility.errors import ConfigError, UnknownNameError

STFT = Stft(StftOptions(n_fft=128, hop_length=32, win_length=128))
HOP = STFT.options.hop_length


def batch(waves: list[Tensor], clean: list[Tensor], *, masked: bool = True) -> Enhanced:
    """Waveforms as a batch in which the estimate also makes a noise where there is padding."""
    samples = torch.tensor([len(wav) for wav in clean])
    spectra = [padded([STFT.spectrum(wav) for wav in side]) for side in (waves, clean)]
    return Enhanced(*spectra, padded(waves), padded(clean), *((1 + samples // HOP, samples) if masked else ()))


@pytest.fixture
def signals() -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    clean = [0.1 * torch.randn(HOP * frames, generator=generator) for frames in (40, 25)]
    return [wav + 0.05 * torch.randn(len(wav), generator=generator) for wav in clean], clean


@pytest.mark.parametrize("name", LOSSES)
def test_padding_does_not_count(signals, name):
    """What is beyond a recording's end changes nothing; a loss of items is the mean of theirs, weighted with what is averaged."""
    noisy, clean = signals
    given, loss = batch(noisy, clean), LOSSES[name]
    spectrum, wave = given.spectrum.clone(), given.wave.clone()
    spectrum[1, :, int(given.frames[1]) :] += 3
    wave[1, int(given.samples[1]) :] += 3
    disturbed = Enhanced(spectrum, given.clean_spectrum, wave, given.clean_wave, given.frames, given.samples)
    torch.testing.assert_close(loss(disturbed), loss(given))
    alone = [loss(batch([one], [other])) for one, other in zip(noisy, clean, strict=True)]
    weights = {"spec": given.frames, "wave": given.samples}[name[:4]] if name.endswith(("mse", "compressed")) else torch.ones(2)
    if name != "wave_mrstft":  # whose frames at the end see the padding
        expected = (torch.stack(alone) * weights).sum() / weights.sum()
        torch.testing.assert_close(loss(given), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_equal_lengths_need_no_mask(signals, name):
    noisy, clean = ([wav[:800] for wav in side] for side in signals)
    torch.testing.assert_close(LOSSES[name](batch(noisy, clean)), LOSSES[name](batch(noisy, clean, masked=False)))


@pytest.mark.parametrize("name", LOSSES)
def test_a_nearer_estimate_costs_less(signals, name):
    noisy, clean = signals
    nearer = [(wav + 3 * target) / 4 for wav, target in zip(noisy, clean, strict=True)]
    assert LOSSES[name](batch(nearer, clean)) < LOSSES[name](batch(noisy, clean))


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_finite_at_silence_and_at_perfection(signals, name):
    _, clean = signals
    for estimate, target in [(clean[1], clean[1]), (torch.zeros_like(clean[1]), clean[1]), (clean[1], torch.zeros_like(clean[1]))]:
        wave = estimate.clone().requires_grad_()
        LOSSES[name](batch([wave], [target])).backward()
        assert torch.isfinite(wave.grad).all()


def test_compressed_spectra_by_their_formula(signals):
    """Braun and Tashev 2021: 30 % of the error is of spectra whose magnitudes are compressed."""
    given = batch(*([side[0]] for side in signals))
    compressed = [spectrum.abs() ** 0.3 * torch.exp(1j * spectrum.angle()) for spectrum in (given.spectrum, given.clean_spectrum)]
    magnitudes = (compressed[0].abs() - compressed[1].abs()).square()
    expected = (0.7 * magnitudes + 0.3 * (compressed[0] - compressed[1]).abs().square()).mean()
    torch.testing.assert_close(LOSSES["spec_compressed"](given), expected, rtol=1e-3, atol=0)


def test_padding_does_not_dilute_log_magnitudes(signals):
    (noisy, _), (clean, _) = signals
    alone = batch([noisy], [clean])
    silence = torch.zeros(1, 4 * len(noisy))
    beside = [torch.cat([wave, silence], 1) for wave in (alone.wave, alone.clean_wave)]
    longer = Enhanced(alone.spectrum, alone.clean_spectrum, *beside, alone.frames, alone.samples)
    torch.testing.assert_close(LOSSES["wave_mrstft"](longer), LOSSES["wave_mrstft"](alone), rtol=0.1, atol=0)


def test_scale(signals):
    """SI-SNR does not hear the level, SNR does."""
    noisy, clean = signals
    half = [wav / 2 for wav in noisy]
    torch.testing.assert_close(LOSSES["wave_sisnr"](batch(half, clean)), LOSSES["wave_sisnr"](batch(noisy, clean)))
    assert abs(LOSSES["wave_snr"](batch(half, clean)) - LOSSES["wave_snr"](batch(noisy, clean))) > 0.5


def test_sums_of_losses(signals):
    given = batch(*signals)
    both = build_loss({"spec_mse": 2, "wave_sisnr": 0.5})(given)
    torch.testing.assert_close(both, 2 * LOSSES["spec_mse"](given) + 0.5 * LOSSES["wave_sisnr"](given))
    assert build_loss("wave_mse") is LOSSES["wave_mse"]
    with pytest.raises(UnknownNameError, match="did you mean 'spec_mse'"):
        build_loss("spec_mes")
    for wrong in ({"spec_mse": 0}, {"spec_mse": True}, {}, None):
        with pytest.raises(ConfigError, match="must be a"):
            build_loss(wrong)
