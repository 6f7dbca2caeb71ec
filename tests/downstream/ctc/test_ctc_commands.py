"""The printed commands, on the tiny synthetic corpora, and answers for recordings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from downstream.blocks.ark import read_ark
from downstream.blocks.librispeech import read_texts
from run_downstream import main
from tests.downstream.ctc.layouts import libriphone_override, snips_override
from utility.metrics.error_rates import per
from utility.text.encoders import PHONEMES

SHORT = (
    "config.runner.total_steps=2,,config.runner.eval_step=2,,config.runner.save_step=2,,config.runner.log_step=1,,"
    "config.runner.tensorboard=False"
)
SMALL_SNIPS = (
    "config.downstream_expert.model.project_dim=8,,config.downstream_expert.model.RNNs={'dim': [8], 'dropout': [0.2]},,"
    "config.downstream_expert.corpus.batch_size=2,,config.downstream_expert.corpus.num_workers=0"
)
BEST = "result/downstream/TrainExpName/dev-best.ckpt"
SMALL_PR = "config.downstream_expert.corpus.batch_size=2,,config.downstream_expert.corpus.num_workers=0"


@pytest.fixture(scope="module")
def phones(repo: Path, libri: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which PR's commands were run as they are printed, but for the path and the length of the training.

    The evaluation, whose output goes into a file, is a process of its own.
    """
    place = tmp_path_factory.mktemp("phones")
    train = ["-m", "train", "-u", "fbank", "-d", "ctc", "--config", str(repo / "downstream/ctc/libriphone.yaml"), "-n", "ExpName"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert main([*train, "--device", "cpu", "-o", f"{SHORT},,{SMALL_PR},,{libriphone_override(libri)}"]) == 0
    words = [sys.executable, str(repo / "run_downstream.py"), "-m", "evaluate", "-e", "result/downstream/ExpName/dev-best.ckpt"]
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 0, done.stderr[-3000:]
    (place / "test.result").write_text(done.stdout)
    return place


def test_phoneme_recognition_as_printed(phones: Path):
    results = phones / "result/downstream/ExpName/results/dev-best"
    hypotheses, references = (read_ark(results / f"test-{kind}.ark") for kind in ("hyp", "ref"))
    assert hypotheses.keys() == references.keys()
    assert len(references) == 6
    expected = per(hypotheses.values(), references.values())
    assert f"test per: {expected}\n" in (phones / "test.result").read_text()
    assert json.loads((results / "test.json").read_text())["scores"]["per"]["value"] == expected
    assert {"dev-hyp.ark", "dev-ref.ark"} <= {file.name for file in (phones / "result/downstream/ExpName").iterdir()}


def test_a_training_from_given_weights_has_its_own_best(repo: Path, phones: Path, libri: Path, tmp_path: Path):
    """Equal weights have the equal error rate, and it is the first one of the new training."""
    init = str(phones / "result/downstream/ExpName/dev-best.ckpt")
    words = ["-m", "train", "-u", "fbank", "-d", "ctc", "-c", str(repo / "downstream/ctc/libriphone.yaml"), "-i", init, "-p", str(tmp_path)]
    assert main([*words, "--device", "cpu", "-o", f"{SHORT},,{SMALL_PR},,{libriphone_override(libri)},,config.optimizer.lr=0.0"]) == 0
    assert (tmp_path / "dev-best.ckpt").exists()


def test_inference_needs_no_corpus(phones: Path, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "answers.jsonl"
    recordings = shared / "data/an4_tiny/an4_clstk_fash"
    checkpoint = str(phones / "result/downstream/ExpName/dev-best.ckpt")
    assert main(["-m", "inference", "-t", str(recordings), "-e", checkpoint, "--device", "cpu", "--output", str(output)]) == 0
    answers = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(answers) == 6
    assert all(set(answer) == {"file", "phones"} for answer in answers)


def test_slot_filling_as_printed(repo: Path, snips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    """There is a best checkpoint, although the F1 after two updates is 0."""
    monkeypatch.chdir(tmp_path)
    train = ["-m", "train", "-u", "fbank", "-d", "ctc", "-c", str(repo / "downstream/ctc/snips.yaml"), "-n", "TrainExpName"]
    assert main([*train, "--device", "cpu", "-o", f"{SHORT},,{SMALL_SNIPS},,{snips_override(snips)}"]) == 0
    capsys.readouterr()
    (snips / "SNIPS/slots.txt").rename(tmp_path / "slots.txt")
    try:
        assert main(["-m", "inference", "-t", str(snips / "SNIPS/test"), "-e", BEST, "--device", "cpu"]) == 0
    finally:
        (tmp_path / "slots.txt").rename(snips / "SNIPS/slots.txt")
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert len(answers) == 4
    assert all(set(answer) == {"file", "text", "slots", "tagged"} for answer in answers)
    assert main(["-m", "evaluate", "-t", "test", "-e", BEST, "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    for metric in ("slot_type_f1", "slot_value_cer", "slot_value_wer", "slot_edit_f1_full", "slot_edit_f1_part", "wer", "cer"):
        assert f"test {metric}: " in printed


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("config.downstream_expert.corpus.path=nowhere", "corpus.path: folder nowhere does not exist"),
        ("config.downstream_expert.corpus.lexicon=nowhere.txt", "lexicon nowhere.txt does not exist"),
        ("config.downstream_expert.text.vocab_file=nowhere.txt", "vocabulary file nowhere.txt does not exist"),
        ("config.downstream_expert.corpus.dev=['dev-claen']", "has no folder 'dev-claen'; did you mean 'dev-clean'"),
    ],
)
def test_mistakes_are_one_sentence(libri: Path, tmp_path: Path, capsys: pytest.CaptureFixture, override: str, sentence: str):
    words = ["-m", "train", "-u", "fbank", "-d", "ctc", "-p", str(tmp_path / "run"), "--device", "cpu"]
    assert main([*words, "-o", f"{libriphone_override(libri)},,{override}"]) == 2
    assert sentence in capsys.readouterr().err.splitlines()[-1]


def test_real_recordings_of_librispeech(shared: Path, libri: Path, tmp_path: Path):
    """One reader of test-clean in the layout of the corpus; words that the synthetic lexicon lacks cost their utterances."""
    folder = tmp_path / "LibriSpeech/test-clean/237"
    folder.parent.mkdir(parents=True)
    folder.symlink_to(shared / "data/librispeech_mini/237")
    override = f"config.downstream_expert.corpus.path={tmp_path / 'LibriSpeech'},,config.downstream_expert.corpus.dev=['test-clean']"
    words = ["-m", "train", "-u", "fbank", "-d", "ctc", "-p", str(tmp_path / "run"), "--device", "cpu"]
    characters = (
        "config.downstream_expert.corpus.name=librispeech,,config.downstream_expert.corpus.train=['test-clean'],,"
        "config.downstream_expert.text={'mode': 'character'},,config.downstream_expert.metric=['wer', 'cer']"
    )
    assert main([*words, "-o", f"{SHORT},,{SMALL_PR},,{override},,{characters}"]) == 0
    references = read_ark(tmp_path / "run/dev-ref.ark")
    assert len(references) == 30
    assert references["237-134500-0000"].startswith("FRANK READ ENGLISH SLOWLY")


def test_phonemes_of_real_recordings(repo: Path, shared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """Training and evaluation with the published config; the lexicon spells the words of all utterances but one."""
    source, names = shared / "data/librispeech_mini/237/134500", [f"237-134500-{number:04d}" for number in (0, 1, 25, 26)]
    folder = tmp_path / "LibriSpeech/test-clean/237/134500"
    folder.mkdir(parents=True)
    (folder / "237-134500.trans.txt").symlink_to(source / "237-134500.trans.txt")
    for name in names:
        (folder / f"{name}.flac").symlink_to(source / f"{name}.flac")
    texts = {name: text for name, text in read_texts(folder / "237-134500.trans.txt").items() if name in names}
    phones = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ'", [*PHONEMES[2:]], strict=False))
    words = sorted({word for name in names[1:] for word in texts[name].split()})
    (tmp_path / "lexicon.txt").write_text("".join(f"{word} {' '.join(phones[letter] for letter in word)}\n" for word in words))

    corpus = {part: ["test-clean"] for part in ("train", "dev", "test")} | {"lexicon": tmp_path / "lexicon.txt"}
    fields = {"path": tmp_path / "LibriSpeech", **corpus}
    override = ",,".join(f"config.downstream_expert.corpus.{name}={value}" for name, value in fields.items())
    config = ["-c", str(repo / "downstream/ctc/libriphone.yaml"), "-p", str(tmp_path / "run"), "--device", "cpu"]
    assert main(["-m", "train", "-u", "fbank", "-d", "ctc", *config, "-o", f"{SHORT},,{SMALL_PR},,{override}"]) == 0
    assert "split 'train': 1 utterances are left out for" in caplog.text
    assert main(["-m", "evaluate", "-t", "test", "-e", str(tmp_path / "run/dev-best.ckpt"), "--device", "cpu"]) == 0
    results = tmp_path / "run/results/dev-best"
    references = read_ark(results / "test-ref.ark")
    assert references == {name: " ".join(phones[letter] for word in texts[name].split() for letter in word) for name in names[1:]}
    score = json.loads((results / "test.json").read_text())["scores"]["per"]["value"]
    assert score == per([read_ark(results / "test-hyp.ark")[name] for name in references], list(references.values()))
