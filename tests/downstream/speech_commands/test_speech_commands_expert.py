"""The expert against S3PRL's recorded outputs, and on small real and synthetic corpora."""

from __future__ import annotations

import json
import pickle
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from downstream.speech_commands.corpus import CLASSES
from downstream.speech_commands.expert import DownstreamExpert
from downstream.speech_commands.model import Model
from utility.errors import ConfigError, DataError, UnknownNameError
from utility.experiment import checkpoint


class Log(list):
    def add_scalar(self, tag: str, value: float, global_step: int) -> None:
        self.append([tag, value, global_step])


def make(expdir: Path, datarc: dict[str, Any] | None = None, modelrc: dict[str, Any] | None = None, **kwargs: Any) -> DownstreamExpert:
    downstream_expert = {
        "datarc": {"batch_size": 4, "num_workers": 0, **(datarc or {})},
        "modelrc": modelrc or {"projector_dim": 8, "select": "UtteranceLevel", "UtteranceLevel": {"pooling": "MeanPooling"}},
    }
    return DownstreamExpert(kwargs.pop("upstream_dim", 6), 160, downstream_expert, str(expdir), **kwargs)


@pytest.mark.parametrize("case", ["ks_mean", "ks_attentive"])
def test_recorded_step(golden, tmp_path: Path, capsys: pytest.CaptureFixture, case: str):
    folder = golden(f"tasks/heads/{case}")
    params, expected = (json.loads((folder / f"{name}.json").read_text()) for name in ("params", "outputs"))
    saved = checkpoint.load(folder / "state.pt")
    modelrc = saved["Config"]["downstream_expert"]["modelrc"]
    modelrc["UtteranceLevel"]["published"] = "attentive" in case
    expert = make(tmp_path, modelrc=modelrc)
    expert.load_state_dict(saved["Downstream"])
    arrays, outputs = np.load(folder / "inputs.npz"), np.load(folder / "outputs.npz")
    features = [torch.from_numpy(arrays[f"feat_{item}"]) for item in range(params["n"])]

    np.testing.assert_allclose(expert.logits(features).detach(), outputs["logits"], rtol=1e-4, atol=1e-5)
    records: dict[str, list] = defaultdict(list)
    loss = expert(params["split"], features, params["labels"], [f"utt{item}" for item in range(3)], records=records)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(expert.parameters(), 1e9)
    np.testing.assert_allclose([loss.item(), norm.item()], [outputs["loss"], outputs["grad_norm"]], rtol=1e-4)
    assert records.pop("loss") == pytest.approx(expected["records"].pop("loss"), rel=1e-4)
    assert records == expected["records"]

    records["loss"] = [loss.item()]
    log = Log()
    outcome = expert.log_records(params["split"], records, log, 10, [0], 1)
    assert capsys.readouterr().out == expected["printed_by_log_records"]
    assert outcome.save_names == expected["save_names"]
    assert expert.best_score.item() == pytest.approx(expected["best_score_after"])
    assert [(tag, step) for tag, _, step in log] == [(tag, step) for tag, _, step in expected["tensorboard_scalars"]]
    assert [value for _, value, _ in log] == pytest.approx([value for _, value, _ in expected["tensorboard_scalars"]], rel=1e-4)
    for file in (folder / "outputs_files").iterdir():
        assert (tmp_path / file.name).read_text() == file.read_text()


def test_recorded_logs(golden, tmp_path: Path, capsys: pytest.CaptureFixture):
    folder = golden("tasks/logs/log_records")
    sequence = json.loads((folder / "params.json").read_text())["sequence"]
    expected = json.loads((folder / "outputs.json").read_text())["speech_commands"]
    expert = make(tmp_path)
    for entry, wanted in zip(sequence, expected, strict=True):
        names = [f"f{item}" for item in range(len(entry["correct"]))]
        records = {"acc": entry["correct"], "loss": [entry["loss"]], "filename": names, "predict": ["x"] * 7, "truth": ["x"] * 7}
        outcome = expert.log_records(entry["split"], records, Log(), entry["step"], [0], 1)
        assert (outcome.save_names, capsys.readouterr().out) == (wanted["save_names"], wanted["printed"])
    files = list((folder / "outputs_files/speech_commands").iterdir())
    assert len(files) == 7
    for file in files:
        assert (tmp_path / file.name).read_text() == file.read_text()


def test_recorded_legacy_model(golden):
    folder = golden("tasks/heads/speech_commands_legacy_model")
    model = Model(**json.loads((folder / "params.json").read_text())["kwargs"])
    model.load_state_dict(torch.load(folder / "state.pt", weights_only=True))
    features = torch.from_numpy(np.load(folder / "inputs.npz")["x"])
    logits, _ = model(features, torch.full((len(features),), features.size(1)))
    np.testing.assert_allclose(logits.detach(), np.load(folder / "outputs.npz")["y0"], rtol=1e-4, atol=1e-5)


def test_legacy_model_can_be_selected(tmp_path: Path):
    expert = make(tmp_path, modelrc={"projector_dim": 8, "select": "Model", "Model": {"hidden_dim": 5}})
    assert expert.logits([torch.randn(9, 6), torch.randn(3, 6)]).shape == (2, 12)


def test_shipped_config(repo: Path, tmp_path: Path):
    config = yaml.safe_load((repo / "downstream/speech_commands/config.yaml").read_text())
    expert = DownstreamExpert(240, 160, expdir=tmp_path, mode="evaluate", **config)
    assert sum(parameter.numel() for parameter in expert.parameters()) == 240 * 256 + 256 + 256 * 12 + 12


def epoch(expert: DownstreamExpert, split: str) -> Counter:
    return Counter(CLASSES[label] for _, labels, _ in expert.get_dataloader(split) for label in labels)


def test_real_digits(fsdd, tmp_path: Path):
    expert = make(tmp_path, fsdd.datarc)
    assert len(expert.corpus_of("train")) == 2 * 60 + 2
    assert len(expert.corpus_of("dev")) == 60 + 2
    torch.manual_seed(0)
    drawn = epoch(expert, "train")
    assert sum(drawn.values()) == 120  # the last, incomplete batch is dropped
    assert len(drawn) == 10
    assert max(drawn.values()) < 30
    assert epoch(expert, "test") == {**dict.fromkeys(CLASSES[:8], 6), "_unknown_": 12, "_silence_": 6}
    wavs, _, names = next(iter(expert.get_dataloader("test")))
    assert {wav.ndim for wav in wavs} == {1}
    assert names == sorted(names)


def test_exhaustive_dev(fsdd, tmp_path: Path):
    expert = make(tmp_path, {**fsdd.datarc, "balanced_dev": False})
    assert epoch(expert, "dev") == {**dict.fromkeys(CLASSES[:8], 6), "_unknown_": 12, "_silence_": 6}
    first, second = ([wav for wavs, _, _ in expert.get_dataloader("dev") for wav in wavs] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_very_short_clips(mini, tmp_path: Path):
    expert = make(tmp_path, mini.datarc)
    lengths = sorted(len(wav) for wavs, _, _ in expert.get_dataloader("test") for wav in wavs)
    assert lengths == [480, 480, 16000, 16000, 16000]


def test_fewer_clips_than_a_batch_are_a_batch(mini, tmp_path: Path):
    assert [len(labels) for _, labels, _ in make(tmp_path, {**mini.datarc, "batch_size": 64}).get_dataloader("train")] == [5]


def test_synthetic_corpus(synthetic, tmp_path: Path):
    expert = make(tmp_path, synthetic.datarc, mode="train", runner={"eval_dataloaders": ["dev", "test"]})
    for split in ("train", "dev", "test"):
        assert {clip.label for clip in expert.corpus_of(split)} == set(range(12))
    wavs, labels, names = next(iter(expert.get_dataloader("train")))
    assert len(wavs) == len(labels) == len(names) == 4


def test_records_grow_with_plain_values(tmp_path: Path):
    expert = make(tmp_path)
    records: dict[str, list] = defaultdict(list)
    before = dict(vars(expert))
    for _ in range(2):
        expert("dev", [torch.randn(4, 6), torch.randn(9, 6)], [0, 11], ["a", "b"], records=records)
    assert {name: len(values) for name, values in records.items()} == {"loss": 2, "acc": 4, "filename": 4, "predict": 4, "truth": 4}
    assert {type(value) for values in records.values() for value in values} == {float, str}
    assert dict(vars(expert)) == before
    assert records["truth"] == ["yes", "_silence_"] * 2


def test_state_is_plain_and_names_the_classes(tmp_path: Path):
    expert, other = make(tmp_path), make(tmp_path)
    expert.best_score.fill_(0.5)
    torch.save(expert.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["_extra_state"] == {"vocabularies": {"word": list(CLASSES)}}
    other.load_state_dict(state)
    assert other.best_score.item() == 0.5
    assert other.vocabularies == {"word": list(CLASSES)}


def test_results_go_to_their_folder(tmp_path: Path):
    expert = make(tmp_path / "run", results_dir=tmp_path / "run/results/dev-best")
    expert.log_records("test", {"acc": [1.0], "loss": [0.1], "filename": ["a"], "predict": ["go"], "truth": ["go"]}, Log(), 0, [0], 1)
    assert sorted(path.name for path in (tmp_path / "run/results/dev-best").iterdir()) == ["log.log", "test_predict.txt", "test_truth.txt"]
    assert (tmp_path / "run/results/dev-best/test_predict.txt").read_text() == "a go\n"


def test_inference(tmp_path: Path):
    (answer,) = make(tmp_path).inference([torch.randn(9, 6)], ["a.wav"])
    assert answer["file"] == "a.wav"
    assert set(answer["probabilities"]) == set(CLASSES)
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)


def test_recordings_are_read_as_in_training(mini, tmp_path: Path):
    expert = make(tmp_path, mini.datarc)
    wav = expert.load_audio(str(mini.test_root / "yes/yes_1000ms.wav"))
    assert any(np.array_equal(wav, other) for wavs, _, _ in expert.get_dataloader("test") for other in wavs)


def test_corpora_are_checked_when_training_begins(tmp_path: Path, mini):
    missing = {"speech_commands_root": str(mini.root), "speech_commands_test_root": str(tmp_path / "nowhere")}
    make(tmp_path, missing, mode="train", runner={"eval_dataloaders": ["dev"]})
    make(tmp_path, missing, mode="inference", runner={"eval_dataloaders": ["dev", "test"]})
    with pytest.raises(DataError, match="speech_commands_test_root"):
        make(tmp_path, missing, mode="train", runner={"eval_dataloaders": ["dev", "test"]})


@pytest.mark.parametrize(
    ("datarc", "error", "sentence"),
    [
        ({"speech_command_root": "x"}, ConfigError, "did you mean 'speech_commands_root'"),
        ({}, ConfigError, "field 'speech_commands_root' is missing"),
    ],
)
def test_wrong_fields(tmp_path: Path, datarc: dict, error: type, sentence: str):
    with pytest.raises(error, match=sentence):
        make(tmp_path, datarc, mode="train")


def test_unknown_split(tmp_path: Path):
    with pytest.raises(UnknownNameError, match="unknown split 'tset'; did you mean 'test'"):
        make(tmp_path).get_dataloader("tset")


def test_head_that_gives_frames_is_refused(tmp_path: Path):
    with pytest.raises(UnknownNameError, match="UtteranceLevel"):
        make(tmp_path, modelrc={"projector_dim": 8, "select": "FrameLevel"})


def test_dataset_travels_to_workers(mini, tmp_path: Path):
    dataset = make(tmp_path, mini.datarc).get_dataloader("test").dataset
    assert pickle.loads(pickle.dumps(dataset)).clips == dataset.clips
