"""Speech enhancement: training, the same network in torch, ONNX, int8 and streamed, its size; and metrics in processes.

    python3 tests/benchmarks/enhancement.py [--models STFTTCNN ConvLSTMDenoiser] [--seconds 4] [--files 24] [--batch 4]

One row a network, with random weights: training steps per second (``--batch`` recordings of two seconds), real-time factor (time spent
over length of the recording, spectra and waveform included) on one thread of torch, of the float and of the int8 ONNX file, and of the
streamer that gets hop by hop; the streamer's delay; parameters, multiplications per second of audio, largest activations of a second,
sizes of both files. The best of three runs. Then seconds per file of the five default metrics: one after the other, and as the task
does it, in processes; these are started before the clock, as in a training they are after the first evaluation.
"""

from __future__ import annotations

import argparse
import site
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn  # imported by the functions alone: processes that score import this file, as they do run_downstream.py

ROOT = Path(__file__).resolve().parents[2]
site.addsitedir(str(ROOT))
RATE = 16000
METRICS = ("pesq", "stoi", "snr", "si-snr", "mse")


def main() -> int:
    """Prints both tables."""
    import torch

    from downstream.speech_enhancement.models.registry import MODELS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=sorted(MODELS), choices=sorted(MODELS))
    parser.add_argument("--seconds", type=float, default=4, help="length of the recording that is enhanced")
    parser.add_argument("--batch", type=int, default=4, help="recordings of a training step")
    parser.add_argument("--files", type=int, default=24, help="recordings that are scored; 0: none")
    args = parser.parse_args()
    torch.set_num_threads(1)
    columns = (
        "network",
        "steps/s",
        "torch",
        "float",
        "int8",
        "streamed",
        "delay ms",
        "param K",
        "MMAC/s",
        "act KiB",
        "float KiB",
        "int8 KiB",
    )
    print(" ".join(f"{column:>10}" for column in columns))
    for name in args.models:
        print(" ".join(f"{cell:>10}" for cell in row(name, args.seconds, args.batch)), flush=True)
    if args.files:
        score(args.files)
    return 0


def row(name: str, seconds: float, batch: int) -> list[str]:
    """All figures of one network."""
    import torch

    from downstream.speech_enhancement.masking import enhance, mask_of
    from downstream.speech_enhancement.models.registry import build_model
    from downstream.speech_enhancement.onnx.export import export
    from downstream.speech_enhancement.onnx.footprint import footprint
    from downstream.speech_enhancement.onnx.options import Quantization
    from downstream.speech_enhancement.onnx.quantization import quantize
    from downstream.speech_enhancement.onnx.session import OnnxMask
    from downstream.speech_enhancement.onnx.streamed import masks_of, measure
    from utility.audio.stft import Stft, StftOptions

    torch.manual_seed(0)
    shipped = {"n_blocks": 2, "num_layers": 3, "mask_activation": "sigmoid"} if name == "STFTTCNN" else {}
    stft = Stft(StftOptions(sample_rate=RATE))
    model = build_model(name, shipped, stft.options.bins)
    steps = training(model, batch)
    model.eval()
    wave = speech(seconds, 0)[1]
    with tempfile.TemporaryDirectory() as folder:
        path = export(model, Path(folder) / "float.onnx", stft.options.bins)
        made = quantize(path, Path(folder), [lambda: stft.magnitude(wave).unsqueeze(0).numpy()], Quantization())
        single = {kind: OnnxMask(file, stft.options.bins, threads=1) for kind, file in (("float", path), ("int8", made.dynamic))}
        masks = {"torch": mask_of(model), **single}
        factors = [best(lambda mask=mask: enhance(wave, stft, mask)) / seconds for mask in masks.values()]
        fresh = masks_of(model, masks["float"], stft.options.bins, None, None, Path(folder) / "step.onnx")
        streamed = min(
            (measure([wave], stft, masks["float"], fresh, time.process_time) for _ in range(3)),
            key=lambda found: found["real_time_factor"].value,
        )
        found = footprint(path, stft.options.bins, 100)
        sizes = [file.stat().st_size / 1024 for file in (path, made.dynamic)]
    speeds = [f"{factor:.4f}" for factor in (*factors, streamed["real_time_factor"].value)]
    rest = (streamed["delay"].value, found.parameters / 1e3, found.macs / 1e6, found.peak_bytes / 1024, *sizes)
    return [name[:10], f"{steps:.2f}", *speeds, *(f"{figure:.1f}" for figure in rest)]


def training(model: nn.Module, batch: int) -> float:
    """Steps per second with the loss spec_mse."""
    import torch

    from downstream.blocks.enhancement.losses import build_loss
    from downstream.speech_enhancement.estimation import Estimator
    from utility.audio.stft import StftOptions

    estimator, loss = Estimator(StftOptions(sample_rate=RATE)), build_loss("spec_mse")
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    clean, noisy = zip(*(speech(2, seed) for seed in range(batch)), strict=True)

    def step() -> None:
        optimizer.zero_grad()
        loss(estimator.batch(model.train(), noisy, clean)).backward()
        optimizer.step()

    return 1 / best(step)


def score(files: int) -> None:
    """Seconds per file of the metrics."""
    from utility.metrics.enhancement import Pair, score_pairs

    pairs = [Pair(str(seed), *(wave.numpy() for wave in speech(3, seed))) for seed in range(files)]
    seconds, found = {}, {}
    list(score_pairs(pairs, RATE, METRICS))
    for name, processes in (("one after the other", 1), ("as the task does it", None)):
        start = time.perf_counter()
        found[name] = list(score_pairs(pairs, RATE, METRICS, processes))
        seconds[name] = (time.perf_counter() - start) / files
        ratio = seconds["one after the other"] / seconds[name]
        print(f"{name:>20}: {seconds[name]:.3f} s for {', '.join(METRICS)} of a file of 3 s, {ratio:.2f} times the former's speed")
    assert found["one after the other"] == found["as the task does it"]


def speech(seconds: float, seed: int) -> tuple[Tensor, Tensor]:
    """Something with syllables, clean and in noise, (n,) each."""
    import torch

    rng = np.random.default_rng(seed)
    time_axis = np.arange(int(seconds * RATE)) / RATE
    voice = sum(np.sin(2 * np.pi * (120 + seed) * k * time_axis) / k for k in range(1, 20))
    clean = 0.1 * voice * np.clip(np.sin(2 * np.pi * 3 * time_axis + seed), 0, None)
    return tuple(torch.from_numpy(wave).float() for wave in (clean, clean + rng.normal(0, 0.02, len(clean))))


def best(function: Callable[[], object]) -> float:
    """Processor seconds, which a busy machine does not lengthen, of the best of three runs after one to warm up."""
    function()
    spent = []
    for _ in range(3):
        start = time.process_time()
        function()
        spent.append(time.process_time() - start)
    return min(spent)


if __name__ == "__main__":
    raise SystemExit(main())
