"""Losses, updates, bookkeeping and a whole training against what the STM32 model zoo recorded."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from downstream.blocks.enhancement.losses import build_loss
from downstream.speech_enhancement.estimation import Estimator
from downstream.speech_enhancement.models.registry import load_weights
from downstream.speech_enhancement.models.tcnn import STFTTCNN
from downstream.speech_enhancement.progress import Progress
from downstream.speech_enhancement.regularisation import ActivationPenalty, Regularisation
from downstream.speech_enhancement.settings import Settings
from run_downstream import main
from tests.downstream.speech_enhancement.layouts import TASK
from utility.audio.io import save_audio
from utility.audio.stft import StftOptions
from utility.errors import UnknownNameError

KEYS = [
    *(f"{loss}_{strategy}" for loss in ("spec_mse", "wave_mse", "wave_snr", "wave_sisnr") for strategy in ("pad", "trim")),
    *("actreg_l1_conv", "actreg_l1_conv_dsc_thr", "actreg_l2_conv", "actreg_l2_conv_dsc_thr", "actreg_high_threshold"),
    *("weight_clip", "sgd"),
]
REGULARISATION = ("weight_clipping_max", "activation_regularization", "act_reg_layer_types", "act_reg_threshold", "penalty_type")


@pytest.mark.parametrize("key", KEYS)
def test_recorded_updates(golden, key):
    """Four updates: losses, the first gradient, weights and statistics in the end."""
    folder = golden("enhancement/training_losses")
    params, arrays = json.loads((folder / "params.json").read_text()), np.load(folder / "io.npz")
    case = next(case for case in params["cases"] if case["key"] == key)
    model = STFTTCNN(**params["model_specific"])
    load_weights(model, folder / "init.pth")
    regularisation = Regularisation.of({name: case[name] for name in REGULARISATION if name in case}, "regularization")
    penalty, loss = ActivationPenalty(model, regularisation), build_loss(case["loss"])
    estimator = Estimator(StftOptions(**params["preprocessing"]), case["batching_strat"] == "trim", published=True)
    optimizer = getattr(torch.optim, case.get("opt", "Adam"))(model.parameters(), lr=case.get("lr", 1e-3))
    losses, first = [], None
    for batch in [(0, 1), (2, 3)] * 2:
        noisy, clean = ([torch.from_numpy(arrays[f"{side}{clip}"]) for clip in batch] for side in ("noisy", "clean"))
        optimizer.zero_grad()
        value = loss(estimator.batch(model, noisy, clean)) + penalty.taken(torch.device("cpu"))
        value.backward()
        first = first or {name: p.grad.clone() for name, p in model.named_parameters()}
        optimizer.step()
        regularisation.clip(model)
        losses.append(value.item())
    np.testing.assert_allclose(losses, arrays[f"{key}.losses"], rtol=2e-4, atol=1e-5)
    counts = [p.numel() for p in model.parameters()]
    recorded = {what: np.split(arrays[f"{key}.{what}"], np.cumsum(counts)[:-1]) for what in ("grad_step0", "final_params")}
    for number, name in enumerate(params["parameter_order"]):
        if not name.endswith("TCM_net.0.bias"):  # its gradient is 0 but for rounding
            scale = np.abs(recorded["grad_step0"][number]).max()
            np.testing.assert_allclose(first[name].flatten(), recorded["grad_step0"][number], rtol=2e-4, atol=max(1e-5, 1e-4 * scale))
            np.testing.assert_allclose(model.get_parameter(name).detach().flatten(), recorded["final_params"][number], atol=3e-4)
    sizes = [model.get_buffer(name).numel() for name in params["buffer_order"]]
    for name, expected in zip(params["buffer_order"], np.split(arrays[f"{key}.final_buffers"], np.cumsum(sizes)[:-1]), strict=True):
        if not name.endswith("TCM_net.1.running_mean"):  # it moves with the bias before it
            np.testing.assert_allclose(model.get_buffer(name).flatten(), expected, rtol=2e-4, atol=3e-4)


def test_recorded_bookkeeping(golden):
    cases = json.loads((golden("enhancement/bookkeeping") / "expected.json").read_text())
    cases = [case for case in cases if not case.get("error")]
    assert len(cases) == 6
    for case in cases:
        progress, best = Progress(case["reference_metric"], case["patience"] if case["early_stopping"] else None), []
        for value in case["values"][: case["epochs"]]:
            _, stop = progress.add({case["reference_metric"]: value})
            best.append(progress.best)
            if stop:
                break
        assert (len(best), best) == (case["epochs_run"], case["best_epoch_after_each"])


def test_patience():
    """The figure of the tutorial's README: patience 50, best at index 10, the last epoch has the index 61."""
    progress, epoch = Progress("pesq", 50), 0
    while not progress.add({"pesq": 2 - abs(epoch - 10) / 100})[1]:
        epoch += 1
    assert epoch == 61


def test_what_could_not_be_measured_is_never_the_best():
    progress = Progress("pesq", 1)
    assert progress.add({"pesq": float("nan")}) == (False, False)
    assert progress.add({"pesq": 1.0}) == (True, False)
    assert progress.add({"pesq": float("nan")}) == (False, False)
    assert progress.add({"stoi": 1.0}) == (False, True)
    again = Progress("pesq", 1)
    again.load(json.loads(json.dumps(progress.state())))
    assert again == progress


@pytest.mark.slow
def test_recorded_training(golden, tmp_path, monkeypatch):
    """Five epochs over the command line from the recorded weights, padded as the zoo does; the same table."""
    pytest.importorskip("pesq")
    folder = golden("enhancement/training_run")
    arrays = np.load(folder / "io.npz")
    for part, clips in (("train", (0, 1, 2)), ("test", (2, 3))):
        for side in ("noisy", "clean"):
            for clip in clips:
                save_audio(tmp_path / f"{side}_{part}/{clip}.wav", arrays[f"{side}{clip}"], 16000, "FLOAT")
    config = yaml.safe_load((TASK / "config.yaml").read_text())
    config["runner"] |= {"total_epochs": 5, "tensorboard": False}
    config["optimizer"]["lr"] = 2e-3
    task = config["downstream_expert"]
    task["dataset"] |= {"name": "custom", "validation": "test", "shuffle": False, "num_validation_samples": None}
    task["dataset"] |= {
        f"{side}_{part}_files_path": str(tmp_path / f"{side}_{part}") for side in ("noisy", "clean") for part in ("train", "test")
    }
    task["model"]["state_dict_path"] = str(folder / "init.pth")
    task["model_specific"] = {"tcn_latent_dim": 8, "n_blocks": 1, "num_layers": 2, "init_dilation": 2, "mask_activation": "sigmoid"}
    task["training"] |= {"batch_size": 2, "num_dataloader_workers": 0, "early_stopping_patience": 20, "published": True}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    words = ["-m", "train", "-u", "stft_mag", "-d", "speech_enhancement", "-c", "config.yaml", "-p", "run", "--device", "cpu"]
    assert main(words) == 0
    (names, *found), (expected_names, *expected) = (
        table(tmp_path / "run/training_logs/training_logs.csv"),
        table(folder / "training_logs.csv"),
    )
    assert names == expected_names
    np.testing.assert_allclose(np.array(found, float), np.array(expected, float), rtol=2e-3, atol=2e-3)
    assert (tmp_path / "run/training_logs/training_metrics.png").stat().st_size > 10_000
    assert sorted(p.name for p in (tmp_path / "run/ckpts").iterdir()) == [
        "best_model_state_dict.pth",
        "checkpoint_epoch_2",
        "checkpoint_epoch_4",
    ]
    for name in ("best_model_state_dict.pth", "checkpoint_epoch_2"):
        model, recorded = STFTTCNN(257, 8, 1, 2, mask_activation="sigmoid"), STFTTCNN(257, 8, 1, 2, mask_activation="sigmoid")
        load_weights(model, tmp_path / "run/ckpts" / name)
        load_weights(recorded, folder / name)
        for key, value in model.state_dict().items():
            if not key.endswith("TCM_net.0.bias") and value.is_floating_point():
                torch.testing.assert_close(value, recorded.state_dict()[key], rtol=2e-3, atol=2e-3)


def table(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_padding_of_a_batch_does_not_count_unless_it_is_published():
    """One short recording beside a long one: with the mask the loss is that of both by their lengths, as if each were alone."""
    torch.manual_seed(0)
    options = StftOptions(n_fft=64, hop_length=16, win_length=64)
    model = STFTTCNN(33, 6, 1, 2, mask_activation="sigmoid").eval()
    clean = [torch.randn(1600), torch.randn(320)]
    noisy = [wave + 0.3 * torch.randn(len(wave)) for wave in clean]
    loss, masked = build_loss("spec_mse"), Estimator(options)
    together, published = (loss(made.batch(model, noisy, clean)) for made in (masked, Estimator(options, published=True)))
    assert published < 0.8 * together
    batch = masked.batch(model, noisy, clean)
    assert not batch.spectrum[1, :, 21:].any()
    assert batch.frames.tolist() == [101, 21]


@pytest.mark.parametrize(
    ("name", "weights"), [("spec_mse", (101, 21)), ("wave_mse", (1600, 320)), ("wave_snr", (1, 1)), ("wave_sisnr", (1, 1))]
)
def test_a_padded_batch_costs_what_its_recordings_cost_alone(name, weights):
    """With a mask of each point by itself; what is left of a hop at an end has no estimate and does not count."""
    torch.manual_seed(0)
    estimator, loss = Estimator(StftOptions(n_fft=64, hop_length=16, win_length=64)), build_loss(name)
    clean = [torch.randn(1607), torch.randn(335)]
    noisy = [wave + 0.3 * torch.randn(len(wave)) for wave in clean]
    together = loss(estimator.batch(torch.sigmoid, noisy, clean))
    alone = [loss(estimator.batch(torch.sigmoid, [one], [other])) for one, other in zip(noisy, clean, strict=True)]
    expected = sum(weight * each for weight, each in zip(weights, alone, strict=True)) / sum(weights)
    torch.testing.assert_close(together, expected, rtol=2e-3, atol=0)


def test_peaks_are_those_of_the_noisy_recording():
    options = StftOptions(n_fft=64, hop_length=16, win_length=64, peak_normalize=True)
    noisy, clean = torch.randn(1600), 0.1 * torch.randn(1600)
    batch = Estimator(options).batch(torch.ones_like, [noisy], [clean])
    torch.testing.assert_close(batch.clean_wave[0], clean / noisy.abs().max())
    torch.testing.assert_close(batch.wave[0], noisy / noisy.abs().max(), rtol=0, atol=1e-5)


def test_all_layers_without_layers_of_their_own_are_penalised_by_default():
    model = STFTTCNN(17, 4, 1, 1)
    every = ActivationPenalty(model, Regularisation(activation_regularization=1.0))
    some = ActivationPenalty(model, Regularisation(activation_regularization=1.0, act_reg_layer_types=["BatchNorm1d"]))
    model(torch.rand(1, 17, 9))
    device = torch.device("cpu")
    assert every.taken(device) > some.taken(device) > 0
    assert every.taken(device) == 0
    model.eval()(torch.rand(1, 17, 9))
    assert every.taken(device) == 0
    with pytest.raises(UnknownNameError, match=r"Conv2d.*did you mean 'Conv1d'"):
        ActivationPenalty(model, Regularisation(activation_regularization=1.0, act_reg_layer_types=["Conv2d"]))


def test_activations_at_the_threshold_count_whole():
    layer = torch.nn.Sequential(torch.nn.Identity())
    penalty = ActivationPenalty(layer, Regularisation(activation_regularization=2.0, act_reg_threshold=3.0, penalty_type="l1"))
    layer(torch.tensor([2.9, 3.0, -4.0]))
    assert penalty.taken(torch.device("cpu")) == 2 * (3 + 4)


def test_config_is_what_its_readme_says():
    settings = Settings.of(yaml.safe_load((TASK / "config.yaml").read_text())["downstream_expert"])
    assert settings.stft == StftOptions()
    assert (settings.training.batch_size, settings.training.loss) == (16, "spec_mse")
