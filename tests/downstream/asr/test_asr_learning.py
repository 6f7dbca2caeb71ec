"""Does speech recognition learn? Tones, synthetic speech of unseen speakers with and without a language model, real recordings."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from downstream.blocks.ark import read_ark
from downstream.blocks.librispeech import scan_split
from run_downstream import main
from tests.downstream.asr.arpa import write_arpa, write_lexicon
from tests.downstream.asr.spelling import lay_out, sentences, spell
from tests.downstream.librispeech import Layout, measured, synthetic, write_utterances
from tests.downstream.native import native_recordings
from tests.downstream.seeds import SEEDS
from utility.audio.io import load_audio, save_audio
from utility.metrics.error_rates import cer

CONFIG = "downstream/asr/small.yaml"
TONES = (
    "config.runner.total_steps=90,,config.runner.eval_step=90,,config.runner.save_step=90,,config.runner.log_step=90,,"
    "config.runner.tensorboard=False,,config.optimizer.lr=1.0e-2,,config.scheduler.num_warmup_steps=5,,"
    "config.downstream_expert.datarc.batch_size=8,,config.downstream_expert.datarc.num_workers=0,,"
    "config.downstream_expert.modelrc.project_dim=32,,config.downstream_expert.modelrc.RNNs.dim=[48]"
)


def result(folder: Path, split: str, checkpoint: str = "dev-best") -> dict[str, float]:
    """Scores of an evaluation."""
    found: dict[str, Any] = json.loads((folder / f"results/{checkpoint}/{split}.json").read_text())
    return {name: score["value"] for name, score in found["scores"].items()}


def train(repo: Path, layout: Layout, folder: Path, more: str = "", seed: int = 1) -> Path:
    words = ["-m", "train", "-u", "fbank", "-d", "asr", "-c", str(repo / CONFIG), "-p", str(folder), "--seed", str(seed), "--device", "cpu"]
    assert main([*words, "-o", f"{layout.override}{',,' if more else ''}{more}"]) == 0
    return folder


def evaluate(folder: Path, split: str, more: str = "", checkpoint: str = "dev-best") -> dict[str, float]:
    words = ["-m", "evaluate", "-t", split, "-e", str(folder / f"{checkpoint}.ckpt"), "--device", "cpu"]
    assert main([*words, *(["-o", more] if more else [])]) == 0
    return result(folder, f"{split}-LM" if "kenlm" in more else split, checkpoint)


def with_model(folder: Path, texts: list[str]) -> str:
    """A model and a lexicon of these texts, as an argument of ``-o``."""
    write_arpa(folder / "lm.arpa", texts)
    write_lexicon(folder / "words.lst", texts)
    where = "config.downstream_expert.datarc.decoder_args"
    return f"{where}.decoder_type='kenlm',,{where}.kenlm_model='{folder / 'lm.arpa'}',,{where}.lexicon='{folder / 'words.lst'}'"


def best_constant(layout: Layout, split: str) -> float:
    """Character error rate of the training sentence that is the best single answer to a split."""
    said = [utterance.text for utterance in scan_split(layout.root, split)]
    seen = sorted({utterance.text for utterance in scan_split(layout.root, "train-clean-100")})
    return min(cer([answer] * len(said), said) for answer in seen[:: max(1, len(seen) // 100)])


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return lay_out(tmp_path_factory.mktemp("tones"), {"train-clean-100": 60, "dev-clean": 8, "test-clean": 16})


@pytest.fixture(scope="module")
def trained(repo: Path, tones: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short training on tones."""
    return train(repo, tones, tmp_path_factory.mktemp("run"), TONES)


def test_tones_are_read(trained: Path, tones: Layout):
    """Letters of texts that it never heard."""
    scores = evaluate(trained, "test-clean")
    constant = 100 * best_constant(tones, "test-clean")
    print(f"test-clean: letters {scores['uer']:.1f} %, words {scores['wer']:.1f} % wrong; best constant answer {constant:.1f} %")
    assert scores["uer"] < min(25, constant / 2)
    assert evaluate(trained, "test-clean", checkpoint="dev-clean-best") == scores
    heard, said = (read_ark(trained / f"results/dev-best/test-clean-noLM-{kind}.ark") for kind in ("hyp", "ref"))
    assert list(heard) == list(said)
    assert len(said) == 16


def test_a_language_model_helps(trained: Path, tones: Layout, tmp_path: Path):
    for package in ("flashlight.lib.text", "kenlm"):
        pytest.importorskip(package)
    texts = [utterance.text for utterance in scan_split(tones.root, "train-clean-100")]
    plain = evaluate(trained, "test-clean")
    scores = evaluate(trained, "test-clean", with_model(tmp_path, texts))
    print(f"test-clean: words {plain['wer']:.1f} % wrong, with the model {scores['wer']:.1f} %")
    assert scores["uer"] == pytest.approx(plain["uer"])
    assert scores["wer"] <= plain["wer"]
    assert (trained / "results/dev-best/test-clean-LM-hyp.ark").exists()
    assert result(trained, "test-clean", "dev-best") == plain  # each has a file of its own


def test_without_the_packages_it_is_one_sentence(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setitem(sys.modules, "flashlight.lib.text", None)
    words = ["-m", "evaluate", "-t", "test-clean", "-e", str(trained / "dev-best.ckpt"), "--device", "cpu"]
    assert main([*words, "-o", with_model(tmp_path, ["GO"])]) == 2
    assert "pip install flashlight-text" in capsys.readouterr().err


def test_recordings_of_a_user(trained: Path, tmp_path: Path):
    import numpy as np

    rng = np.random.default_rng(9)
    text = sentences(rng, 1)[0]
    save_audio(tmp_path / "mine/one.wav", np.repeat(spell(text, rng)[:, None], 2, axis=1), 16000)
    output = tmp_path / "answers.jsonl"
    words = ["-m", "inference", "-t", str(tmp_path / "mine"), "-e", str(trained / "dev-best.ckpt"), "--device", "cpu"]
    assert main([*words, "--output", str(output)]) == 0
    (answer,) = [json.loads(line) for line in output.read_text().splitlines()]
    assert cer([answer["text"]], [text]) < 0.5


def test_real_recordings_of_several_rates(trained: Path, shared: Path, capsys: pytest.CaptureFixture):
    """What a recogniser of tones hears in them does not matter; each has a text, in the answers and in the file."""
    files = list(map(str, native_recordings(shared)))
    assert main(["-m", "inference", "-t", *files, "-e", str(trained / "dev-best.ckpt"), "--device", "cpu"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["file"] for answer in answers] == files
    assert any(answer["text"] for answer in answers)
    kept = read_ark(trained / "results/dev-best/inference.ark")
    assert kept == {Path(answer["file"]).stem: answer["text"] for answer in answers}


def test_the_wrong_split_is_one_sentence(trained: Path, capsys: pytest.CaptureFixture):
    assert main(["-m", "evaluate", "-e", str(trained / "dev-best.ckpt"), "--device", "cpu"]) == 2
    assert "unknown split 'test'" in capsys.readouterr().err


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """The corpus that a newcomer writes."""
    return synthetic(tmp_path_factory.mktemp("small"), "small", jobs=None)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_sentences_of_unseen_speakers(repo: Path, small: Layout, tmp_path: Path, seed: int):
    folder = train(repo, small, tmp_path / "run", seed=seed)
    scores = evaluate(folder, "test-clean")
    constant = 100 * best_constant(small, "test-clean")
    print(f"seed {seed}, test-clean: letters {scores['uer']:.1f} %, words {scores['wer']:.1f} % wrong; constant answer {constant:.1f} %")
    assert scores["uer"] < min(40, constant / 2)
    for package in ("flashlight.lib.text", "kenlm"):
        pytest.importorskip(package)
    texts = [utterance.text for utterance in scan_split(small.root, "train-clean-100")]
    better = evaluate(folder, "test-clean", with_model(tmp_path, texts))
    print(f"seed {seed}, test-clean with a model of the training texts: words {better['wer']:.1f} % wrong")
    assert better["wer"] < scores["wer"] - 5


@pytest.mark.slow
def test_real_recordings_can_be_learned_by_heart(repo: Path, shared: Path, tmp_path: Path):
    """Ten words and sentences that it trains on itself: it shows that real speech goes through, not that unseen speech is understood."""
    chapter = shared / "data/librispeech_mini"
    files = sorted(chapter.rglob("237-134500-000[0-4].flac"))
    texts = dict(line.split(" ", 1) for line in next(chapter.rglob("237-134500.trans.txt")).read_text().splitlines())
    words = [json.loads(line) for line in next((shared / "data/an4_tiny").rglob("an4_train.json")).read_text().splitlines()][:8]
    an4 = [(next((shared / "data/an4_tiny").rglob(Path(row["audio_filepath"]).name)), row["text"]) for row in words]
    spoken = [(load_audio(path, 16000), text) for path, text in [*((path, texts[path.stem]) for path in files), *an4]]
    for split in ("train-clean-100", "dev-clean", "test-clean"):
        write_utterances(tmp_path / "LibriSpeech", split, 237, 1, spoken)
    layout = measured(tmp_path / "LibriSpeech")
    steps = "config.runner.total_steps=200,,config.runner.eval_step=100,,config.downstream_expert.datarc.batch_size=4"
    scores = evaluate(train(repo, layout, tmp_path / "run", steps), "test-clean")
    print(f"learned by heart: letters {scores['uer']:.1f} % wrong")
    assert scores["uer"] < 30
