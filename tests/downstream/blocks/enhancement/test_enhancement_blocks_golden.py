"""Splits, batches and losses against what the STM32 model zoo drew and computed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from downstream.blocks.enhancement.batching import lengths_of, mask_of, padded, trimmed
from downstream.blocks.enhancement.losses import si_snr_loss, snr_loss
from downstream.blocks.enhancement.splits import cut_clips, draw
from utility.errors import DataError

REDUCED = {"mean": torch.mean, "sum": torch.sum, "None": lambda values: values}


def drawn(listing: list[str], case: dict) -> list[str]:
    """What our functions make of a recorded case, in the zoo's order of operations."""
    files = listing
    if case["set"] != "test":
        training, validation = cut_clips(files, case["val_split"], case["seed"])
        files = training if case["set"] == "train" else validation
    return files if case["set"] == "valid" else draw(files, case["n_clips"], case["seed"])


def test_recorded_splits(golden):
    recorded = json.loads((golden("enhancement/dataset_split") / "expected.json").read_text())
    cases = [case for case in recorded["cases"] if "error" not in case]
    assert len(cases) == 26
    for case in cases:
        assert drawn(recorded["listing"], case) == case["files"], case
    too_many = [case for case in recorded["cases"] if case.get("error") == "ValueError"]
    for case in too_many:
        with pytest.raises(DataError, match="there are only 18 recordings"):
            drawn(recorded["listing"], case)


def test_recorded_batches(golden):
    arrays = {name: torch.from_numpy(value) for name, value in np.load(golden("enhancement/collate") / "io.npz").items()}
    noisy, clean = ([arrays[f"in{item}.{side}"] for item in range(3)] for side in ("noisy", "clean"))
    found = {
        "trim.noisy": trimmed(noisy),
        "trim.clean": trimmed(clean),
        "pad.noisy": padded(noisy),
        "pad.clean": padded(clean),
        "pad.lengths": lengths_of(noisy),
        "pad.mask": mask_of(lengths_of(noisy)).unsqueeze(1).expand(-1, 3, -1),
    }
    for name, value in found.items():
        assert torch.equal(value, arrays[name]), name


@pytest.mark.parametrize("reduction", REDUCED)
@pytest.mark.parametrize(("name", "loss"), [("snr", snr_loss), ("sisnr", si_snr_loss)])
def test_recorded_losses(golden, name, loss, reduction):
    arrays = np.load(golden("enhancement/loss_functions") / "io.npz")
    estimate, target = torch.from_numpy(arrays["input"]).requires_grad_(), torch.from_numpy(arrays["target"])
    value = REDUCED[reduction](loss(estimate, target, 0.0))
    np.testing.assert_allclose(value.detach(), arrays[f"{name}_{reduction}"], rtol=1e-4, atol=1e-4)
    value.sum().backward()
    np.testing.assert_allclose(estimate.grad, arrays[f"{name}_{reduction}_grad"], rtol=1e-4, atol=1e-4)


def test_recorded_degenerate_losses(golden):
    special = json.loads((golden("enhancement/loss_functions") / "special.json").read_text())
    wave, silence = torch.sin(torch.arange(400.0)).unsqueeze(0), torch.zeros(1, 400)
    assert -snr_loss(0.5 * wave, wave, 0.0).item() == pytest.approx(special["half_amplitude_snr"], rel=1e-4)
    assert -snr_loss(wave, wave, 0.0).item() == float(special["identical_snr"])
    assert -snr_loss(wave, silence, 0.0).item() == float(special["zero_target_snr"])
    assert np.isnan(float(special["zero_target_si_snr"]))
    assert torch.isnan(si_snr_loss(wave, silence, 0.0)).all()
    for loss in (snr_loss, si_snr_loss):  # what is trained with is finite
        assert torch.isfinite(loss(wave, wave)).all()
        assert torch.isfinite(loss(wave, silence)).all()
