"""The three probes against S3PRL's recorded outputs, and on small corpora."""

from __future__ import annotations

import json
import zipfile
from collections import defaultdict
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from downstream.blocks.frame_labels import FrameLabels, class_names, divide, read_list
from downstream.blocks.frame_probe import FrameProbe
from preprocess.generate_len_for_bucket import write_table
from tests.downstream.librispeech import Layout, measured, write_utterances
from tests.downstream.probes import lay_out, librivox, timit
from utility.errors import ConfigError, DataError, UnknownNameError
from utility.experiment import checkpoint

TASKS = {"phone_linear": {}, "phone_linear_concat": {"concat_n_frames": 9}, "phone_1hidden": {"hidden_size": 5}}


class Log(list):
    def add_scalar(self, tag: str, value: float, global_step: int) -> None:
        self.append([tag, value, global_step])


def make(
    expdir: Path,
    datarc: dict | None = None,
    task: str = "phone_linear",
    modelrc: dict | None = None,
    upstream_rate: int = 160,
    **kwargs: Any,
) -> FrameProbe:
    datarc = {"train_batch_size": 4, "eval_batch_size": 4, "num_workers": 0, **(datarc or {})}
    expert = import_module(f"downstream.{task}.expert").DownstreamExpert
    described = {"datarc": datarc, "modelrc": TASKS[task] if modelrc is None else modelrc}
    return expert(6, upstream_rate, described, str(expdir), **kwargs)


@pytest.mark.parametrize("case", ["phone_linear", "phone_linear_twice_label_rate", "phone_1hidden"])
def test_recorded_step(golden, tmp_path: Path, capsys: pytest.CaptureFixture, case: str):
    folder = golden(f"tasks/heads/{case}")
    params, expected = (json.loads((folder / f"{name}.json").read_text()) for name in ("params", "outputs"))
    saved = checkpoint.load(folder / "state.pt")
    modelrc = {**saved["Config"]["downstream_expert"]["modelrc"], "published": True}
    expert = make(tmp_path, task=params["task"], modelrc=modelrc, upstream_rate=params["upstream_rate"]).eval()
    expert.load_state_dict(saved["Downstream"])
    arrays, outputs = np.load(folder / "inputs.npz"), np.load(folder / "outputs.npz")
    features = [torch.from_numpy(arrays[f"feat_{item}"]) for item in range(params["n"])]
    frames = [len(label) for label in params["labels"]]
    np.testing.assert_allclose(expert.logits(features, frames).detach(), outputs["logits"], rtol=1e-4, atol=1e-5)

    records: dict[str, list] = defaultdict(list)
    loss = expert(params["split"], features, [torch.tensor(label) for label in params["labels"]], records=records)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(expert.parameters(), 1e9)
    np.testing.assert_allclose([loss.item(), norm.item()], [outputs["loss"], outputs["grad_norm"]], rtol=1e-4)
    assert records["sample_wise_metric"] == pytest.approx(expected["records"]["sample_wise_metric"])
    assert (sum(records["correct"]), sum(records["frames"])) == (sum(expected["records"]["acc"]), len(expected["records"]["acc"]))

    log = Log()
    outcome = expert.log_records(params["split"], records, log, 10, [0], 1)
    assert capsys.readouterr().out == expected["printed_by_log_records"]
    assert outcome.save_names == expected["save_names"]
    assert [entry for entry in log if entry[0].endswith("acc")] == expected["tensorboard_scalars"]
    assert (tmp_path / "log.log").read_text() == (folder / "outputs_files/log.log").read_text()


def test_recorded_logs(golden, tmp_path: Path, capsys: pytest.CaptureFixture):
    folder = golden("tasks/logs/log_records")
    sequence = json.loads((folder / "params.json").read_text())["sequence"]
    expected = json.loads((folder / "outputs.json").read_text())["phone_linear"]
    expert = make(tmp_path)
    for entry, wanted in zip(sequence, expected, strict=True):
        records = {"correct": entry["correct"], "frames": [1] * len(entry["correct"]), "loss": [entry["loss"]]}
        outcome = expert.log_records(entry["split"], records, Log(), entry["step"], [0], 1)
        assert (outcome.save_names, capsys.readouterr().out) == (wanted["save_names"], wanted["printed"])
    assert (tmp_path / "log.log").read_text() == (folder / "outputs_files/phone_linear/log.log").read_text()


@pytest.mark.parametrize("packed", [False, True])
def test_recorded_batches(golden, tmp_path: Path, packed: bool):
    folder = golden("tasks/batching/phone_linear")
    params, expected = (json.loads((folder / f"{name}.json").read_text()) for name in ("params", "outputs"))
    for file in (folder / "files").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    if packed:
        pack(tmp_path)
    write_table(tmp_path / "len/train-clean-100.csv", params["table"])
    for path, _ in params["table"]:
        (tmp_path / "LibriSpeech" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "LibriSpeech" / path).touch()
    paths = {"libri_root": tmp_path / "LibriSpeech", "phone_path": tmp_path, "bucket_file": tmp_path / "len"}
    expert = make(tmp_path, {**paths, "published_batches": True, "train_dev_seed": params["seed"]})
    for split, wanted in expected.items():
        assert [[row.name for row in batch] for batch in expert.corpus_of(split)] == wanted["batches"]
        assert expert.class_num == wanted["class_num"]


def pack(folder: Path) -> None:
    with zipfile.ZipFile(folder / "converted_aligned_phones.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "converted_aligned_phones.txt", "cpc/converted_aligned_phones.txt")
    (folder / "converted_aligned_phones.txt").unlink()


def test_published_lists(shared: Path):
    """The split that every published number stands on."""
    folder = shared / "data/task_lists/phone_linear"
    names = read_list(next(folder.rglob("train_split.txt")))
    train, dev = divide(names, 1337)
    assert (len(train), len(dev), len(read_list(next(folder.rglob("test_split.txt"))))) == (20547, 2283, 5708)
    assert train[:3] == ["3947-13262-0002", "6476-57446-0070", "831-130746-0012"]
    assert dev[:2] == ["7367-86737-0057", "4397-15678-0037"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, Path]:
    """Noise that is labelled; one utterance more in the lists than there is."""
    out, rng = tmp_path_factory.mktemp("small"), np.random.default_rng(0)
    names = write_utterances(out / "LibriSpeech", "train-clean-100", 1, 2, ((rng.normal(0, 0.1, 1600 * n), "X") for n in range(2, 14)))
    lines = [f"{name} " + " ".join(["7"] * (10 * length)) for length, name in enumerate(names, 2)]
    (out / "labels").mkdir()
    (out / "labels/converted_aligned_phones.txt").write_text("\n".join(lines))
    (out / "labels/train_split.txt").write_text("\n".join(names[:10]))
    (out / "labels/test_split.txt").write_text("\n".join([*names[10:], "9-9-9999"]))
    return measured(out / "LibriSpeech"), out / "labels"


def paths(small: tuple[Layout, Path], **others: Any) -> dict[str, Any]:
    return {**small[0].datarc, "phone_path": str(small[1]), **others}


def test_batches(small, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    expert = make(tmp_path, paths(small), mode="train", runner={"eval_dataloaders": ["dev", "test"]})
    assert [len(batch) for batch in expert.corpus_of("train")] == [4, 4, 1]
    assert "split test: 1 of 3 listed utterances are left out: 1 have no labels, 1 are not in the table" in caplog.text
    wavs, labels = next(iter(expert.get_dataloader("test")))
    assert [len(wav) // 160 for wav in wavs] == [len(label) for label in labels] == [130, 120]
    orders = set()
    for seed in range(5):
        torch.manual_seed(seed)
        orders.add(tuple(len(labels) for _, labels in expert.get_dataloader("train")))
    assert len(orders) > 1


def test_training_on_a_split_of_another_name(small, tmp_path: Path):
    """It has the batch size of training and is shuffled, ``train`` is not; the evaluation of the same split is in order."""
    fields = paths(small, train_batch_size=1, eval_batch_size=4)
    expert = make(tmp_path, fields, runner={"train_dataloader": "test"})
    assert [len(labels) for _, labels in expert.get_dataloader("train")] == [4, 4, 1]

    def order(seed: int) -> tuple[int, ...]:
        torch.manual_seed(seed)
        return tuple(len(labels[0]) for _, labels in expert.get_dataloader("test"))

    assert {order(seed) for seed in range(8)} == {(130, 120), (120, 130)}
    expert.eval()
    assert {order(seed) for seed in range(8)} == {(130, 120)}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("rate", [80, 160, 270, 320])
def test_an_utterance_does_not_depend_on_its_batch(tmp_path: Path, task: str, rate: int):
    expert = make(tmp_path, task=task, upstream_rate=rate)
    torch.manual_seed(0)
    features, frames = [torch.randn(n * 160 // rate, 6) for n in (30, 55)], [31, 55]
    together = expert.logits(features, frames)
    for item in range(2):
        alone = expert.logits([features[item]], [frames[item]])[0]
        torch.testing.assert_close(together[item, : frames[item]], alone)


def test_neighbours_from_future_to_past(tmp_path: Path):
    from downstream.blocks.frame_models import with_neighbours

    found = with_neighbours(torch.arange(6.0).view(1, 6, 1), torch.tensor([5]), 5)
    assert found[0, 2].tolist() == [4, 3, 2, 1, 0]
    assert found[0, 4].tolist() == [4, 4, 4, 3, 2]
    assert found[0, 0].tolist() == [2, 1, 0, 0, 0]


@pytest.mark.parametrize("task", TASKS)
def test_shipped_config(repo: Path, tmp_path: Path, task: str):
    config = yaml.safe_load((repo / f"downstream/{task}/config.yaml").read_text())
    expert = import_module(f"downstream.{task}.expert").DownstreamExpert(20, 160, expdir=tmp_path, mode="evaluate", **config)
    sizes = {"phone_linear": 21 * 41, "phone_linear_concat": 181 * 41, "phone_1hidden": 21 * 768 + 769 * 41}
    assert sum(parameter.numel() for parameter in expert.parameters()) == sizes[task]


def test_state_is_plain_and_comes_back(tmp_path: Path):
    expert, other = make(tmp_path), make(tmp_path)
    expert.best["dev"], expert.classes[3] = 0.5, "AH"
    torch.save(expert.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert other.get_extra_state() == expert.get_extra_state()


def test_inference(tmp_path: Path):
    (answer,) = make(tmp_path).inference([torch.randn(50, 6)], ["a.wav"])
    segments = answer["segments"]
    assert (segments[0]["start"], segments[-1]["end"]) == (0.0, 0.5)
    assert all(a["end"] == b["start"] and a["label"] != b["label"] for a, b in pairwise(segments))


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"libri_rot": "x"}, ConfigError, "did you mean 'libri_root'"),
        ({"libri_root": None}, ConfigError, "field 'libri_root' is missing"),
        ({"libri_root": "nowhere"}, DataError, "libri_root: folder nowhere does not exist"),
        ({"phone_path": "nowhere"}, DataError, "phone_path: list of utterances nowhere/train_split.txt does not exist"),
        ({"bucket_file": "nowhere/len"}, DataError, "python3 preprocess/generate_len_for_bucket.py -i .* -n len --splits train-clean-100"),
        ({"sample_rate": 8000}, ConfigError, "sample_rate must be 16000"),
        ({"train_dev_seed": "1337"}, ConfigError, "train_dev_seed must be a whole number of at least 0, not '1337'"),
        ({"phone_path": 5}, ConfigError, "phone_path must be a text, not 5"),
    ],
)
def test_wrong_fields(small, tmp_path: Path, change: dict, error: type, sentence: str):
    with pytest.raises(error, match=sentence):
        make(tmp_path, paths(small, **change), mode="train")


def test_a_missing_list_says_how_to_get_it(small, tmp_path: Path):
    expert = make(tmp_path, {**paths(small), "phone_path": str(tmp_path)})
    with pytest.raises(DataError, match=r"train_split\.txt does not exist; python3 preprocess/fetch_lists\.py --only phone_linear"):
        expert.get_dataloader("train")


def test_wrong_names(small, tmp_path: Path):
    with pytest.raises(UnknownNameError, match="unknown split 'tset'; did you mean 'test'"):
        make(tmp_path, paths(small)).get_dataloader("tset")
    with pytest.raises(ConfigError, match=r"concat_n_frames must be an odd number, not 8"):
        make(tmp_path, task="phone_linear_concat", modelrc={"concat_n_frames": 8})


@pytest.mark.parametrize(
    ("modelrc", "sentence"),
    [
        ({"hidden_size": 0}, "hidden_size must be a whole number of at least 1, not 0"),
        ({"hidden_size": "768"}, "hidden_size must be a whole number of at least 1, not '768'"),
        ({"dropout": 2}, "dropout must be a number from 0 to 1, not 2"),
    ],
)
def test_wrong_sizes(tmp_path: Path, modelrc: dict, sentence: str):
    with pytest.raises(ConfigError, match=f"modelrc: {sentence}"):
        make(tmp_path, task="phone_1hidden", modelrc=modelrc)


def test_sections_that_are_none(tmp_path: Path):
    expert = import_module("downstream.phone_linear.expert").DownstreamExpert
    for described in ({"datarc": None}, {"datarc": {}, "modelrc": 5}):
        with pytest.raises(ConfigError, match=r"(datarc is None|modelrc is 5), not a section of fields"):
            expert(6, 160, described, str(tmp_path))


def test_recordings_that_are_gone(small, tmp_path: Path):
    """Rows of utterances that no list has do not matter."""
    write_table(tmp_path / "train-clean-100.csv", [("train-clean-100/1/2/1-2-0011.flac", 9), ("elsewhere/0-0-0000.flac", 9)])
    fields = paths(small, bucket_file=str(tmp_path))
    assert [[row.name for row in batch] for batch in make(tmp_path, fields).corpus_of("test")] == [["1-2-0011"]]
    write_table(tmp_path / "train-clean-100.csv", [("train-clean-100/1/2/1-2-0011.flac", 9), ("train-clean-100/1/3/1-2-0010.flac", 9)])
    with pytest.raises(DataError, match=r"bucket_file: 1 of 2 recordings in the tables .* such as train-clean-100/1/3/1-2-0010\.flac"):
        make(tmp_path, fields).corpus_of("test")


def test_labels_of_another_corpus(small, tmp_path: Path):
    labels = copy_of(small[1], tmp_path)
    text = (labels / "converted_aligned_phones.txt").read_text().replace(" 7", " 7 7")
    (labels / "converted_aligned_phones.txt").write_text(text)
    expert = make(tmp_path, {**paths(small), "phone_path": str(labels)})
    with pytest.raises(DataError, match=r"the labels of 1-2-0011 last 2\.60 s, but the recording .*1-2-0011\.flac only 1\.30 s"):
        list(expert.get_dataloader("test"))
    (labels / "test_split.txt").write_text("9-9-9999")
    with pytest.raises(DataError, match="none of the 1 utterances of the split 'test', such as 9-9-9999, is both"):
        make(tmp_path, {**paths(small), "phone_path": str(labels)}).corpus_of("test")


def copy_of(labels: Path, place: Path) -> Path:
    (place / "copy").mkdir()
    for path in labels.iterdir():
        (place / "copy" / path.name).write_bytes(path.read_bytes())
    return place / "copy"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a 1 2\nb 41 0\n", "line 2 of .* holds the class 41; there are 41, from 0 to 40"),
        ("a 1 -2\n", "holds the class -2"),
        ("a 1 x 2\n", "line 1 of .* is no utterance followed by whole numbers"),
        ("a 1\nb\n", "line 2 of .* holds an utterance without labels"),
        ("\n", "holds no labels"),
    ],
)
def test_wrong_labels(tmp_path: Path, text: str, sentence: str):
    (tmp_path / "converted_aligned_phones.txt").write_text(text)
    with pytest.raises(DataError, match=f"phone_path: .*{sentence}"):
        FrameLabels(tmp_path, 41)


def test_no_labels(tmp_path: Path):
    with pytest.raises(DataError, match=r"has no converted_aligned_phones\.txt or converted_aligned_phones\.zip; fetch"):
        FrameLabels(tmp_path, 41, hint="fetch them")
    (tmp_path / "converted_aligned_phones.zip").write_text("no archive")
    with pytest.raises(DataError, match="zip is damaged"):
        FrameLabels(tmp_path, 41)
    (tmp_path / "converted_aligned_phones.zip").unlink()
    (tmp_path / "converted_aligned_phones.txt").write_text("a 0 40")
    pack(tmp_path)
    assert FrameLabels(tmp_path, 41)["a"].tolist() == [0, 40]
    (tmp_path / "converted_aligned_phones.txt").write_bytes(b"a\t0 40 \r\n\r\n")
    assert FrameLabels(tmp_path, 41)["a"].tolist() == [0, 40]


def test_names_of_classes(tmp_path: Path):
    assert class_names(tmp_path, 3) == ["0", "1", "2"]
    (tmp_path / "phones.txt").write_text("SIL 0\nAA 2\nodd line\n")
    assert class_names(tmp_path, 3) == ["SIL", "1", "AA"]


def test_real_alignments(shared: Path, tmp_path: Path):
    """Hand-made phones of TIMIT and machine-made ones of a reader, through the task's files and loader."""
    speakers = timit(shared / "data/timit_sample")
    layout, labels = lay_out(tmp_path, speakers[:2], [librivox(shared / "data/librivox_pocketsphinx")])
    expert = make(tmp_path, {**layout.datarc, "phone_path": str(labels)}, mode="train", runner={"eval_dataloaders": ["dev", "test"]})
    assert [len(batch) for batch in expert.corpus_of("test")] == [4, 1]
    assert sum(len(batch) for split in ("train", "dev") for batch in expert.corpus_of(split)) == 20
    assert expert.classes[:3] == ["SIL", "SPN", "AA"]
    for split in expert.splits:
        for wavs, given in expert.get_dataloader(split):
            assert all(abs(len(wav) - 160 * len(label)) < 3200 for wav, label in zip(wavs, given, strict=True))
            assert all(len(label.unique()) > 5 for label in given)
