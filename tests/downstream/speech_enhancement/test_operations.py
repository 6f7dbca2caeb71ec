"""Export, quantisation, evaluation and benchmark of a network, as ``-m evaluate -t NAME`` runs them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from downstream.speech_enhancement.evaluation import evaluate
from downstream.speech_enhancement.masking import enhance, mask_of
from downstream.speech_enhancement.onnx.session import OnnxMask
from downstream.speech_enhancement.operations import RUNS, calibration_clips, saved_models
from tests.downstream.speech_enhancement.enhancer import Enhancer, context_of, made_up
from utility.audio.io import save_audio
from utility.audio.stft import Stft, StftOptions
from utility.errors import ConfigError, DataError, UsageError

PLAIN = {"metrics": ["stoi", "snr", "si-snr", "mse"]}


@pytest.fixture
def expert(tmp_path: Path) -> Enhancer:
    torch.manual_seed(0)
    return Enhancer(tmp_path / "exp", {"evaluation": dict(PLAIN)}, {"train": made_up(3), "test": made_up(3, seed=1)})


def run(expert: Enhancer, name: str, checkpoint: str = "dev-best") -> dict[str, float]:
    return {key: score.value for key, score in (RUNS[name](expert, context_of(expert, checkpoint)) or {}).items()}


def recorded_pairs(folder: Path) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    arrays = np.load(folder / "io.npz")
    waves = {name: torch.from_numpy(arrays[name].astype(np.float32) / 32768) for name in arrays.files if name.startswith("eval_")}
    return {f"clip{number}": (waves[f"eval_noisy{number}"], waves[f"eval_clean{number}"]) for number in range(4)}


@pytest.mark.parametrize("kind", ["torch", "onnx_float", "onnx_int8", "onnx_int8_static"])
def test_recorded_evaluation(golden, tmp_path: Path, kind: str):
    """The tables of the STM32 zoo's evaluators, from the recorded files."""
    pytest.importorskip("pesq")
    folder = golden("enhancement/onnx_tcnn")
    files = {"onnx_float": "best_trained_model", "onnx_int8": "quantized_model_int8", "onnx_int8_static": "quantized_model_int8_static"}
    section: dict = {"fixed_sequence_length": 40} if kind == "onnx_int8_static" else {}
    expert = Enhancer(tmp_path, {"evaluation": section}, {"test": recorded_pairs(folder)})
    name = "evaluate_torch" if kind == "torch" else "evaluate"
    if kind == "torch":
        expert.model.load_state_dict(torch.load(folder / "best_model_state_dict.pth", weights_only=True))
    else:
        expert.settings["model"] = {"onnx_path": str(folder / f"{files[kind]}.onnx")}
    if kind == "onnx_int8_static":
        del expert.pairs["test"]["clip1"], expert.pairs["test"]["clip2"], expert.pairs["test"]["clip3"]
    scores = run(expert, name)
    expected = list(csv.reader((folder / f"eval_{kind}" / "detailed_metrics.csv").read_text().splitlines()))
    found = list(csv.reader((context_of(expert).results_dir / name / "detailed_metrics.csv").read_text().splitlines()))
    assert found[0] == [*expected[0], "name"]
    for row, wanted in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose([float(value) for value in row[:-1]], [float(value) for value in wanted], rtol=1e-4, atol=1e-5)
    means = json.loads((context_of(expert).results_dir / name / "metrics_dict.json").read_text())
    assert means == pytest.approx(json.loads((folder / f"eval_{kind}" / "metrics_dict.json").read_text()), rel=1e-4)
    assert scores["pesq"] == means["pesq"]
    assert scores["noisy_snr"] < 20


def test_from_checkpoint_to_int8(expert: Enhancer):
    """Float, torch and int8 agree on what they do to the test set."""
    assert run(expert, "export")["onnx_size"] > 0
    sizes = run(expert, "quantize")
    assert sizes["size_ratio"] == pytest.approx(100 * sizes["int8_size"] / sizes["float_size"])
    names = ["best_trained_model.onnx", "preprocessed_model.onnx", "quantized_model_int8.onnx", "quantized_model_int8_static.onnx"]
    assert sorted(path.name for path in saved_models(expert).iterdir()) == names
    results = {name: run(expert, name) for name in ("evaluate", "evaluate_torch", "evaluate_quantized")}
    assert results["evaluate"] == pytest.approx(results["evaluate_torch"], rel=1e-4)
    assert results["evaluate_quantized"]["snr"] == pytest.approx(results["evaluate"]["snr"], abs=0.5)
    assert results["evaluate_quantized"]["noisy_snr"] == results["evaluate"]["noisy_snr"]


def test_noisy_recordings_are_scored_whole(expert: Enhancer):
    """As ``-t test`` scores them, whatever the network leaves of the last hop; with a fixed length, as far as that goes."""
    clean = torch.sin(torch.arange(8159.0) / 9)
    noisy = clean.clone()
    noisy[8000:] += 1
    expert.pairs["test"] = {"a": (noisy, clean)}
    assert run(expert, "evaluate")["noisy_snr"] == pytest.approx(10 * np.log10(clean.square().sum().item() / 159), abs=1e-3)
    expert.settings["evaluation"] = {**PLAIN, "fixed_sequence_length": 20}
    assert np.isnan(run(expert, "evaluate")["noisy_snr"])  # infinite: the noise is beyond


def test_another_checkpoint_has_another_file(expert: Enhancer):
    run(expert, "export", "states-100.ckpt")
    assert [path.name for path in saved_models(expert).iterdir()] == ["trained_model.onnx"]


def test_the_folder_of_the_tutorial(expert: Enhancer):
    expert.settings["evaluation"]["logs_path"] = "eval_logs/"
    run(expert, "quantize")
    run(expert, "evaluate")
    run(expert, "evaluate_quantized")
    for name in ("eval_logs", "eval_logs_quantized"):
        found = sorted(path.name for path in (expert.expdir / name).iterdir())
        assert found == ["detailed_metrics.csv", "metrics_dict.json", "summary.json"]
    means = json.loads((expert.expdir / "eval_logs" / "metrics_dict.json").read_text())
    assert list(means) == ["stoi", "snr", "sisnr", "mse"]


def test_opset_of_the_config(expert: Enhancer):
    expert.settings["training"] = {"opset_version": 15}
    run(expert, "export")
    assert onnx.load(saved_models(expert) / "best_trained_model.onnx").opset_import[0].version == 15


def test_a_static_file_needs_its_length(expert: Enhancer):
    run(expert, "quantize")
    expert.settings["model"] = {"onnx_path": str(saved_models(expert) / "quantized_model_int8_static.onnx")}
    with pytest.raises(DataError, match=r"takes 40 frames at a time, not 51; evaluation\.fixed_sequence_length: 40"):
        run(expert, "evaluate")


@pytest.mark.parametrize("frames", [20, 90])
def test_fixed_length_cuts_and_pads(expert: Enhancer, frames: int):
    noisy, _ = expert.pairs["test"]["clip0"]
    enhanced = enhance(noisy, expert.stft, mask_of(expert.model.eval()), frames)
    assert len(enhanced) == (frames - 1) * 160
    if frames == 90:  # zeros follow the 51 frames there are
        assert np.abs(enhanced[-3200:]).max() == 0


def test_ones_as_mask_give_the_noisy_wave_back(expert: Enhancer):
    noisy, _ = expert.pairs["test"]["clip1"]
    for options in (StftOptions(), StftOptions(peak_normalize=True, power=2)):
        enhanced = enhance(noisy, Stft(options), np.ones_like)
        np.testing.assert_allclose(enhanced, noisy[: len(enhanced)], atol=1e-6)
        assert len(noisy) - len(enhanced) < 160


def test_calibration_clips(expert: Enhancer, tmp_path: Path, caplog):
    from downstream.speech_enhancement.onnx.options import Quantization

    expert.stft = Stft(StftOptions(power=2))
    clips = calibration_clips(expert, Quantization(num_quantization_samples=2, random_seed=7), 0)
    again = calibration_clips(expert, Quantization(num_quantization_samples=0.7, random_seed=7), 1)
    assert [clip().shape for clip in clips] == [clip().shape for clip in again]
    firsts = {calibration_clips(expert, Quantization(num_quantization_samples=1, random_seed=seed), 0)[0]().shape for seed in range(9)}
    assert len(firsts) == 3  # which clip it is depends on the seed
    noisy = [noisy for noisy, _ in expert.pairs["train"].values()]
    powers = [expert.stft.spectrum(wave).abs().square()[None].numpy() for wave in noisy]
    assert all(any(np.array_equal(clip(), power) for power in powers) for clip in clips)
    save_audio(tmp_path / "own" / "a.wav", noisy[0].numpy(), 16000)
    assert len(calibration_clips(expert, Quantization(noisy_quantization_files_path=str(tmp_path / "own")), 0)) == 1
    assert len(calibration_clips(expert, Quantization(num_quantization_samples=4), 0)) == 3
    assert "num_quantization_samples is 4, but there are 3 recordings" in caplog.text
    with pytest.raises(ConfigError, match=r"num_quantization_samples 0\.1 of 3 recordings is none"):
        calibration_clips(expert, Quantization(num_quantization_samples=0.1), 0)


def test_bad_requests(expert: Enhancer):
    with pytest.raises(UsageError, match=r"quantized_model_int8\.onnx; -m evaluate -t quantize writes it"):
        run(expert, "evaluate_quantized")
    expert.settings["model"] = {"onnx_path": "absent.onnx"}
    with pytest.raises(DataError, match=r"there is no ONNX file absent\.onnx"):
        run(expert, "quantize")
    expert.settings["evaluation"]["metrics"] = ["pesk", "stoi"]
    with pytest.raises(ConfigError, match=r"metric 'pesk' is unknown; did you mean 'pesq'"):
        run(expert, "evaluate_torch")
    expert.settings["evaluation"] = {"device": "cuda:99"}
    with pytest.raises(ConfigError, match="device 'cuda:99' is not there"):
        run(expert, "evaluate_torch")


def test_a_recording_without_pesq_is_counted(expert: Enhancer, caplog):
    pytest.importorskip("pesq")
    noisy, clean = expert.pairs["test"]["clip1"]
    expert.pairs["test"]["clip1"] = noisy, torch.zeros_like(clean)
    found = evaluate(expert.corpus_of("test"), expert.load, expert.stft, np.ones_like, ["pesq"], None, "test")
    assert "pesq could not be measured for 1 of 3 recordings, which its mean leaves out: clip1" in caplog.text
    values = [row["pesq"] for row in found.enhanced]
    assert found.scores()["pesq"].value == pytest.approx((values[0] + values[2]) / 2)


def test_stream(expert: Enhancer, caplog):
    """The network sees 14 frames to each side; the tutorial gives it 5."""
    found = run(expert, "stream")
    assert found["delay"] == 1000 * (400 + 160 * (14 + 13)) / 16000
    assert found["difference"] < 1e-5
    assert found["real_time_factor"] > 0
    assert not caplog.text
    expert.settings["deployment"] = {"frames_per_patch": 30, "lookahead_frames": 14}
    found = run(expert, "stream")
    assert found["delay"] == 1000 * (400 + 160 * (14 + 29)) / 16000
    assert found["difference"] < 1e-5
    expert.settings["deployment"] = {"frames_per_patch": 30, "lookahead_frames": 5}
    assert run(expert, "stream")["difference"] > 1e-5
    assert "sees 14 frames of the future and gets 5" in caplog.text


class Stepping(torch.nn.Module):
    """A causal network that can be run frame by frame."""

    def __init__(self):
        super().__init__()
        self.lstm, self.out = torch.nn.LSTM(257, 8, batch_first=True), torch.nn.Linear(8, 257)

    def step(self, x: torch.Tensor, state: tuple | None) -> tuple[torch.Tensor, tuple]:
        states, state = self.lstm(x.transpose(1, 2), state)
        return self.out(states).transpose(1, 2).sigmoid(), state

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.step(x, None)[0]


def test_stream_frame_by_frame(expert: Enhancer):
    expert.model = Stepping()
    found = run(expert, "stream")
    assert found["delay"] == 25
    assert found["difference"] < 1e-5


def test_benchmark(expert: Enhancer, monkeypatch):
    monkeypatch.setenv("PATH", "")
    for module in expert.model.modules():
        if isinstance(module, nn.BatchNorm1d):  # equal biases are stored once
            nn.init.normal_(module.bias)
    expert.settings["benchmarking"] = {"board": "STM32N6570-DK", "repetitions": 3}
    of_float = run(expert, "benchmark")
    trained = sum(parameter.numel() for parameter in expert.model.parameters())
    assert of_float["parameters"] == trained - 6 * 3 * 24  # of two normalisations in a layer one bias is left
    run(expert, "quantize")
    of_int8 = run(expert, "benchmark")
    assert of_int8["parameters"] == of_float["parameters"]
    assert of_int8["weights"] < of_float["weights"] / 2
    assert of_int8["macs"] == pytest.approx(of_float["macs"] * 40 / 100)
    report = json.loads((context_of(expert).results_dir / "benchmark" / "report.json").read_text())
    assert (report["frames"], report["quantized"], report["stedgeai"]) == (40, True, None)
    assert OnnxMask(Path(report["file"]), 257).frames == 40
    assert report["real_time_factor"] == pytest.approx(report["latency_seconds"] / 0.4)
