"""The expert against S3PRL's recorded outputs, and on small corpora."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from downstream.fluent_commands.expert import DownstreamExpert
from tests.downstream.fluent_commands.layouts import lay_out_barista, write_table, write_wavs
from tests.downstream.recorded import assert_recorded_logs, assert_recorded_step, params_of
from tests.support.corpora import synthetic
from utility.errors import ConfigError, DataError
from utility.experiment import checkpoint

HEAD = {"projector_dim": 8, "select": "UtteranceLevel", "UtteranceLevel": {"pooling": "MeanPooling"}}


def make(expdir: Path, root: Path | None = None, upstream_dim: int = 6, **kwargs: Any) -> DownstreamExpert:
    datarc = {"train_batch_size": 2, "eval_batch_size": 3, "num_workers": 0, **({"file_path": str(root)} if root else {})}
    return DownstreamExpert(upstream_dim, 160, {"datarc": datarc, "modelrc": HEAD}, str(expdir), **kwargs)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Three recordings of 8 kHz with two values in each slot."""
    rows = [(f"wavs/{n}.wav", ("bring", "get")[n > 0], ("juice", "none")[n > 1], ("kitchen", "none")[n % 2]) for n in range(3)]
    for name in ("train", "valid", "test"):
        write_table(tmp_path / "corpus", name, rows)
    write_wavs(tmp_path / "corpus", [row[0] for row in rows], rate=8000)
    return tmp_path / "corpus"


def test_recorded_step(golden, tmp_path: Path, capsys: pytest.CaptureFixture):
    folder = golden("tasks/heads/ic_mean")
    table = tmp_path / "corpus/data/train_data.csv"
    table.parent.mkdir(parents=True)
    table.write_text(params_of(folder)["data"]["csv"])
    expert = make(tmp_path / "run", tmp_path / "corpus", mode="evaluate")
    expert.load_state_dict(checkpoint.load(folder / "state.pt")["Downstream"], strict=False)
    assert_recorded_step(expert, folder, capsys)


def test_recorded_logs(golden, tmp_path: Path, capsys: pytest.CaptureFixture):
    make_here = partial(make, tmp_path / "run")
    assert_recorded_logs(make_here, golden("tasks/logs/log_records"), "fluent_commands", capsys, ("a", "b", "c"))


def test_a_checkpoint_of_another_corpus_is_refused(golden, small: Path, tmp_path: Path):
    state = checkpoint.load(golden("tasks/heads/ic_mean") / "state.pt")["Downstream"]
    with pytest.raises(DataError, match=r"train_data\.csv has 6 values, but the checkpoint 9 outputs"):
        make(tmp_path, small, mode="evaluate").load_state_dict(state, strict=False)
    with pytest.raises(ConfigError, match="field 'file_path' is missing"):
        make(tmp_path, mode="evaluate").load_state_dict(state, strict=False)


def test_shipped_configs(repo: Path, small: Path, tmp_path: Path):
    for name in ("config", "convolution"):
        config = yaml.safe_load((repo / f"downstream/fluent_commands/{name}.yaml").read_text())
        config["downstream_expert"]["datarc"]["file_path"] = str(small)
        expert = DownstreamExpert(240, 160, expdir=tmp_path, mode="train", **config)
        assert expert.logits([torch.randn(9, 240), torch.randn(20, 240)]).shape == (2, 6)


def test_batches(small: Path, tmp_path: Path):
    expert = make(tmp_path, small, mode="train", runner={"eval_dataloaders": ["dev", "test"]})
    assert expert.vocabularies == {"action": ["bring", "get"], "object": ["juice", "none"], "location": ["kitchen", "none"]}
    assert [len(names) for _, _, names in expert.get_dataloader("train")] == [2, 1]
    ((wavs, labels, names),) = expert.get_dataloader("test")
    assert [len(wav) for wav in wavs] == [3200] * 3
    assert (labels, names) == ([(0, 0, 0), (1, 0, 1), (1, 1, 0)], ["0", "1", "2"])


def test_a_checkpoint_answers_without_its_corpus(small: Path, tmp_path: Path):
    state = make(tmp_path, small, mode="train").state_dict()
    torch.save(state, tmp_path / "state.pt")
    expert = make(tmp_path, mode="inference")
    expert.eval().load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert not any(module.training for module in expert.modules())
    (answer,) = expert.inference([torch.randn(9, 6)], ["a.wav"])
    assert list(answer) == ["file", "action", "object", "location"]
    for slot in ("action", "object", "location"):
        assert set(answer[slot]["probabilities"]) == set(expert.vocabularies[slot])
        assert sum(answer[slot]["probabilities"].values()) == pytest.approx(1)
        assert answer[slot]["label"] == next(iter(answer[slot]["probabilities"]))


def test_a_resumed_training_on_other_tables_is_refused(small: Path, tmp_path: Path):
    state = make(tmp_path, small, mode="train").state_dict()
    write_table(small, "train", [("wavs/0.wav", "get", "juice", "none"), ("wavs/1.wav", "bring", "none", "kitchen")])
    with pytest.raises(ConfigError, match=r"other classes \(action, location\) than the one that the checkpoint"):
        make(tmp_path, small, mode="train").load_state_dict(state)


def test_evaluation_keeps_the_numbers_of_training(small: Path, tmp_path: Path):
    state = make(tmp_path, small, mode="train").state_dict()
    write_table(small, "train", [("wavs/0.wav", "get", "none", "none")])
    expert = make(tmp_path, small, mode="evaluate")
    expert.load_state_dict(state)
    ((_, labels, _),) = expert.get_dataloader("test")
    assert labels == [(0, 0, 0), (1, 0, 1), (1, 1, 0)]


def test_the_corpus_is_checked_when_training_begins(small: Path, tmp_path: Path):
    (small / "data/test_data.csv").unlink()
    make(tmp_path, small, mode="train", runner={"eval_dataloaders": ["dev"]})
    with pytest.raises(DataError, match="test_data"):
        make(tmp_path, small, mode="train", runner={"eval_dataloaders": ["dev", "test"]})


def test_synthetic_corpus(tmp_path: Path):
    root = synthetic("fluent_commands", tmp_path) / "fluent_speech_commands_dataset"
    expert = make(tmp_path / "run", root, mode="train", runner={"eval_dataloaders": ["dev", "test"]})
    assert [len(values) for values in expert.vocabularies.values()] == [6, 14, 4]
    for split in ("train", "dev", "test"):
        assert len({recording.label for recording in expert.corpus_of(split)}) == 31


def test_real_orders(shared: Path, tmp_path: Path):
    """Coffee orders, whose drink, size and roast stand for the three slots."""
    expert = make(tmp_path / "run", lay_out_barista(shared / "data/slu_barista", tmp_path / "corpus"), mode="train")
    assert len(expert.corpus_of("test")) == 52
    wavs, labels, _ = next(iter(expert.get_dataloader("test")))
    assert all(len(wav) > 4 * 16000 for wav in wavs)
    assert all(len(label) == 3 for label in labels)
