"""Training steps of the networks of audio_generation at their official SC09 sizes, and S4's kernel against its length, on one core.

    python3 tests/benchmarks/generation_training.py [--models sashimi ...] [--length 16000] [--repeats 2] [--lengths 12 18]

A line for each model: seconds of a forward and a backward pass of one recording, the best of ``--repeats`` after a first one that compiles,
and the peak memory of the process, which does nothing else, over that before the first pass. Then seconds of a kernel of 64 features with
64 poles each, and of its gradients, for lengths of two to the power of ``--lengths``.
"""

from __future__ import annotations

import argparse
import os
import resource
import site
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
site.addsitedir(str(Path(__file__).resolve().parents[2]))

MODELS = ("sashimi", "sashimi-s4d", "wavenet", "samplernn")


def main() -> int:
    """Prints the figures, or those of one model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--length", type=int, default=16000, help="of the recording, in samples")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--lengths", type=int, nargs=2, default=(12, 18), metavar=("FIRST", "LAST"))
    parser.add_argument("--alone", choices=MODELS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        one_model(args.alone, args.length, args.repeats)
        return 0
    print(f"model          parameters   s, forward and backward of 1 x {args.length}   peak GB")
    for name in args.models:
        words = [sys.executable, __file__, "--alone", name, "--length", str(args.length), "--repeats", str(args.repeats)]
        if subprocess.run(words).returncode:
            print(f"{name:12} failed")
    kernels(*args.lengths, args.repeats)
    return 0


def one_model(name: str, length: int, repeats: int) -> None:
    """The line of a model; its peak memory is that of this process."""
    import torch
    import yaml

    from downstream.audio_generation.models.build import build

    torch.set_num_threads(1)
    torch.manual_seed(0)
    family, _, kind = name.partition("-")
    file = Path(__file__).resolve().parents[2] / "downstream" / "audio_generation" / f"{family}-sc09.yaml"
    config = yaml.safe_load(file.read_text())["downstream_expert"]["modelrc"]
    if kind:
        config["layer"] = {**config.get("layer", {}), "mode": "diag", "init": "diag-lin"}
    model = build(config)
    codes = torch.randint(256, (1, model.warm_up + length))

    def step() -> None:
        logits = model(codes)[0]
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), codes[0, -logits.size(1) :]).backward()

    before = peak()
    spent = best_of(step, repeats)
    print(f"{name:12} {sum(p.numel() for p in model.parameters()):12,} {spent:20.2f} {peak() - before:36.2f}", flush=True)


def peak() -> float:
    """The most memory that this process has had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def best_of(run: Callable[[], None], repeats: int) -> float:
    """Seconds of the quickest of several runs after a first one."""
    run()
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        spent.append(time.perf_counter() - start)
    return min(spent)


def kernels(first: int, last: int, repeats: int) -> None:
    """Seconds of S4's and S4D's kernels against their length."""
    import torch

    from downstream.audio_generation.models.s4_kernel import S4Kernel
    from downstream.audio_generation.models.s4d_kernel import S4dKernel

    torch.set_num_threads(1)
    print("\nkernel length   S4, s   with gradients   S4D, s   with gradients")
    for power in range(first, last + 1):
        cells = []
        for kind in (S4Kernel, S4dKernel):
            torch.manual_seed(0)
            kernel = kind(64)

            def alone(kernel: torch.nn.Module = kernel, length: int = 2**power) -> None:
                with torch.no_grad():
                    kernel(length)

            def learning(kernel: torch.nn.Module = kernel, length: int = 2**power) -> None:
                kernel(length)[0].square().sum().backward()

            cells += [best_of(alone, repeats), best_of(learning, repeats)]
        print(f"{2**power:13} {cells[0]:7.3f} {cells[1]:16.3f} {cells[2]:8.3f} {cells[3]:16.3f}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
