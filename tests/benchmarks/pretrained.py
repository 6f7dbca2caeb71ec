"""An upstream that is pre-trained here for a few minutes, against ``fbank`` and itself untrained, by phones and by keywords.

    python3 tests/benchmarks/pretrained.py [--model apc] [--updates 400] [--seeds 1 2 3] [--out FOLDER]

Makes synthetic corpora (``pip install espeakng-loader``), pre-trains on one of them, and trains ``phone_linear`` and ``speech_commands``
on others, whose sentences it has not heard: with the same data, updates and seeds for every upstream. Prints dev and test accuracy,
whatever they say. About 25 minutes on two cores with one seed.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
DATA = "config.downstream_expert.datarc"
RATES = {"apc": "1.0e-3", "npc": "1.0e-3", "tera": "5.0e-4"}


@dataclass(frozen=True)
class Probe:
    """A task on top of each upstream.

    Args:
        task: of ``downstream``.
        words: of the command line, beside upstream, name and seed.
    """

    task: str
    words: tuple[str, ...]


def run(program: str, *words: str | Path) -> str:
    """What a program of the repository prints; its own words are shown if it fails."""
    done = subprocess.run([sys.executable, str(REPO / program), *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{program} {' '.join(map(str, words))} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def corpora(out: Path) -> tuple[Path, list[Probe]]:
    """Writes the corpora; gives the recordings to pre-train on and the tasks."""
    for name, size, seed, folder in (
        ("librispeech", "medium", 7, "heard"),
        ("librispeech", "small", 0, "phones"),
        ("speech_commands", "small", 0, "words"),
    ):
        if not (out / folder).exists():
            run("preprocess/synthesize_corpus.py", "--corpus", name, "--size", size, "--seed", str(seed), "--out", out / folder)
    phones = out / "phones"
    run("preprocess/generate_len_for_bucket.py", "-i", phones / "LibriSpeech", "-o", phones / "data", "--splits", "train-clean-100")
    periods = ",,".join(f"config.runner.{name}_step=60" for name in ("log", "eval", "save"))
    sizes = f"{DATA}.train_batch_size=8,,{DATA}.eval_batch_size=16,,{DATA}.num_workers=0"
    where = {"libri_root": "LibriSpeech", "bucket_file": "data/len_for_bucket", "phone_path": "phone_labels"}
    places = ",,".join(f"{DATA}.{field}={phones / folder}" for field, folder in where.items())
    words = out / "words"
    parts = {"": "", "_test": "_test_set"}
    roots = ",,".join(f"{DATA}.speech_commands{name}_root={words / f'speech_commands{part}_v0.01'}" for name, part in parts.items())
    return out / "heard/LibriSpeech", [
        Probe("phone_linear", ("-o", f"config.runner.total_steps=120,,{periods},,config.optimizer.lr=5.0e-3,,{sizes},,{places}")),
        Probe("speech_commands", ("-c", str(REPO / "downstream/speech_commands/convolution.yaml"), "-o", roots)),
    ]


def pretrain(model: str, updates: int, sounds: Path, place: Path) -> Path:
    """Trains the model for so many updates of eight utterances; its checkpoint."""
    import yaml

    config = yaml.safe_load((REPO / f"downstream/pretrain_{model}/config.yaml").read_text())
    config["runner"] = {"total_steps": updates, "gradient_clipping": 5, "gradient_accumulate_steps": 1, "log_step": max(1, updates // 8)}
    config["runner"] |= {"eval_step": max(1, updates // 4), "save_step": max(1, updates // 4), "max_keep": 1, "eval_dataloaders": ["dev"]}
    config["optimizer"] = {"name": "Adam", "lr": float(RATES.get(model, "5.0e-4"))}
    data = {"libri_root": str(sounds), "train": ["train-clean-100"], "dev": ["dev-clean"], "train_batch_size": 8, "eval_batch_size": 8}
    config["downstream_expert"]["datarc"] = {**data, "num_workers": 1}
    place.mkdir(parents=True, exist_ok=True)
    (place / "config.yaml").write_text(yaml.safe_dump(config))
    run(
        "run_downstream.py",
        "-u",
        "waveform",
        "-d",
        f"pretrain_{model}",
        "-c",
        place / "config.yaml",
        "-p",
        place / "run",
        "--device",
        "cpu",
        "-a",  # an interrupted benchmark goes on
    )
    return place / f"run/states-{updates}.ckpt"


def score(probe: Probe, upstream: tuple[str, ...], seed: int, place: Path) -> tuple[float, float]:
    """The best dev accuracy and the test accuracy of its step."""
    run("run_downstream.py", "-d", probe.task, *upstream, "-p", place, "--seed", str(seed), "--device", "cpu", *probe.words)
    said = run("utility/get_best_dev.py", place / "log.log").split()
    return float(said[said.index("score") + 1]), float(said[-1])


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="apc", choices=sorted(RATES))
    parser.add_argument("--updates", type=int, default=400, help="of the pre-training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="of the tasks")
    parser.add_argument("--out", type=Path, help="keep corpora and runs here (default: a temporary folder)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        out = (args.out or Path(temporary)).resolve()
        sounds, probes = corpora(out)
        start = time.monotonic()
        trained = pretrain(args.model, args.updates, sounds, out / f"{args.model}-{args.updates}")
        print(f"{args.model}: {args.updates} updates in {(time.monotonic() - start) / 60:.1f} minutes", flush=True)
        untrained = pretrain(args.model, 1, sounds, out / f"{args.model}-1")
        reader = f"{args.model}_local"
        upstreams = {
            "fbank": ("-u", "fbank"),
            "untrained": ("-u", reader, "-k", str(untrained)),
            "pre-trained": ("-u", reader, "-k", str(trained)),
        }
        for probe in probes:
            for name, words in upstreams.items():
                place = out / f"{probe.task}-{name}-{args.model}-{args.updates}"
                scores = [score(probe, words, seed, place / str(seed)) for seed in args.seeds]
                dev, test = (statistics.mean(column) for column in zip(*scores, strict=True))
                print(f"{probe.task:16} {name:12} dev {dev:.3f}  test {test:.3f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
