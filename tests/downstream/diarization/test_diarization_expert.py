"""The expert: configs, frames of any rate, long recordings, and the printed commands from training to score."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from downstream.diarization.dataset import Framing
from downstream.diarization.expert import DownstreamExpert
from downstream.diarization.model import Model
from downstream.diarization.pit import pit_loss
from downstream.diarization.predictions import write_scoring
from downstream.diarization.windows import joined, turns_with_times, windows
from preprocess.kaldi_folder import Recording, Turn, write_kaldi_folder
from run_downstream import main
from tests.downstream.diarization.by_hand import der_by_hand
from tests.downstream.diarization.layouts import SMALL_MODEL, kaldi_folders, librimix, override, real_folder
from tests.downstream.diarization.to_beat import constant
from tests.support.pipelines import noises, untrained
from utility import tune_diarization
from utility.audio.io import save_audio
from utility.errors import ConfigError, DataError, UnknownNameError
from utility.metrics.diarization_tuning import Setting, grid


def make(
    expdir: Path, datarc: dict | None = None, loaderrc: dict | None = None, modelrc: dict | None = None, **more: Any
) -> DownstreamExpert:
    config = {
        "datarc": {"chunk_size": 20, **(datarc or {})},
        "loaderrc": {"train_batchsize": 2, "eval_batchsize": 1, **(loaderrc or {})},
        "modelrc": {"hidden_size": 4, **(modelrc or {})},
    }
    return DownstreamExpert(6, more.pop("rate", 160), config | more.pop("config", {}), str(expdir), **more)


@pytest.mark.parametrize(("name", "parameters"), [("config", 4 * 512 * (240 + 512 + 2) + 2 * 513), ("spectral", 476_002)])
def test_shipped_configs(repo: Path, tmp_path: Path, name: str, parameters: int):
    config = yaml.safe_load((repo / f"downstream/diarization/{name}.yaml").read_text())
    expert = DownstreamExpert(240, 160, expdir=tmp_path, mode="evaluate", **config)
    assert sum(parameter.numel() for parameter in expert.parameters()) == parameters


def test_null_is_the_default(tmp_path: Path):
    given = dict.fromkeys(("frame_shift", "subsampling", "label_delay", "num_speakers", "rate", "published", "allow_pipes"))
    assert make(tmp_path, given).framing == make(tmp_path).framing


def test_names_of_parameters_are_s3prls(tmp_path: Path):
    lstm = [f"model.rnn.{kind}_l0" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    assert set(make(tmp_path).state_dict()) == {"best_score", *lstm, "model.linear.weight", "model.linear.bias", "_extra_state"}
    assert set(dict(make(tmp_path, modelrc={"rnn_layers": 0}).named_parameters())) == {"model.linear.weight", "model.linear.bias"}


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"datarc": {"chunk_sise": 1}}, ConfigError, "datarc: unknown field 'chunk_sise'; did you mean 'chunk_size'"),
        ({"datarc": {"chunk_size": None}}, ConfigError, "datarc: field 'chunk_size' is missing"),
        ({"modelrc": {"hidden_size": None}}, ConfigError, "hidden_size must be a whole number of at least 1, not None"),
        ({"loaderrc": {"num_workers": None}}, ConfigError, "num_workers must be a whole number of at least 0, not None"),
        ({"config": {"modelrc": None}}, ConfigError, "modelrc is None, not a section"),
        ({"mode": "train", "loaderrc": {"train_dir": 7}}, ConfigError, "train_dir must be a text, not 7"),
        ({"datarc": {"chunk_size": 0}}, ConfigError, "chunk_size must be a whole number of at least 1, not 0"),
        ({"datarc": {"label_delay": 3}}, ConfigError, "label_delay must be 0"),
        ({"datarc": {"num_speakers": 9}}, ConfigError, "num_speakers must be 6 at most"),
        ({"datarc": {"allow_pipes": "yes"}}, ConfigError, "allow_pipes must be True or False"),
        ({"loaderrc": {"eval_batchsize": 1.5}}, ConfigError, "eval_batchsize must be a whole number"),
        ({"modelrc": {"rnn_layer": 1}}, ConfigError, "modelrc: unknown field 'rnn_layer'; did you mean 'rnn_layers'"),
        ({"modelrc": {"rnn_layers": -1}}, ConfigError, "rnn_layers must be a whole number of at least 0, not -1"),
        ({"modelrc": {"bidirectional": 1}}, ConfigError, "bidirectional must be True or False, not 1"),
        ({"modelrc": {"dropout": 7}}, ConfigError, "modelrc: dropout must be a number from 0 to 1, not 7"),
        ({"modelrc": {"convolution": {"chanels": [8]}}}, ConfigError, "convolution: unknown field 'chanels'; did you mean 'channels'"),
        ({"modelrc": {"convolution": {"channels": 8}}}, ConfigError, "channels must be a list, each item of it a whole number .*, not 8"),
        ({"modelrc": {"convolution": {"projector_dim": 0}}}, ConfigError, "projector_dim must be a whole number of at least 1, not 0"),
        ({"modelrc": {"convolution": True}}, ConfigError, "convolution must be a section of fields, not True"),
        ({"modelrc": {"convolution": {"kernel_size": 4}}}, ConfigError, "Convolution: kernel_size must be odd, not 4"),
        ({"config": {"scorerc": {"predictions": "hdf"}}}, UnknownNameError, "unknown format of scorerc.predictions 'hdf'"),
        ({"config": {"datarcs": {}}}, ConfigError, "unknown field 'datarcs'"),
        ({"mode": "train"}, ConfigError, "field 'train_dir' is missing"),
        ({"mode": "train", "loaderrc": {"train_dir": "nowhere"}}, DataError, r"loaderrc.train_dir: folder nowhere does not exist"),
    ],
)
def test_configs_that_cannot_be_meant(tmp_path: Path, given: dict, error: type, says: str):
    with pytest.raises(error, match=says):
        make(tmp_path, **given)


@pytest.mark.parametrize(
    ("rate", "shift", "first"), [(160, 160, [0, 1, 2]), (320, 160, [0, 0, 1]), (160, 320, [1, 3, 5]), (160, 400, [1, 3, 6])]
)
def test_labels_see_the_features_of_their_time(rate: int, shift: int, first: list[int]):
    """A model that repeats its input shows which frame of features each label sees."""
    model = Model(1, 1, rnn_layers=0)
    model.linear.weight.data.fill_(1)
    model.linear.bias.data.zero_()
    seen = model([torch.arange(10.0).unsqueeze(1)], [12], rate, shift)
    assert seen.flatten()[:3].tolist() == first
    assert seen.shape == (1, 12, 1)
    if rate * 10 < shift * 12:
        assert seen.flatten()[-1] == 9


@pytest.mark.parametrize(
    "modelrc", [{}, {"bidirectional": True, "rnn_layers": 2}, {"convolution": {"channels": [5]}, "bidirectional": True}]
)
def test_an_answer_does_not_depend_on_its_batch(tmp_path: Path, modelrc: dict):
    expert = make(tmp_path, modelrc=modelrc).eval()
    long, short = torch.randn(20, 6), torch.randn(12, 6)
    together = expert.logits([long, short], [20, 12])
    assert torch.allclose(together[1, :12], expert.logits([short], [12])[0], atol=1e-5)


@torch.no_grad()
def test_probabilities_do_not_depend_on_their_batch(repo: Path, tmp_path: Path):
    """S3PRL's rule of lengths leaves up to two frames of padding in all but the longest: 186 frames in place of 185, 100 in place of 98.

    Labels beyond the last frame see that one.
    """
    pipeline = untrained("diarization", tmp_path, "-c", str(repo / "downstream/diarization/spectral.yaml"))
    wavs = noises(30400, 29600, 16000)
    together, labels = defaultdict(list), [torch.zeros(len(wav) // 800, 2) for wav in wavs]
    features = pipeline.extract(wavs)
    assert [len(feature) for feature in features] == [188, 183, 98]
    pipeline.downstream("dev", features, labels, [("a", 0)] * 3, records=together)
    for wav, own, found in zip(wavs, labels, together["probabilities"], strict=True):
        alone = defaultdict(list)
        pipeline.downstream("dev", pipeline.extract([wav]), [own], [("a", 0)], records=alone)
        assert found.shape == own.shape
        np.testing.assert_allclose(found, alone["probabilities"][0], rtol=1e-5, atol=1e-6)


def test_s3prls_predictions_come_with_s3prls_frames(tmp_path: Path):
    assert [make(tmp_path, {"published": published}).length_rule for published in (False, True)] == ["own", "round"]


def test_the_order_of_speakers_does_not_matter():
    logits, labels = torch.randn(2, 9, 3), (torch.rand(2, 9, 3) > 0.5).float()
    lengths = torch.tensor([9, 5])
    loss, ordered = pit_loss(logits, labels, lengths)
    other, same = pit_loss(logits, labels[..., [2, 0, 1]], lengths)
    assert torch.allclose(loss, other)
    assert torch.equal(ordered, same)


def test_long_recordings_keep_their_speakers():
    """Two speakers in turn; every window after the first has them in the other order."""
    truth = np.zeros((50, 2))
    truth[0:15, 0] = truth[12:32, 1] = truth[30:50, 0] = 0.9
    ranges = list(windows(50, 20, 10))
    assert ranges == [(0, 20), (10, 30), (20, 40), (30, 50)]
    outputs = [truth[a:b] if index == 0 else truth[a:b, ::-1] for index, (a, b) in enumerate(ranges)]
    assert np.allclose(joined(outputs, 10), truth)
    assert turns_with_times(joined(outputs, 10), Setting(), 0.1) == [
        {"speaker": "speaker 1", "start": 0.0, "end": 1.5},
        {"speaker": "speaker 2", "start": 1.2, "end": 3.2},
        {"speaker": "speaker 1", "start": 3.0, "end": 5.0},
    ]
    assert list(windows(20, 20, 10)) == [(0, 20)]
    assert list(windows(21, 20, 10)) == [(0, 20), (10, 21)]


def test_the_choice_travels_with_the_checkpoint(tmp_path: Path):
    expert = make(tmp_path)
    expert.chosen = Setting(0.3, 11)
    other = make(tmp_path)
    other.load_state_dict(expert.state_dict())
    assert other.chosen == Setting(0.3, 11)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny synthetic corpus."""
    return kaldi_folders("tiny", tmp_path_factory.mktemp("tiny"))


RUN = (
    "config.runner.total_steps=4,,config.runner.eval_step=4,,config.runner.save_step=4,,config.runner.log_step=4,,config.runner.tensorboard=False,,"
    "config.runner.gradient_accumulate_steps=1,,config.downstream_expert.loaderrc.num_workers=0,,config.downstream_expert.loaderrc.train_batchsize=4,,"
    f"config.downstream_expert.datarc.chunk_size=400,,{SMALL_MODEL}"
)


@pytest.fixture(scope="module")
def trained(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment of four updates, evaluated on test."""
    folder = tmp_path_factory.mktemp("run")
    words = ["-m", "train", "-u", "fbank", "-d", "diarization", "-p", str(folder), "--device", "cpu", "-o", f"{RUN},,{override(folders)}"]
    assert main(words) == 0
    assert main(["-m", "evaluate", "-t", "test", "-e", str(folder / "best-states-dev.ckpt"), "--device", "cpu"]) == 0
    return folder


def test_scores_of_an_experiment(repo: Path, folders: Path, trained: Path):
    """score.sh and report.sh print what the result file has, from the same turns rounded to milliseconds."""
    scripts = repo / "downstream/diarization"
    environment = {"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"}
    done = [
        subprocess.run([scripts / name, *map(str, words)], capture_output=True, text=True, check=True, env=environment)
        for name, words in (("score.sh", (trained, folders / "test")), ("report.sh", (trained,)))
    ]
    assert done[0].stdout == done[1].stdout
    lines = done[0].stdout.splitlines()
    scores = json.loads((trained / "results/best-states-dev/test.json").read_text())["scores"]
    assert lines[0].startswith("chosen on dev (threshold ")
    assert float(lines[0].split()[-1]) == pytest.approx(100 * scores["der"]["value"], abs=0.05)
    assert float(lines[-1].split()[-1]) == pytest.approx(100 * scores["der_best"]["value"], abs=0.05)
    assert (trained / "frame_shift").read_text() == "160\n"
    assert subprocess.run([scripts / "score.sh", str(trained)], env=environment, capture_output=True).returncode == 2


def test_a_choice_made_afterwards(folders: Path, trained: Path, capsys):
    assert main(["-m", "evaluate", "-t", "dev", "-e", str(trained / "best-states-dev.ckpt"), "--device", "cpu"]) == 0
    capsys.readouterr()
    results = []
    for more in ([], ["--dev", str(folders / "dev")]):
        assert tune_diarization.main([str(trained), str(folders / "test"), *more]) == 0
        results.append(capsys.readouterr().out.splitlines()[0])
    assert results[0] == results[1]


def test_predictions_have_the_frames_of_the_recordings(folders: Path, trained: Path):
    durations = dict(line.split() for line in (folders / "test/reco2dur").read_text().splitlines())
    predictions = sorted((trained / "results/best-states-dev/scoring/predictions").iterdir())
    assert [path.stem for path in predictions] == sorted(durations)
    for path in predictions:
        assert np.load(path).shape == (int(float(durations[path.stem]) * 100), 2)


def test_audio_of_every_split_is_there_when_the_training_begins(folders: Path, tmp_path: Path):
    data = Path(shutil.copytree(folders, tmp_path / "data"))
    loaderrc = {f"{split}_dir": str(data / split) for split in ("train", "dev", "test")}
    more = {"loaderrc": loaderrc, "mode": "train", "runner": {"eval_dataloaders": ["dev", "test"]}}
    make(tmp_path / "run", **more)
    scp = data / "test/wav.scp"
    scp.write_text(re.sub(r"([^/\n]+)\n$", r"gone-\1\n", scp.read_text()))
    with pytest.raises(DataError, match=r"test_dir: .* 1 of which do not exist, such as /.*/gone-[^/]*\.wav"):
        make(tmp_path / "run", **more)
    make(tmp_path / "run", **more | {"runner": {"eval_dataloaders": ["dev"]}})


def test_a_recording_of_less_than_a_frame_is_missed(tmp_path: Path, capsys: pytest.CaptureFixture):
    """By the evaluation as by score.sh: nine tenths of a second of 3.9, where a frame has a second."""
    recordings = []
    for name, seconds in (("a", 3), ("b", 0.9)):
        save_audio(tmp_path / f"{name}.wav", np.full(int(seconds * 16000), 0.1), 16000)
        recordings.append(Recording(name, tmp_path / f"{name}.wav", seconds, (Turn(0, seconds, f"speaker-{name}"),)))
    write_kaldi_folder(tmp_path / "data", recordings)
    expert = make(tmp_path / "run", {"frame_shift": 16000}, {"test_dir": str(tmp_path / "data")}, results_dir=tmp_path / "run/results/x")
    assert len(expert.get_dataloader("test").dataset) == 1
    records = {"acc": [1.0], "der": [0.0], "loss": [0.1], "probabilities": [np.array([[0.9, 0.1]] * 3)], "places": [("a", 0)]}
    scores = expert.log_records("test", records, SimpleNamespace(add_scalar=lambda *_, **__: None), 0, [0], 1).scores
    assert scores["der"].value == scores["der_best"].value == pytest.approx(0.9 / 3.9)
    assert tune_diarization.main([str(tmp_path / "run"), str(tmp_path / "data")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("23.08")


def test_predictions_go_once_others_are_written(tmp_path: Path):
    folder, framing = tmp_path / "scoring/predictions", Framing(16000, 160, 20, 2)
    write_scoring(tmp_path, "test", {"a": np.zeros((3, 2)), "b": np.zeros((3, 2))}, framing, None, "npy")
    with pytest.raises(FileNotFoundError):
        write_scoring(tmp_path, "test", {"b": np.ones((3, 2)), "c/d": np.ones((3, 2))}, framing, None, "npy")
    assert {path.name: np.load(path).sum() for path in folder.iterdir()} == {"a.npy": 0, "b.npy": 0}
    write_scoring(tmp_path, "test", {"b": np.ones((3, 2))}, framing, None, "npy")
    assert {path.name: np.load(path).sum() for path in folder.iterdir()} == {"b.npy": 6}
    assert sorted(path.name for path in folder.parent.iterdir()) == ["predictions", "settings.yaml"]


def test_scores_of_real_mixtures_are_those_counted_by_hand(shared: Path, tmp_path: Path):
    """The 32 mixtures and their RTTM; a system that hears both speakers, through noise, and calls them one way or the other."""
    data, rng = librimix(shared, tmp_path / "librimix"), np.random.default_rng(0)
    expert = make(tmp_path / "run", {"frame_shift": 800, "chunk_size": 600}, {"test_dir": str(data)})
    expert.chosen = Setting(0.4, 11)
    recordings, framing = expert.corpus_of("test"), expert.framing
    labels = {own.name: framing.labels(own, 0, framing.frames_in(own)) for own in recordings}
    heard = {name: (0.3 + 0.4 * own + rng.normal(0, 0.4, own.shape))[:, rng.permutation(2)] for name, own in labels.items()}
    records = {"acc": [1.0], "der": [0.0], "loss": [0.1], "probabilities": list(heard.values()), "places": [(name, 0) for name in heard]}
    scores = expert.log_records("test", records, SimpleNamespace(add_scalar=lambda *_, **__: None), 0, [0], 1).scores
    counted = {own: der_by_hand({r.name: r.by_speaker for r in recordings}, heard, 50, own.threshold, own.median) for own in grid()}
    assert len(list((tmp_path / "run/scoring/predictions").iterdir())) == 32
    assert scores["der"].value == pytest.approx(counted[Setting(0.4, 11)], abs=1e-6)
    assert scores["der_best"].value == pytest.approx(min(counted.values()), abs=1e-6)
    assert 0.05 < scores["der_best"].value < scores["der"].value < constant(data).best


def test_turns_of_real_recordings(shared: Path, trained: Path, tmp_path: Path):
    """Meetings of half a minute, longer than a chunk, and a mixture; times lie within the recording."""
    output, files = tmp_path / "turns.jsonl", [shared / "data/ami_snippets/dev00.wav", shared / "data/emodb/SOURCE.txt"]
    words = ["-m", "inference", "-t", str(files[0]), "-e", str(trained / "best-states-dev.ckpt"), "--device", "cpu"]
    assert main([*words, "--output", str(output)]) == 0
    (answer,) = [json.loads(line) for line in output.read_text().splitlines()]
    assert {"threshold", "median", "turns", "speakers", "file"} <= set(answer)
    for turn in answer["turns"]:
        assert 0 <= turn["start"] < turn["end"] <= 30.01


def test_real_meetings_have_too_many_speakers(shared: Path, tmp_path: Path):
    """They are refused by a model of two speakers, in one sentence, and read by one of four."""
    audio = {name: shared / f"data/ami_snippets/{name}.wav" for name in ("trn04", "trn07", "trn08")}
    folder = real_folder(audio, [shared / "data/ami_snippets/debug.train.rttm"], tmp_path / "ami")
    with pytest.raises(DataError, match="speakers, more than num_speakers"):
        make(tmp_path, loaderrc={"train_dir": str(folder)}).corpus_of("train")
    expert = make(tmp_path, {"num_speakers": 4, "chunk_size": 1000}, {"train_dir": str(folder)})
    batch = next(iter(expert.get_dataloader("train")))
    assert [len(wav) for wav in batch[0]] == [160000, 160000]
    assert {labels.shape for labels in batch[1]} == {(1000, 4)}
