"""Frozen convolution + Transformer upstreams beside ``transformers`` called plainly with the same weights on the same batch.

    python3 tests/benchmarks/frozen_transformers.py [--size wav2vec2_base_960] [--rounds 3] [--threads 2] [--device cuda]

Random weights of a published size are written in the converted form of fairseq's checkpoint, which our expert reads. One batch of
utterances of 2 to 15 s; the contenders take turns, and medians are compared. Wall time per second of audio, CPU time beside it (other
programs disturb that less), and the peak memory of each in a process of its own. In bf16, ours and theirs run under autocast, and theirs
with weights of bf16 as well. The numbers of fp32 must be equal, and the largest difference is printed.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import site
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

site.addsitedir(str(Path(__file__).resolve().parents[2]))

KINDS = {"wav2vec2": "Wav2Vec2Model", "hubert": "HubertModel"}
THEIRS = ("theirs, padded batch", "theirs, one by one")
OURS = ("ours, as published", "ours, batch independent")
PRECISIONS = ("fp32", "bf16", "bf16 weights")
SECONDS = (2, 15)


def main() -> int:
    """Prints the table, or the peak memory of one contender."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="wav2vec2_base_960", help="of tests/upstream/conv_transformer/sizes.py, wav2vec 2.0 or HuBERT")
    parser.add_argument("--utterances", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None, help="of the math library; all cores by default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--without-batch", action="store_true", help="leave theirs as a padded batch out, the slowest by far")
    parser.add_argument(
        "--memory", nargs=3, metavar=("FILE", "CONTENDER", "PRECISION"), help="run this contender once, print its peak memory"
    )
    args = parser.parse_args()

    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    wavs = waves(args.utterances, args.device)
    if args.memory:
        print(peak_memory(args, wavs))
        return 0
    from tests.upstream.conv_transformer.sizes import write_checkpoint

    audio = sum(map(len, wavs)) / 16000
    print(f"{args.size}: {audio:.0f} s of audio in {len(wavs)} utterances, {torch.get_num_threads()} threads, {args.device}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ckpt.pt"
        write_checkpoint(args.size, path)
        contenders = {(who, how): contender(args.size, path, who, how, args.device) for how in PRECISIONS for who in taking_part(how, args)}
        compare_numbers(contenders, wavs)
        spent = measure(contenders, wavs, args.rounds, args.device)
        peaks = {key: memory_of(args, path, *key) for key in contenders}
    report(spent, peaks, audio)
    return 0


def waves(count: int, device: str) -> list:
    """Noise of 2 to 15 s, out of order."""
    import torch

    generator = torch.Generator().manual_seed(0)
    lengths = torch.linspace(*SECONDS, count).mul(16000).int()[torch.randperm(count, generator=generator)].tolist()
    return [0.1 * torch.randn(length, generator=generator).to(device) for length in lengths]


def taking_part(precision: str, args: argparse.Namespace) -> tuple[str, ...]:
    """Ours keeps its weights in fp32."""
    theirs = THEIRS[1:] if args.without_batch else THEIRS
    return THEIRS[1:] if precision == "bf16 weights" else (*theirs, *OURS)


def contender(size: str, path: Path, who: str, precision: str, device: str) -> Callable[[list], list]:
    """Maps the waveforms to the hidden states of each."""
    import torch

    from upstream.registry import build

    kind = next(kind for kind in KINDS if size.startswith(kind))
    upstream = build(f"{kind}_local", ckpt=str(path), batch_independent=who == OURS[1]).to(device)
    amp = torch.autocast(device.split(":")[0], torch.bfloat16) if precision == "bf16" else nullcontext()
    dtype = torch.bfloat16 if precision == "bf16 weights" else torch.float32
    run = upstream_states(upstream) if who in OURS else plain_states(kind, upstream, dtype, padded=who == THEIRS[0])

    def states(wavs: list) -> list:
        with torch.no_grad(), amp:
            return run(wavs)

    return states


def upstream_states(upstream: Any) -> Callable[[list], list]:
    """Ours: the own frames of each item."""

    def states(wavs: list) -> list:
        result = upstream(wavs)
        return [[state[i, :n] for state in result["hidden_states"]] for i, n in enumerate(result["lengths"].tolist())]

    return states


def plain_states(kind: str, upstream: Any, dtype: Any, padded: bool) -> Callable[[list], list]:
    """The class of transformers as its users call it, with the weights of the upstream."""
    import torch
    import transformers
    from torch.nn.utils.rnn import pad_sequence

    model = getattr(transformers, KINDS[kind])(upstream.model.config).eval().to(upstream.model.device)
    model.load_state_dict(upstream.model.state_dict())
    model.to(dtype)

    def of(batch: Any, mask: Any = None) -> list:
        result = model(batch.to(dtype), attention_mask=mask, output_hidden_states=True)
        return [*result.hidden_states[:-1], result.last_hidden_state]

    def states(wavs: list) -> list:
        wavs = [torch.nn.functional.layer_norm(wav, wav.shape) for wav in wavs] if upstream.normalize else wavs
        if not padded:
            return [[state[0] for state in of(wav[None])] for wav in wavs]
        mask = pad_sequence([torch.ones(len(wav), dtype=torch.long, device=wav.device) for wav in wavs], batch_first=True)
        return [of(pad_sequence(wavs, batch_first=True), mask)]

    return states


def compare_numbers(contenders: dict[tuple[str, str], Callable], wavs: list) -> None:
    """The largest difference of ours from theirs, each utterance alone, and of bf16 from fp32 in both."""
    exact = contenders[THEIRS[1], "fp32"](wavs)
    for who, how in ((OURS[1], "fp32"), (OURS[1], "bf16"), (THEIRS[1], "bf16"), (THEIRS[1], "bf16 weights")):
        other = contenders[who, how](wavs)
        pairs = [pair for one, two in zip(other, exact, strict=True) for pair in zip(one, two, strict=True)]
        worst = max(float((a.float() - b).abs().max()) for a, b in pairs)
        print(
            f"  {who} in {how}: off by up to {worst:.1e} from theirs in fp32, whose states reach {exact[0][-1].abs().max():.1f}", flush=True
        )


def measure(
    contenders: dict[tuple[str, str], Callable], wavs: list, rounds: int, device: str
) -> dict[tuple[str, str], tuple[float, float]]:
    """Median wall and CPU seconds of each; they take turns."""
    import torch

    spent: dict[tuple[str, str], list[tuple[float, float]]] = {key: [] for key in contenders}
    for turn in range(rounds + 1):
        for key, states in contenders.items():
            wall, cpu = time.perf_counter(), time.process_time()
            states(wavs)
            if device != "cpu":
                torch.cuda.synchronize()
            if turn:  # the first is a warm-up
                spent[key].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {key: tuple(map(statistics.median, zip(*times, strict=True))) for key, times in spent.items()}


def memory_of(args: argparse.Namespace, path: Path, who: str, precision: str) -> float:
    """Peak memory in MB, in a process of its own."""
    command = [sys.executable, __file__, "--size", args.size, "--utterances", str(args.utterances), "--device", args.device]
    command += ["--threads", str(args.threads)] if args.threads else []
    done = subprocess.run([*command, "--memory", str(path), who, precision], check=True, capture_output=True, text=True)
    return float(done.stdout)


def peak_memory(args: argparse.Namespace, wavs: list) -> float:
    """Of one run, in MB: what the device had to hold beyond the weights (on a CPU read from Linux's accounts)."""
    import torch

    path, who, precision = args.memory
    states = contender(args.size, Path(path), who, precision, args.device)
    if args.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        states(wavs)
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what loading has freed would serve the run unseen
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak so far, of loading, is forgotten
    before = resident("VmRSS")
    states(wavs)
    return resident("VmHWM") - before


def resident(field: str) -> float:
    """MB of this process: ``VmRSS`` now, ``VmHWM`` at most."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(field)) / 1e3


def report(spent: dict[tuple[str, str], tuple[float, float]], peaks: dict[tuple[str, str], float], audio: float) -> None:
    """The table; ratios are to the best of theirs in the same precision, above 1 where ours is faster."""
    best = {how[:4]: [min(s[i] for (w, h), s in spent.items() if w in THEIRS and h[:4] == how[:4]) for i in (0, 1)] for how in PRECISIONS}
    print(f"{'':42}audio s/s   ratio   CPU s   ratio   peak MB")
    for (who, how), (wall, cpu) in spent.items():
        ratios = [reference / own for reference, own in zip(best[how[:4]], (wall, cpu), strict=True)]
        name = f"{who}, {how}"
        print(f"{name:42}{audio / wall:9.2f}{ratios[0]:8.2f}{cpu:8.2f}{ratios[1]:8.2f}{peaks[who, how]:10.0f}")


if __name__ == "__main__":
    raise SystemExit(main())
