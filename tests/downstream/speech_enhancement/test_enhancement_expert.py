"""The expert: what its config may say, how it stops, a user's recordings, and its commands."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from downstream.blocks.enhancement import recordings
from downstream.speech_enhancement import progress
from downstream.speech_enhancement.expert import DownstreamExpert
from run_downstream import main
from tests.downstream.recorded import Log
from tests.downstream.speech_enhancement.layouts import SMALL, TASK, override, stepped, valentini, voice
from utility.audio.io import audio_info, load_channels, save_audio
from utility.errors import ConfigError, DataError, ToolkitError, UnknownNameError, UsageError

CUSTOM = """
from torch import nn
class Custom(nn.Module):
    def __init__(self, gain: float = 1.0):
        super().__init__()
        self.gain, self.bias = gain, nn.Parameter(nn.init.zeros_(nn.Linear(1, 1).weight))
    def forward(self, magnitudes):
        return (self.gain * magnitudes + self.bias).sigmoid()
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return valentini(tmp_path_factory.mktemp("valentini"))


def settings(root: Path | str = "nowhere", **changed: Mapping[str, Any]) -> dict[str, Any]:
    """config.yaml with a small network, without PESQ, and with changed fields of its sections."""
    sections = yaml.safe_load((TASK / "config.yaml").read_text())["downstream_expert"]
    sections["dataset"] |= {"root_folder": str(root), "num_validation_samples": None}
    sections["model_specific"] |= {"tcn_latent_dim": 8, "n_blocks": 1, "num_layers": 2}
    sections["training"] |= {"metrics": ["snr", "si-snr", "mse"], "reference_metric": "snr", "num_dataloader_workers": 0}
    for name, fields in changed.items():
        sections[name] = sections.get(name, {}) | fields if isinstance(fields, Mapping) else fields
    return sections


def make(expdir: Path, root: Path | str = "nowhere", mode: str = "evaluate", changed: Mapping[str, Any] | None = None, **more: Any):
    torch.manual_seed(0)
    return DownstreamExpert(257, 320, settings(root, **(changed or {})), str(expdir), mode=mode, **more)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"training": {"los": "spec_mse", "epochs": 3}}, r"epochs belongs elsewhere: runner\.total_epochs"),
        ({"training": {"los": "spec_mse"}}, "unknown field 'los'; did you mean 'loss'"),
        ({"training": {"loss": "spec_msr"}}, "did you mean 'spec_mse'"),
        ({"training": {"batching_strategy": "cut"}}, "batching_strategy 'cut'; valid: pad, trim"),
        ({"training": {"reference_metric": "pesk"}}, "did you mean 'pesq'"),
        ({"training": {"reference_metric": "pesq"}}, "reference_metric pesq needs 'pesq' among the metrics"),
        ({"training": {"metrics": ["snr", "psq"]}}, "did you mean 'pesq'"),
        ({"training": {"batch_size": 0}}, "batch_size must be a whole number of at least 1"),
        ({"training": {"crop_seconds": 0}}, r"crop_seconds must be a window .0\.025 s. at least, not 0"),
        ({"training": {"crop_seconds": 0.02}}, "crop_seconds must be a window"),
        ({"training": {"opset_version": 21}}, "opset_version must be a whole number from 9 to 20, not 21"),
        ({"training": {"logs_filename": "tables/log.csv"}}, "logs_filename must be the name of a file, not 'tables/log.csv'"),
        (
            {"training": {"metrics": ["pesq"], "reference_metric": "pesq"}, "preprocessing": {"sample_rate": 8000}},
            "pesq needs a sample_rate of 16000, not 8000; narrow-band PESQ is called pesq_nb",
        ),
        ({"general": {"gpu_memory_limit": 7}}, "gpu_memory_limit must be a part above 0 and up to 1, not 7"),
        ({"training": {"regularization": {"penalty_type": "l3"}}}, "unknown .*penalty_type 'l3'; .*l1"),
        ({"training": {"regularization": {"weight_clip": 1}}}, "did you mean 'weight_clipping_max'"),
        ({"training": {"regularization": {"activation_regularization": 1, "act_reg_layer_types": ["Conv2d"]}}}, "did you mean 'Conv1d'"),
        ({"preprocessing": {"pipeline_type": "LibrosaMelSpecPipeline"}}, "pipeline_type must be LibrosaSpecPipeline"),
        ({"preprocessing": {"center": False}}, "center must be True"),
        ({"preprocessing": {"hop_lenght": 160}}, "did you mean 'hop_length'"),
        ({"preprocessing": {"win_length": 600}}, "win_length 600 exceeds n_fft 512"),
        ({"preprocessing": {"hop_length": 400}}, "hop_length 400 and a hann window of 400 leave samples that no frame reaches"),
        ({"preprocessing": {"hop_length": 600}}, "leave samples that no frame reaches"),
        ({"dataset": {"n_speakers": 30}}, "n_speakers must be 28 or 56, not 30"),
        ({"dataset": {"name": "custom"}}, "noisy_train_files_path is not set; clean_train_files_path is not set"),
        ({"dataset": {"name": "valentin"}}, "did you mean 'valentini'"),
        ({"dataset": {"num_test_samples": 1.5}}, "num_test_samples must be a whole number of recordings or a part"),
        (
            {"dataset": {"name": "custom", "noisy_train_files_path": "a", "noisy_test_files_path": "../" + Path.cwd().name + "/a"}},
            "noisy_test_files_path is the folder of noisy_train_files_path",
        ),
        ({"dataset": {"validation": "speaker"}}, "did you mean 'speakers'"),
        *(({"model_specific": {name: 0}}, f"{name} must be a whole number of at least 1") for name in ("tcn_latent_dim", "init_dilation")),
        ({"model_specific": {"kernel_size": 4}}, "kernel_size must be odd, not 4"),
        ({"model_specific": {"in_channels": 129}}, "in_channels is 129, but n_fft gives 257 bins"),
        ({"model": {"model_typ": "STFTTCNN"}}, "did you mean 'model_type'"),
        ({"dataset": 3}, "dataset is 3, not a section of fields"),
    ],
)
def test_what_a_config_must_not_say(tmp_path, changed, sentence):
    with pytest.raises(ToolkitError, match=sentence):
        make(tmp_path, changed=changed)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"quantization": {"calibration_method": "MinMaxx"}}, "did you mean 'MinMax'"),
        ({"quantization": {"static_axis_name": "seqlen"}}, "static_axis_name must be 'seq_len'"),
        ({"evaluation": {"metrics": ["pesk"]}}, "did you mean 'pesq'"),
        ({"benchmarking": {"threads": 0}}, "threads must be a positive whole number"),
        ({"deployment": {"build_conf": "N6"}}, "build_conf 'N6' is unknown"),
    ],
)
def test_a_training_does_not_begin_before_operations_that_must_fail(tmp_path, corpus, changed, sentence):
    """A chain would find out after hours. What is trained already can be evaluated all the same."""
    with pytest.raises(ToolkitError, match=sentence):
        make(tmp_path, corpus, "train", changed)
    make(tmp_path, corpus, "evaluate", changed)


def test_other_upstreams_are_another_task_s(tmp_path):
    with pytest.raises(UsageError, match="-u must be stft_mag or waveform, not hubert; -d enhancement_stft takes any"):
        make(tmp_path, upstream="hubert")


def names(expert: DownstreamExpert, split: str) -> list[str]:
    return [pair.name for pair in expert.corpus_of(split)]


def test_parts_of_the_corpus(tmp_path, corpus):
    by_speaker = make(tmp_path, corpus, "train")
    assert len(names(by_speaker, "dev")) == 2
    assert len({name[:4] for name in names(by_speaker, "dev")} | {name[:4] for name in names(by_speaker, "train")}) == 3
    assert not {name[:4] for name in names(by_speaker, "dev")} & {name[:4] for name in names(by_speaker, "train")}
    unsplit = make(tmp_path, corpus, changed={"dataset": {"num_validation_samples": 0}})
    assert len(names(unsplit, "train")) == 6
    assert set(names(unsplit, "dev")) == set(names(unsplit, "train"))
    assert names(by_speaker, "test") == ["p257_000", "p257_001"]
    clips = make(tmp_path, corpus, changed={"dataset": {"validation": "clips", "num_validation_samples": 2, "num_training_samples": 0.5}})
    assert (len(names(clips, "dev")), len(names(clips, "train"))) == (2, 2)
    assert not set(names(clips, "dev")) & set(names(clips, "train"))
    of_test = make(tmp_path, corpus, changed={"dataset": {"validation": "test", "num_validation_samples": 1, "num_test_samples": None}})
    assert len(names(of_test, "train")) == 6
    assert set(names(of_test, "dev")) < set(names(of_test, "test"))
    with pytest.raises(DataError, match="num_training_samples is 9, but there are only 4"):
        names(make(tmp_path, corpus, changed={"dataset": {"num_training_samples": 9}}), "train")
    with pytest.raises(UnknownNameError, match="unknown split 'valid'"):
        names(by_speaker, "valid")
    with pytest.raises(DataError, match="noisy_trainset_56spk_wav does not exist"):
        make(tmp_path, corpus, "train", changed={"dataset": {"n_speakers": 56}})


def test_batches(tmp_path, corpus):
    expert = make(tmp_path, corpus, changed={"training": {"batch_size": 3, "crop_seconds": 0.25}})
    wavs, noisy, clean, _ = next(iter(expert.get_dataloader("train")))
    assert [len(wav) for wav in (*wavs, *noisy, *clean)] == [4000] * 9
    expert.eval()
    assert all(len(batch[0]) == 1 and len(batch[0][0]) >= 8000 for batch in expert.get_dataloader("train"))


def evaluated(expert: DownstreamExpert, snr: float) -> Any:
    """An evaluation of dev whose signal-to-noise ratio is as given."""
    rng = np.random.default_rng(0)
    clean, error = voice(rng, 0.5), rng.standard_normal(8000).astype(np.float32)
    error *= np.sqrt(np.sum(clean**2) / np.sum(error**2) / 10 ** (snr / 10))
    torch.manual_seed(0)
    expert(expert.train_split, [], [torch.randn(8000)], [torch.randn(8000)], ["a"], records=(trained := defaultdict(list)))
    expert.log_records("train", dict(trained), Log(), 1, [0], 1)
    records = {"loss": [0.5], "name": ["a"], "clean": [clean], "noisy": [clean + 2 * error], "enhanced": [clean + error]}
    return expert.log_records("dev", records, Log(), 1, [0], 1)


def test_early_stopping_goes_on_where_it_was(tmp_path, corpus, monkeypatch):
    """The best evaluation and the patience are in the checkpoint: a resumed training stops when the other one does."""
    monkeypatch.setattr(progress, "draw", lambda rows, path: path.touch())
    changed = {"training": {"early_stopping_patience": 1}}
    first = make(tmp_path / "a", corpus, "train", changed)
    assert evaluated(first, 10).save_names == ["dev-best.ckpt"]
    outcome = evaluated(first, 9)
    assert (outcome.save_names, outcome.stop) == ([], False)
    second = make(tmp_path / "b", corpus, "train", changed)
    second.load_state_dict(first.state_dict())
    for expert in (first, second):
        outcome = evaluated(expert, 8)
        assert outcome.stop
        assert outcome.scores["snr"].value == pytest.approx(8, abs=0.01)
    tables = [(tmp_path / name / "training_logs/training_logs.csv").read_text() for name in "ab"]
    assert tables[0] == tables[1]
    assert tables[0].splitlines()[0] == "train_loss,val_mse,pesq,stoi,snr,si-snr"
    assert len(tables[0].splitlines()) == 4
    assert not evaluated(make(tmp_path / "c", corpus, "train", {"training": {"early_stopping": False}}), 8).stop


def test_what_an_evaluation_writes(tmp_path, corpus, monkeypatch):
    """The mean of the training losses since the last one, state dicts when they are due; of other splits than dev nothing."""
    monkeypatch.setattr(progress, "draw", lambda rows, path: path.touch())
    expert = make(tmp_path, corpus, "train")
    for snr, losses in ((10, (1.0, 2.0)), (9, (5.0,))):
        for loss in losses:
            expert.log_records("train", {"loss": [loss]}, Log(), 1, [0], 1)
        clean = voice(np.random.default_rng(0), 0.5)
        records = {"loss": [0.5], "name": ["a"], "clean": [clean], "noisy": [clean], "enhanced": [(1 + 10 ** (-snr / 20)) * clean]}
        for split in ("test", "dev"):
            outcome = expert.log_records(split, records, Log(), 1, [0], 1)
            assert outcome.save_names == (["dev-best.ckpt"] if (split, snr) == ("dev", 10) else [])
    rows = (tmp_path / "training_logs/training_logs.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["train_loss", "1.5", "5.0"]
    assert sorted(path.name for path in (tmp_path / "ckpts").iterdir()) == ["best_model_state_dict.pth", "checkpoint_epoch_2"]


def test_what_is_asked_of_weights_holds_after_each_update(tmp_path):
    expert = make(tmp_path, changed={"training": {"regularization": {"weight_clipping_max": 0.05}}})
    expert.after_update()
    assert max(p.abs().max().item() for p in expert.model.parameters()) == pytest.approx(0.05)
    free = make(tmp_path)
    free.after_update()
    assert max(p.abs().max().item() for p in free.model.parameters()) > 0.5


def test_weights_of_a_plain_state_dict(tmp_path, corpus):
    donor = make(tmp_path)
    torch.save(donor.model.state_dict(), tmp_path / "weights.pth")
    torch.manual_seed(1)
    changed = {"model": {"state_dict_path": str(tmp_path / "weights.pth")}}
    alone = DownstreamExpert(257, 320, settings(**changed), str(tmp_path), mode="evaluate")
    fresh = DownstreamExpert(257, 320, settings(corpus, **changed), str(tmp_path), mode="train")
    first = next(iter(donor.model.state_dict()))
    assert torch.equal(alone.model.state_dict()[first], donor.model.state_dict()[first])
    assert not torch.equal(fresh.model.state_dict()[first], donor.model.state_dict()[first])
    fresh.begin_with(torch.nn.Identity())
    assert torch.equal(fresh.model.state_dict()[first], donor.model.state_dict()[first])
    DownstreamExpert(257, 320, settings(model={"state_dict_path": "gone"}), str(tmp_path), mode="evaluate", past_exp="x")


def test_recordings_keep_their_rate_and_channels(tmp_path, monkeypatch):
    """48 kHz in stereo: each channel is enhanced alone; nothing is shifted."""
    expert = make(tmp_path / "run", changed={"inference": {"spectrograms": True}}).eval()
    expert.model = torch.nn.Module()
    expert.model.forward = torch.ones_like  # a mask of ones
    time = np.arange(48001) / 48000
    samples = np.stack([0.3 * np.sin(2 * np.pi * 440 * time), 0.2 * np.sin(2 * np.pi * 1000 * time)], 1).astype(np.float32)
    save_audio(tmp_path / "stereo.wav", samples, 48000)
    for suffix in ("", "-2"):
        if suffix:
            monkeypatch.setattr(recordings, "draw_before_and_after", lambda *given: given[-1].write_bytes(bytes(6000)))
        wave = expert.load_audio(str(tmp_path / "stereo.wav"))
        assert expert.pieces(wave) == []
        (answer,) = expert.inference([], ["stereo"])
        path = Path(answer["enhanced"])
        assert path == tmp_path / "run/enhanced" / f"stereo{suffix}.wav"
        assert (answer["sample_rate"], answer["channels"]) == (48000, 2)
        assert Path(answer["spectrograms"]).stat().st_size > 5000
        found, rate = load_channels(path)
        assert (found.shape, rate) == ((48001, 2), 48000)
        assert np.abs(found - samples)[2000:-2000].max() < 2e-3


def test_recordings_that_are_too_short(tmp_path):
    expert = make(tmp_path).eval()
    save_audio(tmp_path / "short.wav", np.ones(100, np.float32), 16000)
    for wave in (expert.load_audio(str(tmp_path / "short.wav")), torch.ones(100)):
        expert.pieces(wave)
        with pytest.raises(DataError, match="100 samples are too few"):
            expert.inference([], ["short"])


@pytest.mark.parametrize("samples", [4799, 4800, 4801])
def test_a_recording_keeps_its_length(tmp_path, samples):
    """4,799 samples at 48 kHz are 1,600 at 16 kHz, and 4,800 again."""
    expert = make(tmp_path).eval()
    save_audio(tmp_path / "a.wav", np.full(samples, 0.1), 48000)
    expert.pieces(expert.load_audio(str(tmp_path / "a.wav")))
    (answer,) = expert.inference([], ["a"])
    assert audio_info(answer["enhanced"]).frames == samples


def test_a_waveform_without_a_file(tmp_path):
    """As ``predictor`` gives it; a file that was asked about before has nothing to do with it."""
    expert = make(tmp_path).eval()
    expert.model.forward = torch.ones_like
    save_audio(tmp_path / "before.wav", np.zeros(1000, np.float32), 8000)
    expert.pieces(expert.load_audio(str(tmp_path / "before.wav")))
    wave = torch.from_numpy(voice(np.random.default_rng(0), 0.5))
    expert.pieces(wave)
    (answer,) = expert.inference([], ["waveform"])
    found, rate = load_channels(answer["enhanced"])
    assert rate == 16000
    assert np.abs(found[:, 0] - wave.numpy()).max() < 1e-3


def run(place: Path, *words: str) -> int:
    return main([*words, "--device", "cpu", "-p", str(place)] if "-e" not in words else [*words, "--device", "cpu"])


@pytest.mark.slow
def test_a_user_s_network_is_named_anew_for_each_command(tmp_path, corpus, capsys, caplog):
    """The checkpoint does not name code."""
    (tmp_path / "mine.py").write_text(CUSTOM)
    more = "config.downstream_expert.model.model_type=Custom,,config.downstream_expert.model_specific={'gain': 2.0}"
    steps = "config.runner.total_steps=2,,config.runner.log_step=1,,config.runner.eval_step=2,,config.runner.save_step=2"
    quiet = "config.runner.tensorboard=False,,config.downstream_expert.training.num_dataloader_workers=0"
    words = ["-m", "train", "-u", "waveform", "-d", "speech_enhancement", "-c", str(stepped(tmp_path))]
    words += ["-o", f"{override(corpus).replace(SMALL, more)},,{steps},,{quiet}"]
    own = ["--model_file", str(tmp_path / "mine.py")]
    assert run(tmp_path / "run", *words) == 2
    assert "--model_file FILE names the Python file" in capsys.readouterr().err
    assert run(tmp_path / "run", *words, *own) == 0
    again = ["-m", "evaluate", "-t", "test", "-e", str(tmp_path / "run")]
    assert run(tmp_path / "run", *again) == 2
    assert "--model_file FILE names the Python file" in capsys.readouterr().err
    with caplog.at_level(logging.WARNING):
        assert run(tmp_path / "run", *again, *own) == 0
    assert "ignored" not in caplog.text
    result = json.loads((tmp_path / "run/results/states-2/test.json").read_text())
    assert result["scores"]["noisy_snr"]["value"] == pytest.approx(6, abs=3)
    lines = (tmp_path / "run/results/states-2/test-metrics.csv").read_text().splitlines()
    assert lines[0] == ",stoi,snr,si-snr,mse,name"
    assert [line.rpartition(",")[2] for line in lines[1:]] == ["p257_000", "p257_001"]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda root: (root / "clean_testset_wav/p257_000.wav").unlink(),
            "1 of .*noisy_testset_wav .such as p257_000. have no counterpart",
        ),
        (lambda root: save_audio(root / "clean_testset_wav/p257_000.flac", np.ones(100), 16000), "several formats"),
        (lambda root: save_audio(root / "clean_testset_wav/p257_000.wav", np.zeros(9000), 16000), "is silent|no pair"),
        (lambda root: save_audio(root / "noisy_testset_wav/p257_000.wav", np.ones(200), 16000), "they are no pair"),
        (lambda root: save_audio(root / "noisy_testset_wav/p257_000.wav", np.ones(5000), 8000), "is at 8000 Hz, below the 16000 Hz"),
    ],
)
def test_spoilt_corpora_are_one_sentence(tmp_path, spoil, sentence):
    root = valentini(tmp_path / "corpus", speakers=2, clips=1)
    spoil(root)
    expert = make(tmp_path, root).eval()
    with pytest.raises((DataError, ConfigError), match=sentence):
        list(expert.get_dataloader("test"))


def test_stereo_recordings_of_a_corpus_are_averaged(tmp_path):
    root = valentini(tmp_path / "corpus", speakers=2, clips=1)
    for side in ("noisy", "clean"):
        path = root / f"{side}_testset_wav/p257_000.wav"
        samples, rate = load_channels(path)
        save_audio(path, np.concatenate([samples, 0 * samples], 1), rate)
        assert audio_info(path).channels == 2
    halves = [
        expert.load(expert.corpus_of("test")[0])[1] for expert in (make(tmp_path, root), make(tmp_path, valentini(tmp_path / "b", 2, 1)))
    ]
    torch.testing.assert_close(2 * halves[0], halves[1], rtol=0, atol=1e-3)
