"""Whether the task learns: phones and slots on synthetic speech, beside what knows nothing of the recordings but their lengths."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from downstream.blocks.ark import read_ark
from downstream.ctc.corpora import Example, examples_of, make_encoder, pronouncing, read_split
from run_downstream import main
from tests.downstream.ctc.layouts import libriphone_override, snips_override
from tests.downstream.seeds import SEEDS
from tests.support.corpora import synthetic
from utility.audio.io import audio_info
from utility.metrics.error_rates import per
from utility.metrics.slots import SLOT_METRICS, paired, slots_of

PHONES, COMMANDS = "libriphone_convolution", "snips_convolution"
MOST_PER, LEAST_F1 = 0.40, 0.60
TEXT = {"mode": "word", "vocab_file": "downstream/ctc/vocab/phoneme.txt"}
AGAIN = (  # a few sentences, again and again
    "config.runner.total_steps={0},,config.runner.eval_step={0},,config.runner.save_step={0},,config.runner.log_step=20,,"
    "config.runner.tensorboard=False,,config.scheduler.num_warmup_steps=10,,config.optimizer.lr=5.0e-3,,"
    "config.downstream_expert.corpus.num_workers=0,,config.downstream_expert.model.StackedConvolution={1}"
)
ONE_LAYER = {"channels": [96], "kernel_size": 9, "activation": "GELU"}
FEW = f"{AGAIN.format(40, ONE_LAYER)},,config.downstream_expert.corpus.dev=['train-clean-100']"  # 12 of them
FEW_COMMANDS = (  # 4 of them, of the part that usually is dev
    f"{AGAIN.format(60, ONE_LAYER)},,config.specaug=None,,"
    "config.downstream_expert.corpus.train=['valid'],,config.downstream_expert.corpus.test=['train', 'test']"
)


@dataclass(frozen=True)
class Blind:
    """Phone error rates of hypotheses that need no recognition.

    Args:
        majority: the most frequent phone, as often as the recording's duration suggests.
        constant: one sentence of the training for every recording, the best of a hundred.
    """

    majority: float
    constant: float

    @property
    def to_halve(self) -> float:
        """The better one's."""
        return min(self.majority, self.constant)


def blind(train: Sequence[Example], test: Sequence[Example]) -> Blind:
    """Both, from the training labels and the durations."""
    encoder = make_encoder(TEXT)
    seen, truth = ([encoder.decode(example.ids) for example in examples] for examples in (train, test))
    phones = Counter(phone for text in seen for phone in text.split())
    rate = phones.total() / sum(audio_info(example.path).seconds for example in train)
    guesses = [" ".join([phones.most_common(1)[0][0]] * round(rate * audio_info(example.path).seconds)) for example in test]
    constant = min(seen[:: max(1, len(seen) // 100)], key=lambda text: per([text] * len(seen), seen))
    return Blind(per(guesses, truth), per([constant] * len(truth), truth))


def examples(out: Path, part: str) -> list[Example]:
    corpus = {"name": "libriphone", "path": str(out / "LibriSpeech"), "lexicon": str(out / "lexicon.txt"), "test": [part]}
    encoder = make_encoder(TEXT)
    return examples_of(read_split(corpus, "test", slots=False), "test", encoder, pronouncing(corpus, TEXT, encoder))


def test_a_few_sentences_are_learnt(repo: Path, libri: Path, tmp_path: Path):
    words = ["-m", "train", "-u", "fbank", "-d", "ctc", "-c", str(repo / f"downstream/ctc/{PHONES}.yaml"), "-p", str(tmp_path)]
    assert main([*words, "--device", "cpu", "-o", f"{FEW},,{libriphone_override(libri)}"]) == 0
    reached = per(*(read_ark(tmp_path / f"dev-{kind}.ark").values() for kind in ("hyp", "ref")))
    known = examples(libri, "train-clean-100")
    beaten = blind(known, known)
    print(f"PER {reached:.3f}; {beaten}")
    assert reached <= beaten.to_halve / 2


def test_slots_of_a_few_commands_are_learnt(repo: Path, snips: Path, tmp_path: Path):
    """Measured: F1 1 and no wrong letter in any value; the best constant set of types has 0.5."""
    words = ["-m", "train", "-u", "fbank", "-d", "ctc", "-c", str(repo / f"downstream/ctc/{COMMANDS}.yaml"), "-p", str(tmp_path)]
    assert main([*words, "--device", "cpu", "-o", f"{FEW_COMMANDS},,{snips_override(snips)}"]) == 0
    heard, said = (read_ark(tmp_path / f"dev-{kind}.ark").values() for kind in ("hyp", "ref"))
    f1, wrong = (SLOT_METRICS[name](paired(heard, said)) for name in ("slot_type_f1", "slot_value_cer"))
    beaten = best_constant_f1([{kind for kind, _ in slots_of(text)} for text in said])
    print(f"slot type F1 {f1:.3f}, error rate of the values {wrong:.3f}; best constant answer {beaten:.3f}")
    assert 1 - f1 <= (1 - beaten) / 2
    assert wrong < 0.25


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic LibriSpeech that a newcomer writes."""
    return synthetic("librispeech", tmp_path_factory.mktemp("speech"), "small", jobs=None)


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic SNIPS that a newcomer writes."""
    return synthetic("snips", tmp_path_factory.mktemp("commands"), "small", jobs=None)


def score(repo: Path, place: Path, config: str, override: str, seed: int, metric: str) -> float:
    """Trains and tests as the README prints it; the score of the best checkpoint on test."""
    train = ["-m", "train", "-u", "fbank", "-d", "ctc", "-c", str(repo / f"downstream/ctc/{config}.yaml"), "-n", "run"]
    folder = place / "result/downstream/run"
    for words in (
        [*train, "--seed", str(seed), "--device", "cpu", "-o", override],
        ["-m", "evaluate", "-e", str(folder / "dev-best.ckpt"), "--device", "cpu"],
    ):
        done = subprocess.run([sys.executable, str(repo / "run_downstream.py"), *words], cwd=place, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "results/dev-best/test.json").read_text())["scores"][metric]["value"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_phones_of_unseen_speakers_and_sentences(repo: Path, speech: Path, tmp_path: Path, seed: int):
    reached = score(repo, tmp_path, PHONES, libriphone_override(speech), seed, "per")
    beaten = blind(examples(speech, "train-clean-100"), examples(speech, "test-clean"))
    print(f"seed {seed}: PER {reached:.3f}; {beaten}")
    assert reached < MOST_PER
    assert reached <= beaten.to_halve / 2


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_slots_of_unseen_speakers(repo: Path, commands: Path, tmp_path: Path, seed: int):
    """The best constant set of types is the baseline of the F1."""
    reached = score(repo, tmp_path, COMMANDS, snips_override(commands), seed, "slot_type_f1")
    texts = [" ".join(utterance.text.split("\t")[1].split()[1:-1]) for utterance in _commands(commands, "test")]
    beaten = best_constant_f1([set(text.split()) - {"O"} for text in texts])
    print(f"seed {seed}: slot type F1 {reached:.3f}; best constant answer {beaten:.3f}")
    assert reached > LEAST_F1
    assert 1 - reached <= (1 - beaten) / 2


def _commands(out: Path, part: str) -> list:
    return read_split({"name": "snips", "path": str(out / "SNIPS"), "test": [part]}, "test", slots=True)


def best_constant_f1(types: list[set[str]]) -> float:
    """The highest mean F1 that one set of slot types reaches, of those that occur."""

    def f1(answer: frozenset, truth: set[str]) -> float:
        return 2 * len(answer & truth) / (len(answer) + len(truth)) if answer or truth else 1.0

    return max(sum(f1(answer, truth) for truth in types) / len(types) for answer in {frozenset(truth) for truth in types})
