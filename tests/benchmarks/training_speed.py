"""Steps per second of ``fbank + example`` with the settings of S3PRL's example, and where the time goes.

    python3 tests/benchmarks/training_speed.py [--steps 300] [--workers 2]

The settings are those of S3PRL's ``downstream/example/config.yaml``: two fresh waveforms of 5 to 20 s per batch, two batches per update, an
evaluation of 200 + 200 items every 20 steps, nothing cached. The reference of the ratio is measured here as well: the same number of
waveforms made and passed through torchaudio's Kaldi filterbank, deltas and CMVN one by one with torchaudio's default threads, which is what
S3PRL's ``fbank`` does, without any model, loader or optimizer around it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import site
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

site.addsitedir(str(Path(__file__).resolve().parents[2]))

SETTINGS = {
    "gradient_accumulate_steps": 2,
    "log_step": 10,
    "eval_step": 20,
    "save_step": 20,
    "tensorboard": True,
}


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300, help="optimizer updates (a multiple of 20)")
    parser.add_argument("--workers", type=int, default=2, help="loader workers")
    args = parser.parse_args()
    spent, audio, seconds = train(args.steps, args.workers)
    print(f"ours: {args.steps} steps in {seconds:.1f} s, {args.steps / seconds:.2f} steps/s, {audio / seconds:.0f} audio seconds/s")
    for what, part in sorted(spent.items(), key=lambda pair: -pair[1]):
        print(f"  {part:7.1f} s  {100 * part / seconds:4.1f} %  {what}")
    sample = min(audio, 2000.0)
    reference = torchaudio_seconds(sample) * audio / sample
    print(f"torchaudio's fbank, deltas and CMVN per utterance for as much audio: {reference:.1f} s (from a sample of {sample:.0f} s)")
    print(f"ratio: {reference / seconds:.2f}")
    return 0


def train(steps: int, workers: int) -> tuple[dict[str, float], float, float]:
    """Trains through the command line; returns seconds by part, seconds of audio, wall seconds."""
    from torch.utils.data import DataLoader

    import downstream.training as training
    from downstream.evaluation import Evaluator
    from downstream.optimisation import Optimisation
    from downstream.pipeline import Pipeline
    from run_downstream import main as run

    spent: dict[str, float] = defaultdict(float)
    audio = [0.0]

    def timed(what: str, function: Callable) -> Callable:
        def measured(*args, **kwargs):
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent[what] += time.perf_counter() - start

        return measured

    loss = timed("the task's forward", Pipeline.loss)

    def counted(self, split, batch, *args, **kwargs):
        audio[0] += sum(len(w) for w in batch[0]) / 16000
        return loss(self, split, batch, *args, **kwargs)

    def waiting(iterator: Iterator) -> Iterator:
        while True:
            start = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                spent["waiting for data and features (made in the loader workers)"] += time.perf_counter() - start
            yield item

    DataLoader.__iter__ = lambda self, honest=DataLoader.__iter__: waiting(honest(self))
    Pipeline.loss = counted
    Optimisation.backward = timed("backward", Optimisation.backward)
    Optimisation.update = timed("optimizer", Optimisation.update)
    training.checkpoints.save = timed("checkpoints", training.checkpoints.save)
    Evaluator.__call__ = timed("(evaluation, with all that is in it)", Evaluator.__call__)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        fields = {**{f"runner.{k}": v for k, v in SETTINGS.items()}, "runner.total_steps": steps, "optimizer.lr": 2e-4}
        fields |= {"scheduler.num_warmup_steps": 1400, "downstream_expert.datarc.num_workers": workers}
        fields |= {"downstream_expert.datarc.train_batch_size": 2, "downstream_expert.datarc.eval_batch_size": 2}
        fields |= {"downstream_expert.modelrc.input_dim": 256}
        override = ",,".join(f"config.{k}={v!r}" for k, v in fields.items())
        start = time.perf_counter()
        status = run(["-u", "fbank", "-d", "example", "-p", folder, "-o", override, "--device", "cpu"])
        seconds = time.perf_counter() - start
    if status:
        sys.exit(f"the training ended with status {status}")
    return spent, audio[0], seconds


def torchaudio_seconds(audio: float) -> float:
    """Wall seconds to make that much noise and to compute S3PRL's fbank of it with torchaudio, one utterance at a time."""
    import torch
    from torchaudio.compliance.kaldi import fbank
    from torchaudio.transforms import ComputeDeltas

    from utility.training.loading import usable_cores

    torch.set_num_threads(usable_cores())
    deltas, done = ComputeDeltas(), 0.0
    start = time.perf_counter()
    while done < audio:
        wav = torch.randn(1, int(torch.randint(80000, 320001, (1,))))
        feature = fbank(wav, num_mel_bins=80, sample_frequency=16000)
        first = deltas(feature.T)
        feature = torch.cat([feature, first.T, deltas(first).T], dim=1)
        (feature - feature.mean(0)) / (feature.std(0) + 1e-10)
        done += wav.size(1) / 16000
    return time.perf_counter() - start


if __name__ == "__main__":
    raise SystemExit(main())
