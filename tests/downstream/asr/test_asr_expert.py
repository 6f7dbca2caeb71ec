"""The expert against S3PRL's recorded outputs, and on small corpora."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from downstream.asr.dataset import transcribed
from downstream.asr.expert import DownstreamExpert, splits_of
from downstream.blocks.ark import read_ark
from preprocess.generate_len_for_bucket import write_table
from tests.downstream.librispeech import Layout, measured, write_utterances
from utility.errors import ConfigError, DataError, UnknownNameError
from utility.experiment import checkpoint

SPLITS = {"train": ["train-clean-100"], "dev-clean": ["dev-clean"], "test-clean": ["test-clean"]}
TINY = {"project_dim": 4, "select": "RNNs", "RNNs": {"dim": [3], "total_rate": -1}}


class Log(list):
    def add_scalar(self, tag: str, value: float, global_step: int) -> None:
        self.append([tag, value, global_step])


def make(expdir: Path, datarc: dict[str, Any] | None = None, modelrc: dict[str, Any] | None = None, **kwargs: Any) -> DownstreamExpert:
    datarc = {"batch_size": 2, "eval_batch_size": 1, "num_workers": 0, **SPLITS, **(datarc or {})}
    described = {"datarc": datarc, "modelrc": modelrc or TINY}
    return DownstreamExpert(6, kwargs.pop("upstream_rate", 320), described, str(expdir), **kwargs)


@pytest.mark.parametrize("case", ["asr_rnns", "asr_rnns_test_split"])
def test_recorded_step(golden, tmp_path: Path, capsys: pytest.CaptureFixture, case: str):
    folder = golden(f"tasks/heads/{case}")
    params, expected = (json.loads((folder / f"{name}.json").read_text()) for name in ("params", "outputs"))
    saved = checkpoint.load(folder / "state.pt")
    described = saved["Config"]["downstream_expert"]
    expert = make(tmp_path, described["datarc"], described["modelrc"]).eval()
    expert.load_state_dict(saved["Downstream"])
    expert.set_extra_state({**expert.get_extra_state(), "has_best": True})  # S3PRL treats the first evaluation as all others
    arrays, outputs = np.load(folder / "inputs.npz"), np.load(folder / "outputs.npz")
    features = [torch.from_numpy(arrays[f"feat_{item}"]) for item in range(params["n"])]

    logits, lengths = expert.logits(features)
    np.testing.assert_allclose(logits.detach(), outputs["logits"], rtol=1e-4, atol=1e-5)
    assert lengths.tolist() == expected["logits_len"]
    records: dict[str, list] = defaultdict(list)
    names = [f"utt{item}" for item in range(params["n"])]
    loss = expert(params["split"], features, [torch.tensor(label) for label in params["labels"]], names, records=records)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(expert.parameters(), 1e9)
    np.testing.assert_allclose([loss.item(), norm.item()], [outputs["loss"], outputs["grad_norm"]], rtol=1e-4)
    assert records.pop("loss") == pytest.approx(expected["records"].pop("loss"), rel=1e-4)
    assert records == expected["records"]

    records["loss"] = [expected["tensorboard_scalars"][0][1]]
    log = Log()
    outcome = expert.log_records(params["split"], records, log, 10, [0], 1)
    assert capsys.readouterr().out == expected["printed_by_log_records"]
    assert outcome.save_names == expected["save_names"]
    assert log == expected["tensorboard_scalars"]
    assert expert.best_score.item() == expected["best_score_after"]
    for file in (folder / "outputs_files").iterdir():
        assert (tmp_path / file.name).read_text() == file.read_text()


@pytest.mark.parametrize("case", ["bucket_one", "missing_transcripts", "sample_counts"])
def test_recorded_batches_and_labels(golden, tmp_path: Path, case: str):
    folder = golden(f"tasks/batching/asr_{case}")
    params, expected = (json.loads((folder / f"{name}.json").read_text()) for name in ("params", "outputs"))
    for split, rows in params["tables"].items():
        write_table(tmp_path / f"len/{split}.csv", rows)
    for name, text in params["transcripts"].items():
        path = tmp_path / Path(name).parent
        path.mkdir(parents=True, exist_ok=True)
        with (path / f"{Path(name).name.rpartition('-')[0]}.trans.txt").open("a") as file:
            file.write(f"{Path(name).name} {text}\n")
    for rows in params["tables"].values():
        for path, _ in rows:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
    datarc = {"libri_root": str(tmp_path), "bucket_file": str(tmp_path / "len"), "published_batches": True, "train": list(params["tables"])}
    expert = make(tmp_path, {**datarc, "batch_size": params["bucket_size"]})
    batches, texts = expert.corpus_of("train")
    assert [[row.name for row in batch] for batch in batches] == expected["batches"]
    assert {name: expert.dictionary.encode(text) for name, text in texts.items()} == expected["labels"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Noise with texts; one utterance without."""
    root, rng = tmp_path_factory.mktemp("small") / "LibriSpeech", np.random.default_rng(0)
    for speaker, (split, (table,)) in enumerate(SPLITS.items()):
        assert split in table
        texts = ["GO", "IT'S GO", "", "BETA", "A B C"]
        write_utterances(root, table, speaker, 7, ((rng.normal(0, 0.1, 8000 + 800 * n), text) for n, text in enumerate(texts)))
    return measured(root)


def test_loaders(small: Layout, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    expert = make(tmp_path, small.datarc, mode="train", runner={"eval_dataloaders": ["dev-clean"]})
    assert "train-clean-100: 1 of 5 utterances have no text and are left out, such as train-clean-100/0/7/0-7-0002.flac" in caplog.text
    batches = list(expert.get_dataloader("test-clean"))
    assert [names for _, _, names, _ in batches] == [["2-7-0004"], ["2-7-0003"], ["2-7-0001"], ["2-7-0000"]]
    wavs, labels, _, texts = batches[2]
    assert (len(wavs[0]), expert.dictionary.string(labels[0].tolist()), texts) == (8800, "I T ' S | G O |", ["IT'S GO"])
    assert sorted(len(names) for *_, names, _ in expert.get_dataloader("train")) == [2, 2]


def test_letters_that_the_dictionary_lacks(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """They are counted, trained as ``<unk>``, and errors whatever is heard; the references are what was said."""
    write_utterances(tmp_path / "corpus", "dev-clean", 1, 7, [(np.zeros(16000), text) for text in ("Café go", "GO", "no 2 Œ")])
    runner = {"train_dataloader": "dev-clean", "eval_dataloaders": ["dev-clean"]}
    expert = make(tmp_path, measured(tmp_path / "corpus").datarc, mode="train", runner=runner)
    assert "split dev-clean: 3 letters of 2 texts are not in the dictionary, such as 'É' of 1-7-0000; they are" in caplog.text
    assert caplog.text.count("are not in the dictionary") == 1
    (_, labels, names, texts), *_ = make(tmp_path, {**expert.datarc, "eval_batch_size": 3}).get_dataloader("dev-clean")
    assert expert.dictionary.string(labels[0].tolist()) == "C A F <unk> | G O |"

    expert._hear = lambda logits, lengths: (["C A F <unk> | G O |", "G O |", "N O | <unk> | <unk> |"], [["CAF<unk>", "GO"], ["GO"], ["NO"]])
    records: dict[str, list] = defaultdict(list)
    expert.eval()("dev-clean", [torch.randn(9, 6)] * 3, labels, names, texts, records=records)
    assert records["target_tokens"] == ["C A F É | G O |", "G O |", "N O | 2 | Œ |"]
    scores = expert.log_records("dev-clean", records, Log(), 1, [0], 1).scores
    assert scores["uer"].value == pytest.approx(100 * 3 / 18)
    assert scores["wer"].value == pytest.approx(100 * 3 / 6)
    assert read_ark(tmp_path / "dev-clean-noLM-ref.ark") == {"1-7-0000": "CAFÉ GO", "1-7-0001": "GO", "1-7-0002": "NO 2 Œ"}


def test_training_on_a_split_of_another_name(small: Layout, tmp_path: Path):
    """It has the batch size of training and is shuffled, ``train`` is not; the evaluation of the same split is in order."""
    fields = {**small.datarc, "batch_size": 2, "eval_batch_size": 1}
    expert = make(tmp_path, fields, runner={"train_dataloader": "dev-clean"})
    assert [len(names) for *_, names, _ in expert.get_dataloader("train")] == [1, 1, 1, 1]

    def first(seed: int) -> str:
        torch.manual_seed(seed)
        return next(iter(expert.get_dataloader("dev-clean")))[2][0]

    assert sorted(len(names) for *_, names, _ in expert.get_dataloader("dev-clean")) == [2, 2]
    assert {first(seed) for seed in range(8)} == {"1-7-0004", "1-7-0001"}
    expert.eval()
    assert {first(seed) for seed in range(8)} == {"1-7-0004"}


def test_best_checkpoints(tmp_path: Path):
    def scored(split: str, heard: list[str], expert: DownstreamExpert) -> list[str]:
        said = {"target_words": [["A", "B"]], "pred_words": [heard], "target_tokens": ["A | B |"], "pred_tokens": ["A"]}
        return expert.log_records(split, {**said, "loss": [1.0], "filenames": ["u"]}, Log(), 5, [0], 1).save_names

    expert = make(tmp_path, runner={"eval_dataloaders": ["dev-clean", "test-clean"]}, mode="evaluate")
    best = ["dev-clean-best.ckpt", "dev-best.ckpt"]
    assert scored("dev-clean", ["X", "Y", "Z"], expert) == best, "the first one counts whatever it is"
    assert expert.best_score.item() == 150
    assert scored("dev-clean", ["X", "Y", "Z"], expert) == []
    assert scored("dev-clean", [], expert) == best
    assert scored("dev-clean", [], expert) == []
    assert scored("dev-clean", ["A"], expert) == best
    assert scored("dev-clean", ["A"], expert) == []
    assert scored("test-clean", ["A", "B"], expert) == []
    assert expert.best_score.item() == 50
    assert read_ark(tmp_path / "test-clean-noLM-hyp.ark") == {"u": "A B"}
    assert scored("dev-other", ["A"], make(tmp_path, runner={"eval_dataloaders": ["dev-other"]})) == [
        "dev-other-best.ckpt",
        "dev-best.ckpt",
    ]


def test_shipped_config(repo: Path, tmp_path: Path):
    config = yaml.safe_load((repo / "downstream/asr/config.yaml").read_text())
    expert = DownstreamExpert(20, 160, expdir=tmp_path, mode="evaluate", **config)
    lstm = sum(2 * (4 * 1024 * (width + 1024) + 8 * 1024) for width in (1024, 2048))
    assert sum(parameter.numel() for parameter in expert.parameters()) == 21 * 1024 + lstm + 2049 * 32
    assert expert.splits == ("train", "dev-clean", "dev-other", "test-clean", "test-other")
    assert expert.kind is None


@pytest.mark.parametrize("select", ["Wav2Letter", "FrameLevel"])
def test_other_heads(tmp_path: Path, select: str):
    expert = make(tmp_path, modelrc={"project_dim": 4, "select": select}, upstream_rate=160)
    logits, lengths = expert.logits([torch.randn(60, 6), torch.randn(30, 6)])
    assert logits.shape[::2] == (2, 32)
    assert lengths.tolist() == ([30, 15] if select == "Wav2Letter" else [60, 30])


def test_state_is_plain_and_names_the_letters(tmp_path: Path):
    expert, other = make(tmp_path), make(tmp_path)
    expert.best_score.fill_(112.5)
    expert.set_extra_state({**expert.get_extra_state(), "has_best": True})
    torch.save(expert.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert other.best_score.item() == 112.5
    assert other.get_extra_state() == expert.get_extra_state()


@pytest.mark.parametrize(("score", "reached"), [(100.0, False), (12.5, True)])
def test_a_state_without_letters_says_by_its_score_whether_there_is_a_best_one(tmp_path: Path, score: float, reached: bool):
    """As S3PRL's checkpoints are, and those of older versions, which had the letters alone."""
    for old in ({}, {"_extra_state": {"letters": make(tmp_path).dictionary.symbols}}):
        expert = make(tmp_path)
        state = {name: value for name, value in expert.state_dict().items() if name != "_extra_state"}
        expert.load_state_dict({**state, **old, "best_score": torch.tensor([score])})
        assert expert.get_extra_state()["has_best"] is reached


def test_inference(tmp_path: Path):
    expert = make(tmp_path).eval()
    answers = expert.inference([torch.randn(30, 6)], ["/a/b/one.wav"]) + expert.inference([torch.randn(20, 6)], ["two.flac"])
    assert [answer["file"] for answer in answers] == ["/a/b/one.wav", "two.flac"]
    assert read_ark(tmp_path / "inference.ark") == {"one": answers[0]["text"], "two": answers[1]["text"]}


def test_recordings_of_one_name_are_all_kept(tmp_path: Path):
    """The Runner gives names without suffix; a dot or a space in one is no end of it."""
    expert, names = make(tmp_path).eval(), ["1", "1", "talk.1", "talk.2", "1-2", "my talk", "b/1.wav"]
    answers = [expert.inference([torch.randn(20 + number, 6)], [name])[0] for number, name in enumerate(names)]
    assert [answer["file"] for answer in answers] == names
    found = read_ark(tmp_path / "inference.ark")
    assert list(found) == ["1", "1-2", "talk.1", "talk.2", "1-2-2", "my_talk", "1-3"]
    assert list(found.values()) == [answer["text"] for answer in answers]


def test_inference_from_an_experiment_that_cannot_be_written_to(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Here, a file lies where the folder of the results should be."""
    (tmp_path / "results").write_text("")
    expert = make(tmp_path, results_dir=tmp_path / "results/dev-best").eval()
    answers = [expert.inference([torch.randn(30, 6)], [name])[0] for name in ("one", "two")]
    assert [answer["file"] for answer in answers] == ["one", "two"]
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{tmp_path / 'results/dev-best/inference.ark'} cannot be written: ")


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"libri_rot": "x"}, ConfigError, "did you mean 'libri_root'"),
        ({"libri_root": None}, ConfigError, "field 'libri_root' is missing"),
        ({"libri_root": "nowhere"}, DataError, "libri_root: folder nowhere does not exist"),
        ({"bucket_file": "nowhere/len"}, DataError, "python3 preprocess/generate_len_for_bucket.py .* --splits train-clean-100"),
        ({"train": ["train-claen-100"]}, DataError, "there is no table of lengths .*did you mean 'train-clean-100'"),
        ({"batch_size": 0}, ConfigError, "batch_size must be a whole number of at least 1, not 0"),
        ({"zero_infinity": "no"}, ConfigError, "zero_infinity must be True or False, not 'no'"),
        ({"dict_path": "nowhere"}, DataError, "dict_path: dictionary nowhere does not exist"),
        ({"decoder_args": {"decoder_type": "kenlmm"}}, UnknownNameError, "did you mean 'kenlm'"),
        ({"decoder_args": {"beam": 0}}, ConfigError, "decoder_args: beam must be a whole number of at least 1, not 0"),
        ({"decoder_args": {"beam": "5"}}, ConfigError, "decoder_args: beam must be a whole number of at least 1, not '5'"),
        ({"decoder_args": {"beam_threshold": 0}}, ConfigError, "beam_threshold must be a number above 0, not 0"),
        ({"decoder_args": {"lm_weight": "much"}}, ConfigError, "lm_weight must be a number, not 'much'"),
        ({"decoder_args": {"lexicon": 5}}, ConfigError, "lexicon must be a text, not 5"),
        ({"decoder_args": 5}, ConfigError, "decoder_args: 5 is not a section of fields"),
        ({"libri_root": 5}, ConfigError, "libri_root must be a text, not 5"),
        ({"train": "train-clean-100"}, ConfigError, r"train must be a list of texts, such as \[train-clean-100\], not 'train-clean-100'"),
        ({"train": [5]}, ConfigError, r"train must be a list of texts, not \[5\]"),
        ({"train": []}, ConfigError, "train must name at least one table"),
        ({"test-ohter": ["x"]}, ConfigError, "unknown field 'test-ohter'; did you mean 'test-other'"),
    ],
)
def test_wrong_fields(small: Layout, tmp_path: Path, change: dict[str, Any], error: type, sentence: str):
    with pytest.raises(error, match=sentence):
        make(tmp_path, {**small.datarc, **change}, mode="train")


def test_splits_of_ones_own():
    """A name that no split of LibriSpeech was meant by, that is derived from one, or that the config uses."""
    own = {"train": ["a"], "noisy": ["a"], "test-clean-8k": ["b"], "tets-clean": ["c"]}
    assert splits_of(own, used=["tets-clean"]) == tuple(own)
    with pytest.raises(ConfigError, match="unknown field 'tets-clean'; did you mean 'test-clean'"):
        splits_of(own)
    assert splits_of({**own, "test-clean": ["d"]}) == (*own, "test-clean")


@pytest.mark.parametrize("described", [{"datarc": None, "modelrc": TINY}, {"datarc": {}, "modelrc": 5}, {"modelrc": TINY}, None])
def test_sections_that_are_none(tmp_path: Path, described: Any):
    with pytest.raises(ConfigError, match=r"(datarc is None|modelrc is 5|None is|field 'datarc' is missing)"):
        DownstreamExpert(6, 320, described, str(tmp_path))


def test_wrong_split(tmp_path: Path):
    with pytest.raises(UnknownNameError, match="unknown split 'test'; valid: dev-clean, test-clean, train"):
        make(tmp_path).get_dataloader("test")


def test_no_texts(small: Layout, tmp_path: Path):
    write_table(tmp_path / "dev-clean.csv", [("dev-clean/1/7/1-7-0002.flac", 9)])
    with pytest.raises(DataError, match=r"none of the 1 utterances of dev-clean below .* has a text, such as dev-clean/1/7/1-7-0002\.flac"):
        transcribed(small.root, tmp_path, ["dev-clean"])


def test_recordings_that_are_gone(small: Layout, tmp_path: Path):
    """A table of an older state of the corpus ends the run at its start, not when the first such row is drawn."""
    rows = [("dev-clean/1/7/1-7-0000.flac", 9), ("dev-clean/1/7/1-7-0017.flac", 8), ("dev-clean/3/1/3-1-0000.flac", 7)]
    write_table(tmp_path / "dev-clean.csv", rows)
    change = {**small.datarc, "bucket_file": str(tmp_path), "train": ["dev-clean"]}
    with pytest.raises(DataError, match=r"bucket_file: 2 of 3 recordings in the tables .* such as dev-clean/1/7/1-7-0017\.flac"):
        make(tmp_path, change, mode="train")


def test_damaged_recording(small: Layout, tmp_path: Path):
    write_utterances(tmp_path, "dev-clean", 1, 7, [(np.zeros(8000), "A")])
    layout = measured(tmp_path)
    (tmp_path / "dev-clean/1/7/1-7-0000.flac").write_bytes(b"fLaC nonsense")
    with pytest.raises(DataError, match=r"1-7-0000\.flac"):
        list(make(tmp_path, layout.datarc).get_dataloader("dev-clean"))
