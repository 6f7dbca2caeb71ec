"""How long a newcomer waits for the help, beside an empty interpreter and an import of torch.

python3 tests/benchmarks/startup.py [--runs 10]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
COMMANDS = {
    "python3 -c pass": ["-c", "pass"],
    "run_downstream.py -h": ["run_downstream.py", "-h"],
    "run_downstream.py -u nonsense": ["run_downstream.py", "-u", "nonsense", "-d", "example", "-n", "x"],
    "import torch": ["-c", "import torch"],
}


def main() -> int:
    """Prints the median of each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    runs = parser.parse_args().runs
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs):
        for name, words in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *words], cwd=REPO, capture_output=True)
            seconds[name].append(time.perf_counter() - start)
    for name, each in seconds.items():
        print(f"{statistics.median(each) * 1000:8.0f} ms  {name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
