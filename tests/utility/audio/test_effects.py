"""SoX effects against libsox's recorded output and against a sample-by-sample model of its silence detector."""

from __future__ import annotations

import json
from collections import deque

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from utility.audio.effects import apply_effects
from utility.errors import ConfigError, UnknownNameError

SILENCE = ["silence", "1", "0.1", "0.1%", "-1", "0.1", "0.1%"]


@pytest.mark.parametrize("case", ["ks_word", "speech", "speech2", "resample_and_mixdown"])
def test_libsox_recorded(golden, case: str):
    folder = golden(f"tasks/ks/sox_effects_{case}")
    params = json.loads((folder / "params.json").read_text())
    wav = np.load(folder / "inputs.npz")["wav"] / np.float32(2**15)
    expected = np.load(folder / "outputs.npz")
    for name, effects in params["effects"].items():
        out, rate = apply_effects(wav, params["sample_rate"], effects)
        assert (rate, out.dtype) == (16000, np.float32)
        assert out.shape == expected[name][0].shape
        np.testing.assert_allclose(out, expected[name][0], rtol=0, atol=1e-4 if case == "resample_and_mixdown" else 0)


def model_of_silence(samples: list[int], window: int, duration: int, threshold: int, restart: bool) -> list[int]:
    """The silence effect, one sample at a time (equal parameters for start and stop)."""
    out, held, copying = [], [], False
    squares = deque([0] * window, maxlen=window)
    total = 0
    for sample in samples:
        total += sample**2 - squares[0]
        squares.append(sample**2)
        above = total >= window * threshold**2
        if copying == above:  # what was held is sound after all, or not long enough a sound
            out += held if copying else []
            held = []
            out += [sample] if copying else []
            continue
        held.append(sample)
        if len(held) < duration:
            continue
        if copying:
            if not restart:
                return out
            squares, total = deque([0] * window, maxlen=window), 0
        else:
            out += held
        held, copying = [], not copying
    return out + (held if copying else [])


# Levels around the threshold of 0.1 % in bursts around the window (4) and the duration (6) at 200 Hz.
burst = st.tuples(st.sampled_from([0.0, 0.0005, 0.00099, 0.00101, 0.002, 0.5, -1.0]), st.integers(1, 30))


@settings(max_examples=300, deadline=None)
@given(bursts=st.lists(burst, max_size=25), restart=st.booleans())
@example(bursts=[(0.0, 40), (0.5, 9), (0.0, 12), (0.5, 5), (0.0, 30), (0.5, 30), (0.0, 5)], restart=True)
def test_silence_equals_the_sample_by_sample_model(bursts: list[tuple[float, int]], restart: bool):
    wav = np.concatenate([np.zeros(0, np.float32), *(np.full(n, level, np.float32) for level, n in bursts)])
    out, rate = apply_effects(wav, 200, [["silence", "1", "0.03", "0.1%", "-1" if restart else "1", "0.03", "0.1%"]])
    samples = [int(np.clip(round(float(x) * 2**31), -(2**31), 2**31 - 1)) for x in wav]
    expected = model_of_silence(samples, window=4, duration=6, threshold=int(np.ceil(0.001 * (2**31 - 1))), restart=restart)
    assert rate == 200
    np.testing.assert_allclose(out, np.array(expected, np.float64) / 2**31, rtol=0, atol=1e-7)


@pytest.mark.parametrize("threshold", ["0.1%", "3%", "50%", "-60d", "-6d"])
def test_silence_thresholds_compare_the_rms(threshold: str):
    ratio = float(threshold[:-1]) / 100 if threshold.endswith("%") else 10 ** (float(threshold[:-1]) / 20)
    silence = [["silence", "1", "0.1", threshold]]
    assert len(apply_effects(np.full(16000, ratio * 1.001, np.float32), 16000, silence)[0]) > 15000
    assert len(apply_effects(np.full(16000, ratio * 0.999, np.float32), 16000, silence)[0]) == 0


def test_silence_across_look_ahead_steps():
    tone = 0.3 * np.sin(np.arange(48000) * 0.2)
    wav = np.concatenate([np.zeros(100_000), tone, np.zeros(70_000), tone, np.zeros(900), tone, np.zeros(1000)]).astype(np.float32)
    out, _ = apply_effects(wav, 16000, [SILENCE])
    first, last = out[:40000], out[-1000:]
    np.testing.assert_allclose(first, wav[100_001:140_001], atol=1e-6)  # sin(0) = 0 is still silent
    np.testing.assert_array_equal(last, 0)  # shorter than 0.1 s: kept
    assert 3 * 48000 + 900 + 1000 <= len(out) <= 3 * 48000 + 900 + 1000 + 320


def test_gain_norm_and_mixdown():
    wav = np.array([[0.5, 0.25], [-1.0, -0.5]], np.float32)
    out, rate = apply_effects(wav, 8000, [["channels", 1], ["gain", -6.0]])
    np.testing.assert_allclose(out, np.array([0.375, -0.75]) * 10 ** (-6 / 20), atol=1e-7)
    assert rate == 8000
    np.testing.assert_array_equal(apply_effects(wav, 8000, [["gain", "20"]])[0], [[1, 1], [-1, -1]])
    np.testing.assert_allclose(apply_effects(wav[:, 0] / 4, 8000, [["norm"]])[0], [0.5, -1], atol=1e-7)
    np.testing.assert_allclose(apply_effects(wav / 4, 8000, [["norm", "-6"]])[0], wav * 10 ** (-6 / 20), atol=1e-7)
    np.testing.assert_array_equal(apply_effects(np.zeros(5, np.float32), 8000, [["norm"], SILENCE])[0], np.zeros(0))
    np.testing.assert_array_equal(wav, [[0.5, 0.25], [-1.0, -0.5]])


def test_rate_resamples_each_channel():
    wav = np.stack([np.sin(np.arange(4000) * 0.1), np.zeros(4000)], axis=1).astype(np.float32) / 2
    out, rate = apply_effects(wav, 8000, [["rate", "16000"]])
    assert (out.shape, rate) == ((8000, 2), 16000)
    np.testing.assert_allclose(out[1000:-1000, 0], np.sin(np.arange(8000) * 0.05)[1000:-1000] / 2, atol=1e-3)
    np.testing.assert_allclose(apply_effects(wav, 8000, [["rate", "8000"]])[0], wav, rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ["reverb", "silense", 3])
def test_an_unknown_effect_lists_the_supported(name: str):
    with pytest.raises(UnknownNameError, match="channels, gain, norm, rate, silence"):
        apply_effects(np.zeros(10), 16000, [[name]])


@pytest.mark.parametrize(
    "effect",
    [
        "channels 2",
        "channels",
        "rate",
        "rate -h 16000",
        "rate 0",
        "gain",
        "gain -n 3",
        "gain loud",
        "norm loud",
        "norm 1 2",
        "silence",
        "silence 2 0.1 0.1%",
        "silence 1 1 0.1%",
        "silence 1 0.1 0.1",
        "silence 1 0.1 200%",
        "silence 1 0.0 1%",
        "silence 1 0.1 0.1% -2 0.1 0.1%",
        "silence -l 1 0.1 0.1%",
    ],
)
def test_unsupported_arguments_are_refused(effect: str):
    with pytest.raises(ConfigError, match=f"sound effects: cannot apply '{effect}'; supported is '{effect.split()[0]} "):
        apply_effects(np.zeros(10), 16000, [effect.split()])


def test_silence_wants_one_channel():
    with pytest.raises(ConfigError, match="channels 1"):
        apply_effects(np.zeros((10, 2)), 16000, [SILENCE])
