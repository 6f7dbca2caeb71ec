"""Evaluates every numbered checkpoint of some experiments that has no result yet; test_expdirs.sh calls it.

    test_expdirs.sh EXPDIR [EXPDIR ...] [-- OPTION ...]

Each ``states-<step>.ckpt`` is evaluated on the test trials and on those of dev; what is printed goes to ``states-<step>.result``
(``states-<step>-dev.result``), the scores to ``results/states-<step>/``. A training may go on meanwhile. Options behind ``--`` are
handed to run_downstream.py, such as ``--device cpu``.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from pathlib import Path

from utility.errors import DataError, program
from utility.experiment.states import list_states

from .report import publish

log = logging.getLogger(__name__)
ENTRY = Path(__file__).resolve().parents[2] / "run_downstream.py"
RESULT_FILES = {"test": "{stem}.result", "dev": "{stem}-dev.result"}


def evaluate_missing(folder: Path, options: list[str]) -> bool:
    """Evaluates what has no result in one experiment folder; returns whether all test results are there.

    Raises:
        DataError: there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"there is no experiment folder {folder}")
    complete, splits = True, list(RESULT_FILES)
    for _, checkpoint in list_states(folder):
        for split in splits:
            if is_evaluated(checkpoint, split):
                continue
            status = evaluate(checkpoint, split, options)
            if status == 0 or not checkpoint.exists():  # the trainer keeps a limited number of them
                continue
            log.error("%s could not be evaluated on %s (exit status %d)", checkpoint, split, status)
            complete = complete and split != "test"
            splits = [other for other in splits if other != split]  # the next checkpoint would fail as well
    publish(folder)
    return complete


def is_evaluated(checkpoint: Path, split: str) -> bool:
    """Whether there is a result that is younger than the checkpoint."""
    result = checkpoint.parent / "results" / checkpoint.stem / f"{split}.json"
    try:
        return result.stat().st_mtime_ns >= checkpoint.stat().st_mtime_ns
    except FileNotFoundError:
        return False


def evaluate(checkpoint: Path, split: str, options: list[str]) -> int:
    """Runs run_downstream.py on one checkpoint and split; returns its exit status."""
    command = [sys.executable, str(ENTRY), "-m", "evaluate", "-t", split, "-e", str(checkpoint), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode == 0:
        print(f"{checkpoint}: {done.stdout.splitlines()[0]}", flush=True)
        (checkpoint.parent / RESULT_FILES[split].format(stem=checkpoint.stem)).write_text(done.stdout)
    return done.returncode


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status: 1 if a checkpoint could not be evaluated on the test trials."""
    words = sys.argv[1:] if argv is None else argv
    place = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(prog="test_expdirs.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="EXPDIR")
    args = parser.parse_args(words[:place])
    complete = [evaluate_missing(folder, words[place + 1 :]) for folder in args.folders]
    return 0 if all(complete) else 1


if __name__ == "__main__":
    raise SystemExit(main())
