"""Speed of the baseline features against torchaudio called utterance by utterance.

    python3 tests/benchmarks/baseline_features.py [--seconds 10] [--items 8] [--runs 7] [--variants fbank mfcc ...]

Prints audio seconds per second for one thread and for all, ours and torchaudio's (the same feature, deltas and normalisation), their ratio,
and where the time of fbank goes. Runs of both alternate; the median counts.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import yaml
from torch import Tensor

if __package__ in (None, ""):
    import site

    site.addsitedir(str(Path(__file__).resolve().parents[2]))

from upstream.registry import build, find
from utility.features.deltas_cmvn_cpu import fill_deltas, normalise
from utility.features.power_cpu import BLOCK
from utility.features.threads import use_threads

RATE = 16000
VARIANTS = ("fbank", "fbank_no_cmvn", "mfcc", "spectrogram", "mel", "linear")
Features = Callable[[list[Tensor]], object]


def reference(variant: str) -> Features:
    """The same feature by torchaudio, one utterance after the other."""
    config = yaml.safe_load(Path(find(variant).kwargs["model_config"]).read_text(encoding="utf-8"))
    single = kaldi_reference(config) if "kaldi" in config else spectral_reference(config)
    return lambda wavs: [single(wav) for wav in wavs]


def kaldi_reference(config: dict) -> Callable[[Tensor], Tensor]:
    """torchaudio.compliance.kaldi, its deltas, and CMVN."""
    import torchaudio
    from torchaudio.compliance import kaldi

    feature = getattr(kaldi, config["kaldi"]["feat_type"])
    options = config["kaldi"][config["kaldi"]["feat_type"]]
    deltas = torchaudio.transforms.ComputeDeltas(config["delta"]["win_length"])

    def single(wav: Tensor) -> Tensor:
        parts = [feature(wav[None], sample_frequency=RATE, **options)]
        for _ in range(config["delta"]["order"]):
            parts.append(deltas(parts[-1].T).T)
        whole = torch.cat(parts, dim=-1)
        return (whole - whole.mean(0)) / (1e-10 + whole.std(0)) if config["cmvn"]["use_cmvn"] else whole

    return single


def spectral_reference(config: dict) -> Callable[[Tensor], Tensor]:
    """torchaudio's power spectrum, mel scale, logarithm and CMVN."""
    import torchaudio

    size = 2 * (config["n_freq"] - 1)
    power = torchaudio.transforms.Spectrogram(size, size, RATE * config["hop_ms"] // 1000)
    bands = torchaudio.transforms.MelScale(config["n_mels"], RATE, n_stft=config["n_freq"])

    def single(wav: Tensor) -> Tensor:
        spectrum = power(wav)
        whole = ((bands(spectrum) if config["input"]["feat_type"] == "mel" else spectrum) + 1e-10).log().T
        return (whole - whole.mean(0)) / (1e-10 + whole.std(0))

    return single


def race(ours: Features, theirs: Features, wavs: list[Tensor], runs: int) -> tuple[float, float]:
    """Median seconds per call of both, in alternating runs after one to warm up."""
    taken: tuple[list[float], list[float]] = ([], [])
    for run in range(runs + 1):
        for times, features in zip(taken, (ours, theirs), strict=True):
            start = time.perf_counter()
            features(wavs)
            if run:
                times.append(time.perf_counter() - start)
    return statistics.median(taken[0]), statistics.median(taken[1])


def stages(wavs: list[Tensor], runs: int) -> dict[str, float]:
    """Seconds that each stage of fbank takes for the batch, in one thread; stages are timed by replaying them alone."""
    upstream = build("fbank")
    cpu, o = upstream.kaldi._cpu, upstream.kaldi.options
    count = min(BLOCK, o.frames(len(wavs[0])))
    blocks = sum(o.frames(len(wav)) for wav in wavs) / count
    wave = torch.randn(o.window_shift * (count - 1) + o.window_size)
    raw, smooth = (wave.as_strided((count, w), (o.window_shift, 1)) for w in (o.window_size, o.window_size - 1))
    space, means, rows = cpu.spectra.space(count), raw.mean(1), torch.randn(count, upstream.kaldi.dim)
    cpu._window(raw, smooth, means, space)
    parts: dict[str, Callable[[], object]] = {
        "frame means": lambda: raw.mean(1),
        "window, pre-emphasis, DC": lambda: cpu._window(raw, smooth, means, space),
        "Fourier transform, power": lambda: cpu.spectra.transform(space),
        "mel bands": lambda: cpu.spectra.bands(space),
        "logarithm": lambda: torch.clamp(space.bands, min=1e-7, out=rows[:, : o.dim]).log_(),
        "deltas": lambda: fill_deltas(rows, o.dim, 2, 5),
        "CMVN": lambda: normalise(rows),
    }
    return {name: blocks * statistics.median(_timed(part) for _ in range(20 * runs)) for name, part in parts.items()}


def _timed(part: Callable[[], object]) -> float:
    start = time.perf_counter()
    part()
    return time.perf_counter() - start


def main(argv: list[str] | None = None) -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of an utterance")
    parser.add_argument("--items", type=int, default=8, help="utterances in the batch")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--variants", nargs="+", default=VARIANTS, choices=VARIANTS)
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    every = torch.get_num_threads()
    wavs = [torch.randn(int(args.seconds * RATE)) * 0.1 for _ in range(args.items)]
    audio = args.seconds * args.items
    print(f"{args.items} utterances of {args.seconds:g} s; audio seconds per second\n")
    print(f"{'variant':<15}{'threads':>8}{'ours':>10}{'torchaudio':>12}{'ratio':>8}")
    for variant in args.variants:
        ours, theirs = build(variant), reference(variant)
        for threads in sorted({1, every}):
            torch.set_num_threads(threads)
            use_threads(threads)
            mine, other = race(ours, theirs, wavs, args.runs)
            print(f"{variant:<15}{threads:>8}{audio / mine:>10.0f}{audio / other:>12.0f}{other / mine:>8.2f}", flush=True)
    torch.set_num_threads(1)
    use_threads(1)
    parts = stages(wavs, args.runs)
    total = sum(parts.values())
    print(f"\nfbank, one thread: the stages alone give {audio / total:.0f} audio seconds per second")
    for name, seconds in parts.items():
        print(f"{name:<28}{1e6 * seconds / audio:>8.1f} us per audio second{100 * seconds / total:>7.1f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
