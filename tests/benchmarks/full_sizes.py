"""Every published architecture at its full size with random weights of its own layout: written, read, one forward of a mixed-length batch.

    OMP_NUM_THREADS=2 python3 tests/benchmarks/full_sizes.py [NAME ...] [--large] [--device cuda]

One line each: parameters, states, the shape of the last, seconds to load and to run 2 + 5.3 + 9 s of audio, and the peak resident memory of
the process, one for each. ``--large`` adds the sizes of 300 million parameters and more. Exit status 1 if one fails or is not finite.
"""

from __future__ import annotations

import argparse
import site
import subprocess
import sys
import tempfile
import time
from pathlib import Path

site.addsitedir(str(Path(__file__).resolve().parents[2]))

SECONDS = (2.0, 5.3, 9.0)


def main() -> int:
    """Prints the table, or one line of it."""
    from tests.benchmarks.full_size_checkpoints import MAKERS, is_large

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MAKERS))
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--here", action="store_true", help="run the one that is named in this process")
    args = parser.parse_args()
    if unknown := sorted(set(args.names) - set(MAKERS)):
        parser.error(f"unknown: {', '.join(unknown)}")
    if args.here:
        return int(not forward(args.names[0], args.device))
    names = args.names or [name for name in MAKERS if args.large or not is_large(name)]
    print(f"{'':24}{'parameters':>12}  states  last                load s   run s  peak MB", flush=True)
    failed = [name for name in names if subprocess.run([sys.executable, __file__, name, "--here", "--device", args.device]).returncode]
    print(f"failed: {', '.join(failed)}" if failed else f"all {len(names)} are there and finite")
    return int(bool(failed))


def forward(name: str, device: str) -> bool:
    """Prints the line of one; whether its states are finite and of one length."""
    import resource

    import torch

    from tests.benchmarks.full_size_checkpoints import MAKERS
    from upstream.registry import build

    generator = torch.Generator().manual_seed(0)
    wavs = [0.1 * torch.randn(int(16000 * seconds), generator=generator).to(device) for seconds in SECONDS]
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        torch.manual_seed(0)
        entry, options = MAKERS[name](Path(folder))
        start = time.perf_counter()
        upstream = build(entry, **options).eval().to(device)
        loaded = time.perf_counter()
        states = upstream(wavs)["hidden_states"]
        ended = time.perf_counter()
    count = sum(p.numel() for p in upstream.parameters())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    shape = " x ".join(map(str, states[-1].shape))
    print(f"{name:24}{count:12,}{len(states):8}  {shape:18}{loaded - start:8.1f}{ended - loaded:8.1f}{peak:9.0f}", flush=True)
    return all(bool(torch.isfinite(state).all()) and state.shape[:2] == states[-1].shape[:2] for state in states)


if __name__ == "__main__":
    raise SystemExit(main())
