"""The expert against S3PRL's recorded outputs; its batches, its state, its answers."""

from __future__ import annotations

import json
import logging
import pickle
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml

from downstream.blocks.ctc import LongLabels, greedy
from downstream.ctc.corpora import Example
from downstream.ctc.dataset import Item, Recordings, Windows, collate, evaluation_batches, kept_of, training_batches
from downstream.ctc.expert import DownstreamExpert
from utility.errors import ConfigError, DataError, UnknownNameError
from utility.experiment import checkpoint

CASES = ["pr_framelevel", "framelevel_hiddens", "asr_rnns_concat_10ms", "rnns_gru_drop", "snips_rnns", "zero_infinity_too_short"]
CONFIG = {
    "corpus": {"name": "librispeech"},
    "text": {"mode": "character"},
    "model": {"project_dim": 8, "select": "FrameLevel"},
    "save_best_on": ["dev"],
    "metric_higher_better": False,
    "metric": ["wer", "cer"],
}
# Layer norm over frames that hardly vary magnifies rounding: the record itself is 7e-5 away from what double precision gives.
ATOL = {"asr_rnns_concat_10ms": 1e-4}
SLOTS = {"text": {"mode": "character-slot"}, "metric_higher_better": True, "metric": ["slot_type_f1", "slot_value_cer", "wer"]}


class Log(list):
    def add_scalar(self, tag: str, value: float, global_step: int) -> None:
        self.append([tag, value, global_step])


def make(expdir: Path, upstream_rate: int = 160, mode: str | None = None, runner: dict | None = None, **sections: Any) -> DownstreamExpert:
    return DownstreamExpert(6, upstream_rate, {**CONFIG, **sections}, str(expdir), mode=mode, runner=runner)


def log(expert: DownstreamExpert, split: str, hypotheses: list[str], references: list[str], logger: Log | None = None) -> Any:
    names = [f"u{index}" for index in range(len(references))]
    records = {"loss": [1.0], "hypothesis": hypotheses, "groundtruth": references, "filename": names}
    return expert.log_records(split, records, Log() if logger is None else logger, 10, [0], 1)


def of_case(golden, case: str, tmp_path: Path) -> tuple[DownstreamExpert, Path, dict, dict]:
    folder = golden(f"tasks/heads/ctc_{case}")
    params, expected = (json.loads((folder / f"{name}.json").read_text()) for name in ("params", "outputs"))
    saved = checkpoint.load(folder / "state.pt")
    config = saved["Config"]["downstream_expert"]
    for field in ("vocab_file", "slots_file"):
        if field in config["text"]:
            config["text"][field] = str(folder / "files" / config["text"][field])
    expert = DownstreamExpert(6, params["upstream_rate"], config, str(tmp_path))
    expert.load_state_dict(saved["Downstream"])
    return expert.double().eval(), folder, params, expected


@pytest.mark.parametrize("case", CASES)
def test_recorded_step(golden, tmp_path: Path, capsys: pytest.CaptureFixture, case: str):
    """S3PRL also decodes the padding of shorter utterances; here a hypothesis ends with its utterance."""
    expert, folder, params, expected = of_case(golden, case, tmp_path)
    arrays, outputs = np.load(folder / "inputs.npz"), np.load(folder / "outputs.npz")
    features = [torch.from_numpy(arrays[f"feat_{item}"]).double() for item in range(params["n"])]
    logits, lengths = expert.logits(features)
    np.testing.assert_allclose(logits.detach(), outputs["logits"], rtol=1e-4, atol=ATOL.get(case, 1e-5))
    assert lengths.tolist() == expected["logits_len"]
    assert [expert.encoder.decode(ids) for ids in greedy(logits, None, drop=(1,))] == expected["records"]["hypothesis"]

    records: dict[str, list] = defaultdict(list)
    loss = expert(params["split"], features, params["labels"], [f"utt{item}" for item in range(params["n"])], records=records)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(expert.parameters(), 1e9)
    np.testing.assert_allclose([loss.item(), norm.item()], [outputs["loss"], outputs["grad_norm"]], rtol=1e-4)
    assert records["loss"] == pytest.approx(expected["records"]["loss"], rel=1e-4)
    for name in ("groundtruth", "filename"):
        assert records[name] == expected["records"][name]
    for text, wanted, length in zip(records["hypothesis"], expected["records"]["hypothesis"], lengths.tolist(), strict=True):
        assert text == wanted if length == logits.size(1) else wanted.startswith(text)

    logger = Log()
    outcome = expert.log_records(params["split"], {**expected["records"]}, logger, 10, [0], 1)
    assert capsys.readouterr().out == expected["printed_by_log_records"]
    # S3PRL keeps nothing while the slot F1 is 0; here the first evaluation is kept.
    assert outcome.save_names == (["dev-best.ckpt"] if case == "snips_rnns" else expected["save_names"])
    assert expert.best_score.item() == pytest.approx(expected["best_score_after"])
    assert logger == expected["tensorboard_scalars"]
    written = {file.name: file.read_text() for file in tmp_path.iterdir()}
    wanted_files = folder / "outputs_files"
    assert written == ({file.name: file.read_text() for file in wanted_files.iterdir()} if wanted_files.exists() else {})


def test_recorded_batches(golden):
    folder = golden("tasks/batching/ctc_collate")
    params, expected = (json.loads((folder / f"{name}.json").read_text()) for name in ("params", "outputs"))
    for case, wanted in zip(params["items"], expected, strict=True):
        items = [Item(np.zeros(samples, np.float32), ids, Path(name).stem) for name, samples, ids in case["batch"]]
        if case["bucketed"] and case["split"] == "train":
            limit = case["half"] or 300_000
            items = items[: kept_of(len(items), len(items[0].wav) * 300_000 // limit)]
        wavs, ids, names = collate(items)
        assert {"files": names, "lengths": [len(wav) for wav in wavs], "labels": ids} == wanted


@pytest.fixture
def examples(tmp_path: Path) -> list[Example]:
    """Five recordings of 0.1 to 0.5 s, those with more ids being longer."""
    found = []
    for number in range(5, 0, -1):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.full(1600 * number, 0.1), 16000)
        found.append(Example(str(number), str(path), [3] * number + [1]))
    return found


def test_an_epoch_of_windows(examples: list[Example]):
    batches = list(training_batches(examples, 3, bucketing=True, workers=0))
    assert sorted(tuple(names) for _, _, names in batches) == [("3", "2", "1")] * 3 + [("4", "3", "2"), ("5", "4", "3")]
    assert [len(names) for _, _, names in training_batches(examples, 3, bucketing=False, workers=0)] == [3, 2]
    assert [len(names) for _, _, names in training_batches(examples, 9, bucketing=True, workers=0)] == [5] * 5
    assert [names for *_, names in evaluation_batches(examples, 2, workers=0)] == [["5", "4"], ["3", "2"], ["1"]]


def test_windows_of_long_recordings_are_halved(examples: list[Example], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("downstream.ctc.dataset.HALVED_ABOVE", 6400)
    windows = Windows(examples, 4)
    assert [[item.name for item in windows[index]] for index in range(5)] == [["5", "4"], *[["4", "3", "2", "1"]] * 4]


def test_unreadable_recordings_are_named(examples: list[Example], tmp_path: Path):
    (tmp_path / "3.wav").write_bytes(b"RIFF of nothing")
    with pytest.raises(DataError, match=r"3\.wav"):
        Recordings(examples)[2]


def test_items_travel_to_workers(examples: list[Example]):
    windows = pickle.loads(pickle.dumps(Windows(examples, 2)))
    assert [item.name for item in windows[4]] == ["2", "1"]


def test_training_reads_its_splits_at_once_and_only_once(libri: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    corpus = {"name": "librispeech", "path": str(libri / "LibriSpeech"), "train": "train-clean-100", "dev": "dev-clean", "test": "nowhere"}
    expert = make(tmp_path, mode="train", runner={"eval_dataloaders": ["dev"]}, corpus=corpus)
    with monkeypatch.context() as patch:
        patch.setattr("downstream.ctc.expert.read_split", None)
        assert len(expert.get_dataloader("train")) == len(expert.get_dataloader("train")) == 12
        assert len(expert.get_dataloader("dev")) == 6
    with pytest.raises(DataError, match="has no folder 'nowhere'"):
        make(tmp_path, mode="train", runner={"eval_dataloaders": ["dev", "test"]}, corpus=corpus)
    with pytest.raises(UnknownNameError, match="did you mean 'dev'"):
        expert.get_dataloader("dve")


def test_evaluating_the_training_split_reads_each_utterance_once(libri: Path, tmp_path: Path):
    expert = make(tmp_path, corpus={"name": "librispeech", "path": str(libri / "LibriSpeech"), "train": "train-clean-100"})
    names = [name for _, _, batch in expert.eval().get_dataloader("train") for name in batch]
    assert len(names) == len(set(names)) == 12


def test_best_checkpoints(tmp_path: Path):
    expert = make(tmp_path)
    hypotheses = (["A B"], ["A C"], ["A B"], ["A D"])
    assert [log(expert, "dev", h, ["A D"]).save_names for h in hypotheses] == [["dev-best.ckpt"], [], [], ["dev-best.ckpt"]]
    assert log(expert, "test", ["A D"], ["A D"]).save_names == []
    assert expert.best_score.item() == 0


def test_the_first_evaluation_is_kept_even_if_its_f1_is_0(tmp_path: Path):
    """It is the first one of a resumed run no more."""
    (tmp_path / "slots.txt").write_text("O\nartist\n")
    sections = SLOTS | {"text": {"mode": "character-slot", "slots_file": str(tmp_path / "slots.txt")}}
    expert, truth = make(tmp_path, **sections), ["B-artist A E-artist"]
    assert [log(expert, "dev", ["B"], truth).save_names for _ in range(2)] == [["dev-best.ckpt"], []]
    resumed = make(tmp_path, **sections)
    resumed.load_state_dict(expert.state_dict())
    assert log(resumed, "dev", ["B"], truth).save_names == []
    assert [log(resumed, "dev", truth, truth).save_names for _ in range(2)] == [["dev-best.ckpt"], []]
    older = {**expert.state_dict(), "_extra_state": {"encoder": expert.encoder.state}}
    resumed.load_state_dict(older)
    assert log(resumed, "dev", ["B"], truth).save_names == ["dev-best.ckpt"]


def test_what_cannot_be_measured_is_left_out(tmp_path: Path):
    (tmp_path / "slots.txt").write_text("O\nartist\n")
    expert = make(tmp_path, **SLOTS | {"text": {"mode": "character-slot", "slots_file": str(tmp_path / "slots.txt")}})
    logger = Log()
    outcome = log(expert, "dev", ["PLAY IT"], ["PLAY IT"], logger)
    assert [tag for tag, *_ in logger] == ["ctc-librispeech/dev-loss", "ctc-librispeech/dev-slot_type_f1", "ctc-librispeech/dev-wer"]
    assert set(outcome.scores) == {"loss", "slot_type_f1", "wer"}
    assert outcome.scores["slot_type_f1"].higher_is_better
    assert not outcome.scores["wer"].higher_is_better


def test_a_checkpoint_brings_its_vocabulary(tmp_path: Path):
    """With the files gone, and in place of files of the same name that hold something else."""
    slots = tmp_path / "slots.txt"
    slots.write_text("O\nartist\ncity\n")
    sections = {**SLOTS, "text": {"mode": "character-slot", "slots_file": str(slots)}}
    expert = make(tmp_path, **sections)
    torch.save(expert.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    features = [torch.randn(9, 6)]
    for change in (slots.unlink, lambda: slots.write_text("O\nother\n")):
        change()
        other = make(tmp_path, **sections)
        other.load_state_dict(dict(state))
        assert other.encoder.symbols == expert.encoder.symbols
        torch.testing.assert_close(other.logits(features)[0], expert.logits(features)[0])


def test_a_vocabulary_that_changed_after_the_corpus_was_read(libri: Path, tmp_path: Path):
    state = make(tmp_path).state_dict()
    (tmp_path / "vocab.txt").write_text("A\nB\n")
    corpus = {"name": "librispeech", "path": str(libri / "LibriSpeech"), "train": "train-clean-100"}
    text = {"mode": "character", "vocab_file": str(tmp_path / "vocab.txt")}
    expert = make(tmp_path, mode="train", corpus=corpus, text=text)
    with pytest.raises(ConfigError, match="vocabulary is not that of the checkpoint"):
        expert.load_state_dict(state)


def test_missing_vocabularies(tmp_path: Path):
    text = {"mode": "character", "vocab_file": str(tmp_path / "none.txt")}
    with pytest.raises(DataError, match=r"none\.txt does not exist"):
        make(tmp_path, mode="train", text=text)
    expert = make(tmp_path, text=text)
    with pytest.raises(DataError, match=r"none\.txt does not exist"):
        expert.load_state_dict({name: value for name, value in make(tmp_path).state_dict().items() if name != "_extra_state"})


def test_vocabulary_from_the_training_texts(libri: Path, tmp_path: Path):
    corpus = {"name": "librispeech", "path": str(libri / "LibriSpeech"), "train": "train-clean-100"}
    expert = make(tmp_path, mode="train", corpus=corpus)
    assert 10 < len(expert.encoder) < 31
    assert list(expert.encoder.vocabulary) == sorted(expert.encoder.vocabulary)


def test_answers(tmp_path: Path):
    features = [torch.randn(30, 6), torch.randn(5, 6)]
    (answer, _) = make(tmp_path).inference(features, ["a", "b"])
    assert set(answer) == {"file", "text"}
    phones = make(tmp_path, corpus={"name": "libriphone"}, text={"mode": "word"}, metric=["per"])
    assert set(phones.inference(features, ["a", "b"])[0]["phones"].split()) <= {*phones.encoder.symbols}
    (tmp_path / "slots.txt").write_text("O\nartist\n")
    commands = make(tmp_path, **SLOTS | {"text": {"mode": "character-slot", "slots_file": str(tmp_path / "slots.txt")}})
    said = torch.tensor(commands.encoder.encode("BOS PLAY ABBA EOS\tO O artist PlayMusic"))
    commands.logits = lambda _: (torch.nn.functional.one_hot(said.repeat_interleave(2), len(commands.encoder))[None].float(), None)
    (answer,) = commands.inference([], ["a"])
    assert answer == {
        "file": "a",
        "text": "PLAY ABA",  # equal neighbours with no blank between them are one
        "slots": [{"slot": "artist", "value": "ABA"}],
        "tagged": "PLAY B-artist ABA E-artist",
    }


def test_features_without_frames(tmp_path: Path):
    loss = make(tmp_path)("dev", [torch.zeros(0, 6)], [[4, 1]], ["a"], records=defaultdict(list))
    assert loss.item() == 0


def test_labels_longer_than_the_features_are_counted(caplog: pytest.LogCaptureFixture):
    too_long = LongLabels()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            too_long.note([[4, 5, 1], [4, 4, 5, 1]], torch.tensor([4, 4]), ["long", "longer"])
            too_long.report()
        too_long.note([[4] * 9], torch.tensor([4]), ["longest"])
        too_long.report()
    assert [record.getMessage() for record in caplog.records] == [
        f"{count} utterances so far have fewer frames than their labels need, such as longer; such utterances teach nothing"
        for count in (1, 2)
    ]


@pytest.mark.parametrize(
    ("name", "classes", "parameters"),
    [
        ("config", 74, 240 * 256 + 256 + 256 * 74 + 74),
        ("libriphone", 74, 240 * 256 + 256 + 256 * 74 + 74),
        ("librispeech", 31, None),
        ("sbcsae", 31, None),
        ("libriphone_convolution", 74, None),
    ],
)
def test_shipped_configs(repo: Path, tmp_path: Path, name: str, classes: int, parameters: int | None):
    config = yaml.safe_load((repo / f"downstream/ctc/{name}.yaml").read_text())
    expert = DownstreamExpert(240, 160, expdir=tmp_path, mode="evaluate", **config)
    assert expert.logits([torch.zeros(12, 240)])[0].size(-1) == classes
    assert parameters in (None, sum(parameter.numel() for parameter in expert.parameters()))


@pytest.mark.parametrize("language", ["es", "ar", "zh"])
def test_configs_for_common_voice(repo: Path, tmp_path: Path, language: str):
    """Tables beside the recordings; the vocabulary is that of the training texts."""
    for split in ("train", "dev"):
        (tmp_path / f"{split}.tsv").write_text("path\ttext\na.wav\tÑANDÚ\n", encoding="utf-8")
    config = yaml.safe_load((repo / f"downstream/ctc/cv_config/cv_{language}.yaml").read_text())
    config["downstream_expert"]["corpus"]["path"] = str(tmp_path)
    config["downstream_expert"]["model"]["RNNs"] = {"dim": [8]}
    expert = DownstreamExpert(240, 160, expdir=tmp_path, mode="train", **config)
    assert expert.encoder.vocabulary == ("A", "D", "N", "Ñ", "Ú")
    assert [example.ids for example in expert.corpus_of("dev")] == [[6, 3, 5, 4, 7, 1]]


def test_the_default_config_is_that_of_libriphone(repo: Path):
    assert (repo / "downstream/ctc/config.yaml").read_bytes() == (repo / "downstream/ctc/libriphone.yaml").read_bytes()


@pytest.mark.parametrize("name", ["snips", "snips_convolution"])
def test_slot_filling_has_as_many_classes_as_published(repo: Path, tmp_path: Path, name: str):
    (tmp_path / "slots.txt").write_text("\n".join(["O", *(f"slot_{number}" for number in range(39))]))
    config = yaml.safe_load((repo / f"downstream/ctc/{name}.yaml").read_text())
    config["downstream_expert"]["text"]["slots_file"] = str(tmp_path / "slots.txt")
    assert len(DownstreamExpert(240, 160, expdir=tmp_path, mode="evaluate", **config).encoder) == 109


@pytest.mark.parametrize(
    ("sections", "error", "sentence"),
    [
        ({"metric": ["wre"]}, UnknownNameError, "unknown metric .* did you mean 'wer'"),
        ({"metric": []}, ConfigError, "at least one"),
        ({"metric": "per"}, ConfigError, "metric must be a list of names, not 'per'"),
        ({"metric_higher_better": "no"}, ConfigError, "metric_higher_better must be True or False, not 'no'"),
        ({"model": None}, ConfigError, "model is None, not a section of fields"),
        ({"model": {"project_dim": 0, "select": "FrameLevel"}}, ConfigError, "project_dim must be a whole number of at least 1, not 0"),
        ({"text": {"mode": "charater"}}, UnknownNameError, "did you mean 'character'"),
        ({"text": {"mode": "character", "vocab": "x"}}, ConfigError, "unknown field 'vocab'; did you mean 'vocab_file'"),
        ({"model": {"select": "FrameLevel"}}, ConfigError, "field 'project_dim' is missing"),
        ({"model": {"project_dim": 4, "select": "RNN"}}, UnknownNameError, "did you mean 'RNNs'"),
        ({"model": {"project_dim": 4, "select": "StackedConvolution", "StackedConvolution": {"total_rate": 9}}}, ConfigError, "no mult"),
        ({"corpora": {}}, ConfigError, "unknown field 'corpora'"),
        ({"corpus": None}, ConfigError, "corpus is None, not a section of fields"),
        ({"text": None}, ConfigError, "text is None, not a section of fields"),
        ({"datarc": 5}, ConfigError, "datarc is 5, not a section of fields"),
        ({"save_best_on": "dev"}, ConfigError, r"save_best_on must be a list of texts, such as \[dev\], not 'dev'"),
        ({"text": {"mode": 5}}, UnknownNameError, "unknown text mode '5'"),
        ({"text": {"mode": "character", "slots_file": 5}}, ConfigError, "text: slots_file must be a text, not 5"),
        ({"text": {"mode": "character", "vocab_file": ["a"]}}, ConfigError, "text: vocab_file must be a text"),
        ({"corpus": {"name": "libriphone", "lexicon": 5}}, ConfigError, "corpus: lexicon must be a text or a list of texts, not 5"),
        ({"corpus": {"name": "librispeech", "path": 5}}, ConfigError, "corpus: path must be a text, not 5"),
        ({"corpus": {"name": "snips", "train": ["a"], "a_speakers": "Amy"}}, ConfigError, "a_speakers must be a list of texts, such as"),
        ({"model": {"project_dim": 4, "select": "RNNs", "RNNs": {"dim": ["8"]}}}, ConfigError, "model.RNNs: dim must be a list"),
        (
            {"model": {"project_dim": 4, "select": "Wav2Letter", "Wav2Letter": {"total_rate": "x"}}},
            ConfigError,
            "total_rate must be a whole",
        ),
    ],
)
def test_wrong_configs(tmp_path: Path, sections: dict, error: type, sentence: str):
    with pytest.raises(error, match=sentence):
        make(tmp_path, **sections)
