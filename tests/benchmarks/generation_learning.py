"""What the networks of audio_generation learn of spoken digits in minutes on one core, beside what simpler models can know.

    python3 tests/benchmarks/generation_learning.py [--out FOLDER] [--corpus FOLDER] [--families sashimi ... diffwave] [--measure 64]

Makes the synthetic SC09 (``pip install espeakng-loader``), or takes ``--corpus``, another folder in its layout. Then, after as many updates
and codes for each tiny config: bits per code on test, below the entropy of the very same codes, alone (unigram) and given the code before
(bigram). DiffWave: the error of the noise on test along the training, beside that of guessing none (1, as an untrained network does) and of
the best factor for each noise level and recording, which knows how loud the recording is; and recordings drawn from it, in ``--out``.

``--measure N`` trains the small digit classifier as well, and compares N recordings of a second that each network of codes generates with
the training set, beside the test set's recordings.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import site
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
site.addsitedir(str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
import yaml

from downstream.audio_generation.data.corpora import Corpus
from downstream.audio_generation.denoising.dataset import WaveDataset
from downstream.audio_generation.models.diffusion import Schedule
from downstream.audio_generation.models.diffwave import build_diffwave
from run_downstream import main as command
from tests.downstream.audio_generation.layouts import RATE, TASK
from tests.downstream.audio_generation.learning import codes_of, entropies, run, train

FAMILIES = ("sashimi", "wavenet", "samplernn", "diffwave")
MEASURES = ("fid", "is", "mis", "am", "ndb")
CLASSIFIER = TASK.parent / "sc09_classifier"
PARTS = 4  # of DiffWave's training, each with an evaluation behind it


def main() -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="keeps corpus, checkpoints and recordings (default: a folder that is removed)")
    parser.add_argument("--corpus", type=Path, help="a folder in the layout of SC09")
    parser.add_argument("--speakers", type=int, default=40, help="of the synthetic corpus; few make pairs of codes rare")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--updates", type=int, default=600, help="of 2 x 1024 codes")
    parser.add_argument("--diffwave-updates", type=int, default=1000, help="of 8 waveforms")
    parser.add_argument("--diffwave-length", type=int, default=4000, help="samples of each, a multiple of 16")
    parser.add_argument("--measure", type=int, default=0, metavar="N", help="recordings to generate and to compare with the training set")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        out = args.out or Path(temporary)
        corpus = args.corpus or synthetic(out / "corpus", args.speakers)
        if codes := [name for name in args.families if name != "diffwave"]:
            predictors(out, corpus, codes, args.updates, args.seed)
            if args.measure:
                measure(out, corpus, codes, args.measure, args.seed)
        if "diffwave" in args.families:
            denoiser(out / "diffwave", corpus, args.diffwave_updates, args.diffwave_length, args.seed)
    return 0


def synthetic(place: Path, speakers: int) -> Path:
    """Digits of a synthesizer; those that are there already are taken."""
    from preprocess.synthesis.corpora import synthesize

    if not (place / "sc09").is_dir():
        synthesize("sc09", place, speakers, jobs=1)
    return place / "sc09"


def predictors(out: Path, corpus: Path, families: list[str], updates: int, seed: int, length: int = 1024, batch: int = 2) -> None:
    """A line for each network that predicts codes."""
    codes = codes_of(corpus, "test", length)
    unigram, bigram = entropies(codes)
    print(f"{sum(map(len, codes)):,} test codes: unigram {unigram:.2f}, bigram {bigram:.2f} bits per code")
    print("family       parameters   updates   bits per code   below bigram         s", flush=True)
    for family in families:
        found = train(out / family, corpus, family, updates, length, batch, seed)
        bits, parameters = found["bpb"], found["parameters"]
        print(f"{family:10} {parameters:12,} {updates:9} {bits:15.2f} {bigram - bits:14.2f} {found['seconds']:9.0f}", flush=True)


def measure(out: Path, corpus: Path, families: list[str], count: int, seed: int) -> None:
    """The scores of what the networks generate, by a classifier that is trained for it."""
    classifier, section = out / "classifier", "config.downstream_expert.samples"
    words = ["-m", "train", "-u", "waveform", "-d", "sc09_classifier", "-c", str(CLASSIFIER / "small.yaml"), "-p", str(classifier), "-a"]
    succeed(
        *words, "--seed", str(seed), "-o", f"config.downstream_expert.datarc.path={corpus},,config.downstream_expert.datarc.num_workers=0"
    )
    best = classifier / "dev-best.ckpt"
    succeed("-m", "evaluate", "-t", "test", "-e", str(best))
    succeed("-m", "evaluate", "-t", "samples", "-e", str(best))
    results = classifier / "results" / "dev-best"
    print(
        f"classifier: accuracy {scores(results / 'test.json')['acc']:.3f} on test\n{'':12} " + " ".join(f"{name:>8}" for name in MEASURES)
    )
    whole = scores(results / "samples.json")
    print(f"{'test set':12} " + " ".join(f"{whole[f'test_{name}']:8.2f}" for name in MEASURES), flush=True)
    for family in families:
        folder = out / f"{count}-{family}"
        options = {"n_samples": count, "save_dir": folder}
        drawn = ",,".join(f"config.downstream_expert.generate.{name}={value}" for name, value in options.items())
        succeed("-m", "evaluate", "-t", "generate", "-e", str(out / family / "dev-best.ckpt"), "-o", drawn)
        succeed("-m", "evaluate", "-t", "samples", "-e", str(best), "-o", f"{section}.dir={folder}")
        found = scores(results / f"samples-{folder.name}.json")
        print(f"{family:12} " + " ".join(f"{found[name]:8.2f}" for name in MEASURES), flush=True)


def succeed(*words: str) -> None:
    """A command line on the CPU."""
    assert command([*words, "--device", "cpu"]) == 0


def scores(path: Path) -> dict[str, float]:
    """The values in a file of results."""
    return {name: score["value"] for name, score in json.loads(path.read_text())["scores"].items()}


def denoiser(place: Path, corpus: Path, updates: int, length: int, seed: int) -> None:
    """What DiffWave learns, and recordings that it draws."""
    content = yaml.safe_load((TASK / "diffwave-tiny.yaml").read_text())
    expert, every = content["downstream_expert"], max(1, updates // PARTS)
    expert["datarc"] |= {"path": str(corpus), "sample_len": length, "num_workers": 0}
    expert["modelrc"]["L"], expert["generate"]["l_sample"] = length, length
    saving = {"total_steps": updates, "eval_step": every, "save_step": updates, "eval_dataloaders": ["test"], "tensorboard": False}
    content["runner"] |= saving
    schedule, wavs = schedule_of(expert["diffusion"]), waveforms(corpus, length)
    begun = time.monotonic()
    after = run(place, content, seed)["loss"]["value"]
    seconds = time.monotonic() - begun
    parameters = sum(weight.numel() for weight in build_diffwave(expert["modelrc"], "modelrc").parameters())
    print(
        f"diffwave   {parameters:12,} parameters, {updates} updates of 8 x {length} samples, {seconds:.0f} s; error of the noise on test:"
    )
    print(f"    no noise guessed {1:.3f}, best factor {best_factor(schedule, wavs):.3f}, {curve(place)}, at the end {after:.3f}")
    folder = place / "drawn"
    words = ["-m", "evaluate", "-t", "generate", "-e", str(place), "-o", f"config.downstream_expert.generate.save_dir={folder}"]
    succeed(*words)
    print(f"    {len(list(folder.glob('*.wav')))} recordings in {folder}", flush=True)


def schedule_of(fields: dict) -> Schedule:
    """Of the training."""
    from downstream.audio_generation.denoising.settings import Noise

    return Noise(**fields).trained


def waveforms(corpus: Path, length: int) -> list[np.ndarray]:
    """Those of test, with the zeros behind them that the network gets."""
    dataset = WaveDataset(Corpus("sc09", str(corpus), sample_len=length).read("test"), RATE)
    return [np.pad(wav.numpy(), (0, length - len(wav))) for wav in map(dataset.__getitem__, range(len(dataset)))]


def best_factor(schedule: Schedule, wavs: list[np.ndarray]) -> float:
    """The mean error over steps and recordings where the noise is guessed as a multiple of what is heard."""
    kept = schedule.kept.numpy()[:, None]
    power = np.array([np.square(wav).mean() for wav in wavs])
    return float((kept * power / (kept * power + 1 - kept)).mean())


def curve(place: Path) -> str:
    """The errors along the training."""
    found = re.findall(r"^test at step (\d+): (\S+)", (place / "log.log").read_text(), re.MULTILINE)
    return ", ".join(f"after {step} {float(error):.3f}" for step, error in found)


if __name__ == "__main__":
    raise SystemExit(main())
