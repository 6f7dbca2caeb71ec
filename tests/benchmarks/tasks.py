"""Tasks: utterances and audio per second of training and of evaluation, beside bare passes through the same features.

    OMP_NUM_THREADS=1 python3 tests/benchmarks/tasks.py [--steps 20] [--size 4]

Speech recognition, phoneme recognition, slot filling, phone classification, spoken question answering, keyword spotting, intent
classification, speaker identification and emotion recognition, each with its recipe for spectral features on a tiny synthetic corpus
(``pip install espeakng-loader``), without loader workers. Training is all that the Runner does for that many updates but its evaluation; an
evaluation is one pass over the splits that the recipe evaluates, with scores. Beside them the very same batches pass through ``fbank``
alone. The ratio says how many times longer the task takes; audio is read for the task, and not for the features. Seconds are those of the
processor, which a busy machine lengthens less than those of the clock, and the ratio hardly; speeds that are to be written down want a
quiet machine and more updates all the same.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import site
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
site.addsitedir(str(ROOT))

DATA = "config.downstream_expert.datarc"
CORPUS = "config.downstream_expert.corpus"


@dataclass(frozen=True)
class Case:
    """A task with its recipe.

    Args:
        name: for the table.
        corpus: the synthetic one.
        task: of ``downstream``.
        config: below the repository.
        fields: of the config, given the folder of the corpus.
    """

    name: str
    corpus: str
    task: str
    config: str
    fields: Callable[[Path], dict[str, Any]]


def _letters(out: Path) -> dict[str, Any]:
    return {f"{DATA}.libri_root": out / "LibriSpeech", f"{DATA}.bucket_file": out / "data/len_for_bucket", f"{DATA}.num_workers": 0}


def _phones(out: Path) -> dict[str, Any]:
    return {f"{CORPUS}.path": out / "LibriSpeech", f"{CORPUS}.lexicon": out / "lexicon.txt", f"{CORPUS}.num_workers": 0}


def _slots(out: Path) -> dict[str, Any]:
    slots = {"config.downstream_expert.text.slots_file": out / "SNIPS/slots.txt"}
    return {f"{CORPUS}.path": out / "SNIPS", f"{CORPUS}.num_workers": 0, **slots}


def _words(out: Path) -> dict[str, Any]:
    from preprocess.synthesis.speech_commands import MAIN, TEST

    return {f"{DATA}.speech_commands_root": out / MAIN, f"{DATA}.speech_commands_test_root": out / TEST, f"{DATA}.num_workers": 0}


def _speakers(out: Path) -> dict[str, Any]:
    return {f"{DATA}.file_path": out / "VoxCeleb1", f"{DATA}.meta_data": out / "voxceleb1/veri_test_class.txt", f"{DATA}.num_workers": 0}


CASES = (
    Case("speech recognition", "librispeech", "asr", "downstream/asr/small.yaml", _letters),
    Case("phoneme recognition", "librispeech", "ctc", "downstream/ctc/libriphone_convolution.yaml", _phones),
    Case("slot filling", "snips", "ctc", "downstream/ctc/snips_convolution.yaml", _slots),
    Case(
        "phone classification",
        "librispeech",
        "phone_1hidden",
        "downstream/phone_1hidden/config.yaml",
        lambda out: {**_letters(out), f"{DATA}.phone_path": out / "phone_labels"},
    ),
    Case(
        "spoken question answering",
        "spoken_qa",
        "spoken_qa",
        "downstream/spoken_qa/fbank.yaml",
        lambda out: {f"{DATA}.root": out / "NMSQA", f"{DATA}.num_workers": 0},
    ),
    Case("keyword spotting", "speech_commands", "speech_commands", "downstream/speech_commands/convolution.yaml", _words),
    Case(
        "intent classification",
        "fluent_commands",
        "fluent_commands",
        "downstream/fluent_commands/convolution.yaml",
        lambda out: {f"{DATA}.file_path": out / "fluent_speech_commands_dataset", f"{DATA}.num_workers": 0},
    ),
    Case("speaker identification", "voxceleb1", "voxceleb1", "downstream/voxceleb1/convolution.yaml", _speakers),
    Case(
        "emotion recognition",
        "iemocap",
        "emotion",
        "downstream/emotion/convolution.yaml",
        lambda out: {f"{DATA}.root": out / "IEMOCAP_full_release", f"{DATA}.num_workers": 0},
    ),
)


@dataclass
class Phase:
    """What was done in training, or in evaluation.

    Args:
        seconds: of the processor.
        batches: the waveforms of each.
    """

    seconds: float = 0.0
    batches: list[list] = field(default_factory=list)

    @property
    def utterances(self) -> int:
        """How many recordings."""
        return sum(map(len, self.batches))

    @property
    def audio(self) -> float:
        """Seconds of them."""
        return sum(len(wav) for batch in self.batches for wav in batch) / 16000


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="optimizer updates")
    sizes = "speakers of the training (spoken_qa: passages, iemocap: utterances of a speaker)"
    parser.add_argument("--size", type=int, default=4, help=sizes)
    args = parser.parse_args()
    print(f"{'':>25}  {'':>10}  utterances/s  audio s/s  audio s/s of fbank  ratio")
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            phases = run(case, prepared(case.corpus, Path(folder), args.size), Path(folder) / case.name, args.steps)
            for name, phase in phases.items():
                bare = features_alone(phase.batches)
                speeds = f"{phase.utterances / phase.seconds:12.1f}  {phase.audio / phase.seconds:9.0f}  {phase.audio / bare:18.0f}"
                print(f"{case.name:>25}  {name:>10}  {speeds}  {phase.seconds / bare:5.1f}", flush=True)
    return 0


def prepared(corpus: str, place: Path, size: int) -> Path:
    """The folder of a corpus, with tables of lengths or lists where its task needs them; made at the first call."""
    from preprocess.synthesis.corpora import synthesize

    out = place / corpus
    if not out.exists():
        with contextlib.redirect_stderr(io.StringIO()):
            synthesize(corpus, out, size)
        if corpus == "librispeech":
            from tests.downstream.librispeech import measured

            measured(out / "LibriSpeech")
        if corpus == "iemocap":
            from preprocess.IEMOCAP_preprocess import main as write_lists

            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                write_lists([str(out / "IEMOCAP_full_release")])
    return out


def run(case: Case, corpus: Path, expdir: Path, steps: int) -> dict[str, Phase]:
    """Trains through the command line, with one evaluation at the end."""
    from run_downstream import main as command

    fields = {f"config.runner.{name}": steps for name in ("total_steps", "log_step", "eval_step", "save_step")}
    fields |= {"config.runner.tensorboard": False, **case.fields(corpus)}
    words = ["-m", "train", "-u", "fbank", "-d", case.task, "-c", str(ROOT / case.config), "-p", str(expdir), "--device", "cpu"]
    said = io.StringIO()
    with watched() as phases, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = command([*words, "-o", ",,".join(f"{name}={value}" for name, value in fields.items())])
    if status:
        sys.exit(f"{case.name} ended with status {status}: {said.getvalue()[-2000:]}")
    return phases


@contextlib.contextmanager
def watched() -> Iterator[dict[str, Phase]]:
    """Counts what the Runner does meanwhile."""
    from downstream.evaluation import Evaluator
    from downstream.pipeline import Pipeline
    from downstream.training import Trainer

    phases = {"training": Phase(), "evaluation": Phase()}
    kept = Pipeline.loss, Evaluator.__call__, Trainer.run

    def loss(self: Any, split: str, batch: Any, *args: Any, **kwargs: Any) -> Any:
        phases["training" if self.downstream.training else "evaluation"].batches.append(list(batch[0]))
        return kept[0](self, split, batch, *args, **kwargs)

    def evaluate(self: Any, *args: Any) -> Any:
        start = time.process_time()
        try:
            return kept[1](self, *args)
        finally:
            phases["evaluation"].seconds += time.process_time() - start

    def train(self: Any, *args: Any) -> None:
        start = time.process_time()
        kept[2](self, *args)
        phases["training"].seconds += time.process_time() - start - phases["evaluation"].seconds

    Pipeline.loss, Evaluator.__call__, Trainer.run = loss, evaluate, train
    try:
        yield phases
    finally:
        Pipeline.loss, Evaluator.__call__, Trainer.run = kept


def features_alone(batches: list[list]) -> float:
    """Seconds of the processor for the features of these batches, once they are warm."""
    import torch

    from upstream.registry import build

    upstream = build("fbank").eval()
    batches = [[torch.as_tensor(wav) for wav in batch] for batch in batches]
    with torch.no_grad():
        upstream(batches[0])
        start = time.process_time()
        for batch in batches:
            upstream(batch)
        return time.process_time() - start


if __name__ == "__main__":
    raise SystemExit(main())
