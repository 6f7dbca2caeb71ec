"""Masks over features of any upstream: sizes, targets, losses, spikes, data in three layouts, wrong settings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from downstream.blocks.enhancement import mask_targets
from downstream.blocks.enhancement.mask_network import MaskNetwork, with_frames
from downstream.enhancement_stft.expert import DownstreamExpert as First
from downstream.enhancement_stft2.expert import DownstreamExpert as Second
from downstream.predictor import Predictor
from run_downstream import main
from tests.downstream.enhancement_stft.conformance import prepare
from tests.downstream.recorded import Log
from tests.downstream.speech_enhancement.layouts import RATE, valentini
from utility.audio.io import audio_info, save_audio
from utility.errors import ConfigError, DataError, UnknownNameError, UsageError

EXPERTS = {"enhancement_stft": First, "enhancement_stft2": Second}
REPO = Path(__file__).resolve().parents[3]


def config_of(name: str, **changes) -> dict:
    config = yaml.safe_load((REPO / f"downstream/{name}/config.yaml").read_text())["downstream_expert"]
    return {section: {**fields, **changes.get(section, {})} for section, fields in config.items()}


def expert_of(name: str, root: Path | str, upstream_dim: int = 4, upstream_rate: int = 320, **changes):
    small = {"datarc": {"root_folder": str(root)}, "modelrc": {"hidden_size": 6}}
    config = config_of(name, **{section: {**small.get(section, {}), **changes.get(section, {})} for section in {*small, *changes}})
    return EXPERTS[name](upstream_dim, upstream_rate, config, expdir=str(root))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return valentini(tmp_path_factory.mktemp("corpus"))


@pytest.mark.parametrize(("name", "published"), [("enhancement_stft", 50_966_529), ("enhancement_stft2", 5_387_009)])
def test_the_published_number_of_parameters(name: str, published: int, tmp_path: Path):
    expert = EXPERTS[name](768, 320, config_of(name), expdir=str(tmp_path))
    assert sum(p.numel() for p in expert.parameters()) == published


@pytest.mark.parametrize("name", EXPERTS)
@pytest.mark.parametrize("rate", [160, 320])
def test_masks_have_the_frames_of_the_spectrum_whatever_the_rate(name: str, rate: int, corpus: Path):
    expert = expert_of(name, corpus, upstream_rate=rate)
    hop = rate if name == "enhancement_stft" else 160
    assert (expert.stft.options.hop_length, expert.stft.options.win_length) == (hop, 512 if name == "enhancement_stft" else 400)
    noisy, clean = torch.randn(2, 8000) * 0.1
    records = {key: [] for key in ("loss", "name", "noisy", "clean", "enhanced")}
    with torch.no_grad():
        loss = expert.eval()("dev", [torch.randn(8000 // rate, 4)], [noisy], [clean], ["a"], records)
    assert loss.ndim == 0 and records["enhanced"][0].shape == (8000,) and np.isfinite(records["enhanced"][0]).all()


def test_a_mask_does_not_feel_the_length_of_its_neighbours():
    network = MaskNetwork(4, 9, hidden_size=5, num_layers=2).eval()
    short, long = torch.randn(7, 4), torch.randn(12, 4)
    together, alone = network([short, long]), network([short])
    assert [len(mask) for mask in together] == [7, 12]
    torch.testing.assert_close(together[0], alone[0])


def test_targets_and_losses_are_their_formulas():
    generator = torch.Generator().manual_seed(0)
    noisy, clean = (torch.complex(*torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)) for _ in range(2))
    mask = torch.rand(5, 3, generator=generator, dtype=torch.float64)
    cosine = torch.cos(noisy.angle() - clean.angle())
    expected = {"AM": clean.abs(), "PSM": clean.abs() * cosine, "NPSM": clean.abs() * cosine.clamp_min(0)}
    for name, wanted in expected.items():
        torch.testing.assert_close(mask_targets.TARGETS[name](noisy, clean), wanted)
    squared = ((mask * noisy.abs() - expected["NPSM"]) ** 2).sum() / 5
    torch.testing.assert_close(mask_targets.squared_error(mask, noisy, clean, mask_targets.TARGETS["NPSM"]), squared)
    logs = (mask * torch.log(1 + noisy.abs()) - torch.log(1 + clean.abs())).abs().sum() / 5
    torch.testing.assert_close(mask_targets.log_difference(mask, noisy, clean, mask_targets.TARGETS["AM"]), logs)
    against = mask_targets.log_difference(mask, noisy, -2 * noisy, mask_targets.TARGETS["PSM"])  # no logarithm of less than 1
    torch.testing.assert_close(against, (mask * torch.log(1 + noisy.abs())).sum() / 5)
    found = mask_targets.masked_logs(mask, noisy)
    torch.testing.assert_close(found.abs(), torch.exp(mask * torch.log(1 + noisy.abs())) - 1)
    torch.testing.assert_close(found.angle(), noisy.angle())


def test_silence_has_a_loss_and_a_gradient():
    mask = torch.full((4, 3), 0.5, requires_grad=True)
    silent = torch.zeros(4, 3, dtype=torch.complex64)
    for loss in (mask_targets.squared_error, mask_targets.log_difference):
        for target in mask_targets.TARGETS.values():
            value = loss(mask, silent, silent, target)
            value.backward()
            assert value == 0 and torch.isfinite(mask.grad).all()
    assert torch.equal(mask_targets.masked_logs(mask, silent), silent)


def test_a_spike_at_the_end_is_silenced_and_nothing_else():
    wave = 0.1 * torch.sin(torch.arange(6000) / 7.0)
    assert torch.equal(mask_targets.without_spike(wave), wave)
    spiked = wave.clone()
    spiked[5900] = 3
    quiet = mask_targets.without_spike(spiked)
    assert torch.equal(quiet[:5900], wave[:5900]) and not quiet[5900:].any()
    padded = torch.cat([spiked, torch.zeros(2000)])  # the last samples that are not 0 are looked at
    assert not mask_targets.without_spike(padded)[5900:].any()
    assert torch.equal(mask_targets.without_spike(torch.cat([spiked, torch.zeros(2100)]))[:6000], spiked)
    early = wave.clone()
    early[100] = 3
    assert torch.equal(mask_targets.without_spike(early), early)
    for short in (torch.zeros(0), torch.zeros(9), torch.ones(300)):
        assert torch.equal(mask_targets.without_spike(short), short)


def test_features_are_repeated_cut_and_prolonged():
    features = torch.arange(1.0, 4).unsqueeze(1)
    assert with_frames(features, 5).flatten().tolist() == [1, 2, 3, 0, 0]
    assert with_frames(features, 2).flatten().tolist() == [1, 2]
    assert with_frames(features, 7, repeats=2).flatten().tolist() == [1, 1, 2, 2, 3, 3, 0]
    with pytest.raises(DataError, match="gives 3 frames where the spectrum has 8"):
        with_frames(features, 8)


def test_corpora_as_they_unpack_resampled_and_as_lists(corpus: Path, tmp_path: Path):
    (tmp_path / "noisy_testset_wav_16k").mkdir()
    (tmp_path / "clean_testset_wav_16k").mkdir()
    for side in ("noisy", "clean"):
        save_audio(tmp_path / f"{side}_testset_wav_16k/p232_001.wav", np.ones(900, np.float32), RATE)
    assert [pair.name for pair in expert_of("enhancement_stft", tmp_path).read_corpus("test")] == ["p232_001"]
    expert = expert_of("enhancement_stft", corpus)
    names = {split: {pair.name for pair in expert.read_corpus(split)} for split in ("train", "dev", "test")}
    speakers = {split: {name.partition("_")[0] for name in found} for split, found in names.items()}
    assert names["train"] and names["dev"] and not speakers["train"] & speakers["dev"]
    for side in ("noisy", "clean"):
        folder = tmp_path / "lists/dev" / side
        folder.mkdir(parents=True)
        (folder / "wav.scp").write_text("".join(f"{pair.name} {getattr(pair, side)}\n" for pair in expert.read_corpus("dev")))
    listed = expert_of("enhancement_stft", corpus, datarc={"data_dir": str(tmp_path / "lists")})
    assert listed.read_corpus("dev") == expert.read_corpus("dev")


def test_the_official_speakers_are_held_out(tmp_path: Path):
    for side in ("noisy", "clean"):
        for speaker in ("p225", "p226", "p286", "p287"):
            save_audio(tmp_path / f"{side}_trainset_28spk_wav/{speaker}_001.wav", np.ones(900, np.float32), RATE)
            save_audio(tmp_path / f"{side}_trainset_28spk_wav/{speaker}_002.wav", np.ones(900, np.float32), RATE)
    dev = expert_of("enhancement_stft", tmp_path).read_corpus("dev")
    assert {pair.name[:4] for pair in dev} == {"p226", "p287"} and len(dev) == 4


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"datarc": {"root_folder": None}}, ConfigError, "root_folder .or data_dir. must say where"),
        ({"datarc": {"batch": 3}}, ConfigError, "batch"),
        ({"modelrc": {"rnn": "lstn"}}, UnknownNameError, "did you mean 'lstm'"),
        ({"modelrc": {"non_linear": "softmax"}}, UnknownNameError, "valid: relu"),
        ({"modelrc": {"hidden_sise": 3}}, ConfigError, "did you mean 'hidden_size'"),
        ({"targetrc": {"mask_type": "IRM"}}, UnknownNameError, "mask_type"),
        ({"targetrc": {"metrics": ["pesk"]}}, UnknownNameError, "did you mean 'pesq'"),
        ({"targetrc": {"metrics": "pesq"}}, ConfigError, "must be a list"),
    ],
)
def test_wrong_settings_are_named(changes: dict, error: type[Exception], said: str, corpus: Path):
    data = {"root_folder": str(corpus)} | changes.get("datarc", {})
    with pytest.raises(error, match=said):
        First(4, 320, config_of("enhancement_stft", **{**changes, "datarc": data}), expdir=str(corpus)).read_corpus("test")


def test_rates_that_do_not_fit_are_refused(corpus: Path):
    with pytest.raises(UsageError, match="every 640 samples, and this task needs below 512"):
        expert_of("enhancement_stft", corpus, upstream_rate=640)
    with pytest.raises(UsageError, match="every 200 samples, and this task needs 160 or 320"):
        expert_of("enhancement_stft2", corpus, upstream_rate=200)


def test_si_sdr_is_the_improvement(tmp_path: Path, corpus: Path):
    expert = expert_of("enhancement_stft", corpus, targetrc={"metrics": ["si_sdr"]})
    expert.expdir = tmp_path
    clean, noise = np.random.default_rng(0).normal(0, 0.1, (2, 8000)).astype(np.float32)
    records = {"loss": [1.0], "name": ["a"], "clean": [clean], "noisy": [clean + 0.3 * noise], "enhanced": [clean + 0.03 * noise]}
    scores = expert.log_records("test", records, Log(), 1, [0], 1).scores
    assert scores["si_sdr"].value == pytest.approx(20, abs=0.3)


def test_s3prls_command_files_and_a_stereo_recording(tmp_path: Path, monkeypatch, capsys):
    """The config by S3PRL's path; files that it writes; enhancement of two channels at another rate."""
    small = prepare(tmp_path / "corpus")["override"]
    runner = "config.runner.total_steps=2,,config.runner.eval_step=2,,config.runner.save_step=2,,config.runner.log_step=1"
    config = REPO / "downstream/enhancement_stft/configs/cfg_voicebank.yaml"
    words = ["-u", "fbank", "-d", "enhancement_stft", "-c", str(config), "-o", f"{runner},,{small}", "--device", "cpu"]
    run = tmp_path / "run"
    assert main(["-m", "train", "-p", str(run), *words]) == 0
    assert main(["-m", "evaluate", "-e", str(run / "best-states-dev.ckpt"), "--device", "cpu"]) == 0
    lines = (run / "results/best-states-dev/test_metrics.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["si_sdr", "stoi"]
    scores = json.loads((run / "results/best-states-dev/test.json").read_text())["scores"]
    assert float(lines[0].split()[1]) == pytest.approx(scores["si_sdr"]["value"])
    save_audio(tmp_path / "stereo.wav", np.random.default_rng(0).normal(0, 0.1, (44100, 2)), 44100)
    capsys.readouterr()
    assert main(["-m", "inference", "-t", str(tmp_path / "stereo.wav"), "-e", str(run / "best-states-dev.ckpt"), "--device", "cpu"]) == 0
    answer = json.loads(capsys.readouterr().out)
    info = audio_info(answer["enhanced"])
    assert (info.frames, info.sample_rate, info.channels) == (44100, 44100, 2)
    predictor = Predictor(run / "best-states-dev.ckpt", "cpu")
    for recording in (tmp_path / "stereo.wav", np.random.default_rng(0).normal(0, 0.1, 9000)):  # a file, and then a waveform without one
        info = audio_info(predictor(recording)["enhanced"])
    assert (info.frames, info.sample_rate, info.channels) == (9000, 16000, 1)
