"""Metrics of speech enhancement against the values recorded from the STM32 zoo's packages."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from utility.audio.io import load_audio
from utility.metrics.enhancement import score_pair

KEYS = {"pesq_wb": "pesq", "si_snr": "si-snr"}


def pair_of(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Reference, estimate and rate of a recorded pair."""
    if name.startswith(("noisy", "clipped")):
        reference = "clean_8k" if name.endswith("8k") else f"clean{name[-1]}"
        rate = 8000 if name.endswith("8k") else 16000
        return load_audio(folder / f"{reference}.wav", rate), load_audio(folder / f"{name}.wav", rate), rate
    clean = load_audio(folder / "clean0.wav")
    made = {
        "identical": (clean, clean),
        "scaled_half": (clean, 0.5 * clean),
        "delayed_5ms": (clean, np.concatenate([np.zeros(80, np.float32), clean])[: len(clean)]),
        "silent_degraded": (clean, np.zeros_like(clean)),
        "silent_reference": (np.zeros_like(clean), clean),
        "too_short": (clean[:3000], load_audio(folder / "noisy0.wav")[:3000]),
        "polarity": (clean, -clean),
    }
    return *made[name], 16000


NAMES = [
    *(f"{kind}{number}" for number in range(3) for kind in ("noisy", "clipped")),
    *("identical", "scaled_half", "delayed_5ms", "silent_degraded", "silent_reference", "too_short", "polarity", "noisy_8k"),
]


@pytest.mark.parametrize("name", NAMES)
def test_recorded_values(golden, name: str):
    pytest.importorskip("pesq")
    folder = golden("enhancement/metrics")
    recorded = json.loads((folder / "expected.json").read_text())["pairs"]
    assert sorted(row["name"] for row in recorded) == sorted(NAMES)
    expected = next(row for row in recorded if row["name"] == name)
    reference, estimate, rate = pair_of(folder / "wavs", name)
    metrics = {KEYS.get(key, key): value for key, value in expected.items() if key not in ("name", "fs")}
    found = score_pair(reference, estimate, rate, list(metrics))
    for metric, value in metrics.items():
        value = math.nan if str(value).startswith("error") else float(value)
        if metric == "si-snr" and value > 100:  # what rounding leaves of a perfect estimate depends on the processor
            assert found[metric] > 120
        elif metric == "estoi" and "silent" in name:  # recorded was random noise
            assert found[metric] == 0
            assert abs(value) < 0.01
        else:
            assert found[metric] == pytest.approx(value, rel=1e-4, abs=1e-4, nan_ok=True), metric
