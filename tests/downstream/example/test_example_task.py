"""The example task: its data, its learnability, and that a copy of it is a task of its own."""

from __future__ import annotations

import shutil
import sys
from collections import defaultdict
from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml

from downstream.example.dataset import CLASS_NUM, PseudoDataset, chord, pseudo_wav
from downstream.example.expert import DownstreamExpert


class Log(dict):
    def add_scalar(self, tag: str, value: float, global_step: int) -> None:
        self[tag] = value


@pytest.fixture
def config(repo: Path) -> dict:
    return yaml.safe_load((repo / "downstream/example/config.yaml").read_text())


@pytest.fixture
def expert(config: dict, tmp_path: Path) -> DownstreamExpert:
    torch.manual_seed(0)
    return DownstreamExpert(upstream_dim=129, upstream_rate=160, expdir=tmp_path, **config)


def log_spectrogram(wav: torch.Tensor) -> torch.Tensor:
    """Per utterance normalised to mean 0 and variance 1, as the baseline features are."""
    spectrum = torch.stft(wav, 256, 160, window=torch.hann_window(256), return_complex=True).abs().square().add(1e-10).log().T
    return (spectrum - spectrum.mean(dim=0)) / (spectrum.std(dim=0) + 1e-10)


def test_items(config: dict):
    torch.manual_seed(1)
    items = [PseudoDataset(200)[0] for _ in range(60)]
    lengths, labels = [len(wav) for wav, _ in items], [label for _, label in items]
    assert min(lengths) >= 80000
    assert max(lengths) <= 320000
    assert len(set(lengths)) == 60
    assert set(labels) <= set(range(48))
    assert len(set(labels)) > 20
    assert all(wav.dtype == torch.float32 and wav.abs().max() < 1 for wav, _ in items)


def test_seed_decides_the_item():
    first, second = [(torch.manual_seed(5), PseudoDataset(1)[0])[1] for _ in range(2)]
    assert torch.equal(first[0], second[0])
    assert first[1] == second[1]
    assert not torch.equal(pseudo_wav(3, 80000), pseudo_wav(3, 80000))


def test_chords_differ():
    assert len({tuple(chord(label).sort().values.tolist()) for label in range(CLASS_NUM)}) == CLASS_NUM


def test_loader_form(config: dict, expert: DownstreamExpert):
    expert.datarc = {**expert.datarc, "num_workers": 0, "sizes": {"train": 8, "dev": 4, "test": 3}}
    for split, size in expert.datarc["sizes"].items():
        batches = list(expert.get_dataloader(split))
        assert sum(len(labels) for _, labels in batches) == size
        assert all(wav.ndim == 1 for wavs, _ in batches for wav in wavs)


def test_padding_changes_nothing(expert: DownstreamExpert):
    features = [torch.randn(20, 129), torch.randn(7, 129), torch.randn(1, 129)]
    together = expert.model(features)
    torch.testing.assert_close(together, torch.cat([expert.model([feature]) for feature in features]))


def test_records_grow_with_plain_values(expert: DownstreamExpert):
    records: dict[str, list] = defaultdict(list)
    before = set(vars(expert))
    for _ in range(2):
        expert("dev", [torch.randn(20, 129), torch.randn(9, 129)], [1, 2], records=records)
    assert {name: len(values) for name, values in records.items()} == {"loss": 2, "acc": 4}
    assert all(type(value) is float for values in records.values() for value in values)
    assert set(vars(expert)) == before


def test_best_checkpoint_is_strict_and_on_dev(expert: DownstreamExpert):
    log = Log()
    asked = [
        expert.log_records(split, {"loss": [1.0, 2.0], "acc": acc}, log, 5, [0], 1).save_names
        for split, acc in [("dev", [0.0]), ("test", [1.0]), ("dev", [0.0, 1.0]), ("dev", [1.0, 0.0]), ("dev", [1.0])]
    ]
    assert asked == [[], [], ["dev-best.ckpt"], [], ["dev-best.ckpt"]]
    assert log == {"example/dev-loss": 1.5, "example/dev-acc": 1.0, "example/test-loss": 1.5, "example/test-acc": 1.0}
    assert expert.state_dict()["best_score"].tolist() == [1.0]


def test_inference(expert: DownstreamExpert):
    answer, _ = expert.inference([torch.randn(20, 129), torch.randn(8, 129)], ["a", "b"])
    assert answer["file"] == "a"
    assert len(answer["probabilities"]) == 5
    assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)


def test_copy_is_a_task(repo: Path, tmp_path: Path, config: dict, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(repo / "downstream/example", tmp_path / "phone")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        expert = import_module("phone.expert").DownstreamExpert(upstream_dim=9, upstream_rate=160, expdir=tmp_path, **config)
        log = Log()
        expert.log_records("dev", {"loss": [1.0], "acc": [0.0]}, log, 1, [0], 1)
        assert set(log) == {"phone/dev-loss", "phone/dev-acc"}
        assert type(expert.model).__module__ == "phone.model"
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "phone"]:
            del sys.modules[name]


def test_it_learns(expert: DownstreamExpert):
    """With 12 chords and 5-second items, a few dozen steps suffice; 48 and the real lengths take the minute of the README."""
    torch.manual_seed(3)

    def batch(size: int) -> tuple[list[torch.Tensor], list[int]]:
        labels = torch.randint(12, (size,)).tolist()
        return [log_spectrogram(pseudo_wav(label, 80000)) for label in labels], labels

    optimizer = torch.optim.AdamW(expert.parameters(), lr=5e-3)
    for _ in range(50):
        expert("train", *batch(6), records=defaultdict(list)).backward()
        optimizer.step()
        optimizer.zero_grad()
    records: dict[str, list] = defaultdict(list)
    with torch.no_grad():
        expert("test", *batch(60), records=records)
    assert sum(records["acc"]) / 60 > 0.9
