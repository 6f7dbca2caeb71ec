"""The expert against S3PRL's recorded outputs, its cuts, and real speakers."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from downstream.voxceleb1.corpus import CACHE
from downstream.voxceleb1.expert import DownstreamExpert
from tests.downstream.recorded import assert_recorded_logs, assert_recorded_step
from tests.downstream.voxceleb1.layouts import Layout, emodb_speakers, lay_out_speakers, synthetic, timit_speakers, write_corpus
from utility.errors import ConfigError, DataError
from utility.experiment import checkpoint

HEAD = {"projector_dim": 8, "select": "UtteranceLevel", "UtteranceLevel": {"pooling": "MeanPooling"}}
LINES = ["1 id10002/v/00001.wav", "1 id10009/v/00001.wav", "2 id10002/v/00002.wav", "3 id10009/v/00002.wav"]


def make(expdir: Path, layout: Layout | None = None, datarc: dict | None = None, **kwargs: Any) -> DownstreamExpert:
    fields = {"train_batch_size": 2, "eval_batch_size": 1, "num_workers": 0, **(layout.datarc if layout else {}), **(datarc or {})}
    return DownstreamExpert(6, 160, {"datarc": fields, "modelrc": HEAD}, str(expdir), **kwargs)


@pytest.fixture
def small(tmp_path: Path) -> Layout:
    """Two speakers with ten seconds at 8 kHz each time."""
    return write_corpus(tmp_path, [f"dev/wav/{line.split()[1]}" for line in LINES], LINES, samples=80000, rate=8000)


def test_recorded_step(golden, tmp_path: Path, capsys: pytest.CaptureFixture):
    folder = golden("tasks/heads/sid_mean")
    expert = make(tmp_path / "run")
    expert.load_state_dict(checkpoint.load(folder / "state.pt")["Downstream"], strict=False)
    assert len(expert.vocabularies["speaker"]) == 1251
    assert_recorded_step(expert, folder, capsys)


def test_recorded_logs(golden, tmp_path: Path, capsys: pytest.CaptureFixture):
    assert_recorded_logs(partial(make, tmp_path / "run"), golden("tasks/logs/log_records"), "voxceleb1", capsys)


def test_shipped_configs(repo: Path, small: Layout, tmp_path: Path):
    for name in ("config", "convolution"):
        config = yaml.safe_load((repo / f"downstream/voxceleb1/{name}.yaml").read_text())
        config["downstream_expert"]["datarc"] |= small.datarc
        expert = DownstreamExpert(240, 160, expdir=tmp_path, mode="train", **config)
        assert expert.logits([torch.randn(9, 240), torch.randn(20, 240)]).shape == (2, 2)


def test_batches(small: Layout, tmp_path: Path):
    expert = make(tmp_path / "run", small, mode="train", runner={"eval_dataloaders": ["dev", "test"]})
    assert (tmp_path / "run" / CACHE).is_file()
    ((wavs, labels, names),) = expert.get_dataloader("train")
    assert [len(wav) for wav in wavs] == [128000] * 2
    assert sorted(zip(labels, names, strict=True)) == [(0, "id10002-v-00001"), (1, "id10009-v-00001")]
    ((wavs, labels, names),) = expert.get_dataloader("test")
    assert [len(wav) for wav in wavs] == [160000]
    assert (labels, names) == ([1], ["id10009-v-00002"])


@pytest.mark.parametrize("rate", [16000, 8000])
def test_parts_for_training_are_random_and_contiguous(tmp_path: Path, rate: int):
    layout = write_corpus(tmp_path, ["dev/wav/id10001/v/1.wav"], ["1 id10001/v/1.wav"], samples=rate * 2, rate=rate)
    dataset = make(tmp_path, layout, {"max_timestep": 16000}, mode="train").get_dataloader("train").dataset
    starts = []
    for seed in range(20):
        random.seed(seed)
        wav = dataset[0][0] * 200_000 * 16000 / rate
        assert len(wav) == 16000
        assert torch.allclose(wav[200:-200] - wav[200], torch.arange(15600.0), atol=40)
        starts.append(float(wav[200]))
    random.seed(0)
    assert float(dataset[0][0][200] * 200_000 * 16000 / rate) == pytest.approx(starts[0])
    assert max(starts) - min(starts) > 8000
    assert min(starts) >= 199


def test_short_recordings_stay_whole(tmp_path: Path):
    layout = write_corpus(tmp_path, ["dev/wav/id10001/v/1.wav"], ["1 id10001/v/1.wav"], samples=500)
    assert len(make(tmp_path, layout, mode="train").get_dataloader("train").dataset[0][0]) == 500


def test_a_checkpoint_answers_without_its_corpus(small: Layout, tmp_path: Path):
    torch.save(make(tmp_path, small, mode="train").state_dict(), tmp_path / "state.pt")
    expert = make(tmp_path, mode="inference")
    expert.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    (answer,) = expert.inference([torch.randn(9, 6)], ["a.wav"])
    assert set(answer["probabilities"]) == {"id10002", "id10009"}


def test_a_corpus_with_other_speakers_is_refused(small: Layout, tmp_path: Path):
    state = make(tmp_path, small, mode="train").state_dict()
    small.split_file.write_text("\n".join(LINES).replace("1 id10002", "2 id10002"))
    with pytest.raises(ConfigError, match=r"other classes \(speaker\) than the one that the checkpoint"):
        make(tmp_path, small, mode="train").load_state_dict(state)


def test_a_stranger_in_test_is_found_when_training_begins(small: Layout, tmp_path: Path):
    small.split_file.write_text("\n".join([*LINES, "3 id10010/v/00001.wav"]))
    make(tmp_path, small, mode="train", runner={"eval_dataloaders": ["dev"]})
    with pytest.raises(DataError, match="line 5: speaker id10010 of test is not among those of train"):
        make(tmp_path, small, mode="train", runner={"eval_dataloaders": ["dev", "test"]})


@pytest.mark.parametrize(
    ("datarc", "sentence"),
    [
        ({"meta_data": ""}, "field 'meta_data' is missing"),
        ({"file_path": ""}, "field 'file_path' is missing"),
        ({"max_timestep": 0}, "max_timestep must be a whole number of at least 1, not 0"),
        ({"max_timesteps": 5}, "did you mean 'max_timestep'"),
    ],
)
def test_wrong_fields(small: Layout, tmp_path: Path, datarc: dict, sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        make(tmp_path, small, datarc, mode="train")


def test_synthetic_corpus(tmp_path: Path):
    expert = make(tmp_path / "run", synthetic(tmp_path), mode="train", runner={"eval_dataloaders": ["dev", "test"]})
    assert len(expert.vocabularies["speaker"]) == 7
    for split in ("train", "dev", "test"):
        assert {item.label for item in expert.corpus_of(split)} == set(range(7))


def test_real_speakers(shared: Path, tmp_path: Path):
    """TIMIT's ten with other sentences in test than in training, EmoDB's five at 22.05 kHz."""
    for speakers, count in ((timit_speakers(shared), 10), (emodb_speakers(shared), 5)):
        layout = lay_out_speakers(speakers, tmp_path / str(count), held_out=2)
        expert = make(tmp_path / f"run{count}", layout, mode="train", runner={"eval_dataloaders": ["dev", "test"]})
        assert len(expert.vocabularies["speaker"]) == count
        assert len(expert.corpus_of("test")) == len(expert.corpus_of("dev")) == 2 * count
