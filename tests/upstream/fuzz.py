"""Damaged checkpoints: every one is an error sentence, or loads as what it was; nothing crashes, hangs or is executed.

    OMP_NUM_THREADS=1 python3 -m tests.upstream.fuzz [--files 10000] [--seed 0]

Mutates the recorded checkpoints of tests/golden/upstreams (cut off, bits flipped, pieces moved between files, stretches repeated)
and builds an upstream of each. Prints how they ended; exit status 1 if one ended otherwise than it should.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.upstream.recorded import GOLDEN, manifest
from upstream.registry import build
from utility.errors import ToolkitError

SLOWEST_SECONDS = 20.0


def checkpoints() -> list[tuple[str, Path]]:
    """(entry, file) of each recorded checkpoint in the repository."""
    cases = manifest()["cases"]
    found = [(cases[path.parent.name]["entry"].partition("(")[0], path) for path in sorted(GOLDEN.glob("*/ckpt*.pt"))]
    assert found
    return found


def cut(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """The beginning of a file."""
    return data[: rng.integers(len(data))]


def flipped(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Up to eight bits changed, half of them where the pickle and the directory of the archive are likely to be."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        near_an_end = rng.random() < 0.5
        place = int(rng.integers(min(len(data), 4000))) if near_an_end else int(rng.integers(len(data)))
        changed[-place - 1 if near_an_end and rng.random() < 0.5 else place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def spliced(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A stretch of another file in place of one of its own."""
    start, length = int(rng.integers(len(data))), int(rng.integers(1, 2000))
    source = int(rng.integers(len(other)))
    return data[:start] + other[source : source + length] + data[start + length :]


def repeated(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A stretch of itself twice, so that all that follows has moved."""
    start = int(rng.integers(len(data)))
    return data[:start] + data[max(0, start - int(rng.integers(1, 500))) :]


MUTATIONS: tuple[Callable[[bytes, bytes, np.random.Generator], bytes], ...] = (cut, flipped, spliced, repeated)


def outcomes(files: int, seed: int, folder: Path) -> Counter[str]:
    """How so many damaged files ended: ``loaded``, ``refused``, or the name of what should not have happened."""
    rng, found, known = np.random.default_rng(seed), Counter(), checkpoints()
    content = {path: path.read_bytes() for _, path in known}
    for number in range(files):
        entry, path = known[number % len(known)]
        other = content[known[int(rng.integers(len(known)))][1]]
        mutate = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
        target = folder / "ckpt.pt"
        target.write_bytes(mutate(content[path], other, rng))
        start = time.monotonic()
        ended = attempt(entry, target)
        if time.monotonic() - start > SLOWEST_SECONDS:
            ended = "took too long"
        found[ended if ended in ("loaded", "refused") else f"{ended} ({entry}, {mutate.__name__}, file {number})"] += 1
    return found


def attempt(entry: str, path: Path) -> str:
    """Builds an upstream from a file; one sentence that names the file is what a fault should end in."""
    try:
        build(entry, ckpt=str(path))
    except ToolkitError as error:
        return "refused" if str(path) in str(error) and "\n" not in str(error) else f"a poor sentence: {error}"
    except Exception as error:  # noqa: BLE001 - whatever else there is, is what is looked for
        return f"{type(error).__name__}: {str(error)[:100]}"
    return "loaded"


def main() -> int:
    """Prints how the files ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = outcomes(args.files, args.seed, Path(folder))
    for ended, count in found.most_common():
        print(f"{count:7}  {ended}")
    return int(bool(set(found) - {"loaded", "refused"}))


if __name__ == "__main__":
    sys.exit(main())
