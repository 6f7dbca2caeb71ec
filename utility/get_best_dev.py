"""Prints the best dev score of a ``log.log``, its step, and the test score of the same step.

    python3 utility/get_best_dev.py result/downstream/ExpName/log.log [stop_step]

Two kinds of lines are understood (specs/s3prl-core.md, section 12), as different tasks write them::

    dev at step 100: 0.67                     New best on dev at step 100: 0.67
    libri_phone/dev-|step:100|acc:0.67        best|libri_phone/dev-|step:100|acc:0.67

The expert's own word for "best" is trusted, since only it knows the direction of its score. What ``-m evaluate`` appends carries step 0
and is passed over. A resume may log a step twice: a best score keeps the test score that was logged with it.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import DataError, program

NO_LIMIT = 99999999
_SENTENCE = re.compile(r"(?P<best>new best on )?(?P<split>\S+) at step (?P<step>\d+): *(?P<value>\S+)", re.IGNORECASE)
_PHONE = re.compile(r"(?P<best>best\|)?(?:.*/)?(?P<split>[^/|]+?)-?\|step:(?P<step>\d+)\|[^:|]+:(?P<value>\S+)", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    """One score of a log: its split, step, value as written, and whether the expert called it the best so far."""

    split: str
    step: int
    value: str
    best: bool


def read_log(path: Path) -> list[Line]:
    """The scores of a log file in order; a folder stands for the ``log.log`` in it. Lines of any other form are passed over.

    Raises:
        DataError: the file does not exist or cannot be read.
    """
    path = log_file(path)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")  # a task's own lines may hold anything
    except FileNotFoundError:
        raise DataError(f"there is no log file {path}") from None
    except OSError as error:
        raise DataError(f"cannot read the log file {path}: {error}") from None
    return list(parse_lines(text.splitlines()))


def log_file(path: Path) -> Path:
    """The log file itself, or ``log.log`` of an experiment folder."""
    return path / "log.log" if path.is_dir() else path


def parse_lines(lines: Iterable[str]) -> Iterator[Line]:
    """The scores among the lines of a log, evaluate mode's (step 0) left out."""
    for text in lines:
        match = _SENTENCE.match(text.strip()) or _PHONE.match(text.strip())
        if match and int(match["step"]) > 0:
            yield Line(match["split"], int(match["step"]), match["value"], bool(match["best"]))


def last_checkpoint(folder: Path) -> Path | None:
    """The ``states-<step>.ckpt`` of the highest step in a folder, or None."""
    steps = {int(match[1]): path for path in folder.glob("states-*.ckpt") if (match := re.fullmatch(r"states-(\d+)\.ckpt", path.name))}
    return steps[max(steps)] if steps else None


def best_dev(lines: Iterable[Line], stop_step: int = NO_LIMIT) -> tuple[Line | None, Line | None]:
    """The latest best dev line and the test line that follows it with the same step; lines beyond ``stop_step`` do not count."""
    best: Line | None = None
    test: Line | None = None
    for line in lines:
        if line.step > stop_step:
            continue
        if line.best and line.split.lower().startswith("dev"):
            best, test = line, None
        elif best and test is None and line.split.lower().startswith("test") and line.step == best.step:
            test = line
    return best, test


def sentence(best: Line | None, test: Line | None) -> str:
    """The final line as S3PRL prints it, spelling included, because scripts look for it."""
    score, step = (best.value, best.step) if best else (None, None)
    return f"The best dev score {score} at step {step}, accoupanied by this test score {test.value if test else None}"


def _explain_missing_test(lines: list[Line], best: Line) -> None:
    """Says on stderr when the wanted test score was logged before its dev score, which the printed rule does not take."""
    early = [line for line in lines if line.step == best.step and line.split.lower().startswith("test")]
    if early:
        print(
            f"[get_best_dev] step {best.step} has the test score {early[-1].value}, but logged before its dev score: "
            "list dev before test in eval_dataloaders",
            file=sys.stderr,
        )


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description="print the best dev score of a log.log and the test score of the same step")
    parser.add_argument("log", type=Path, help="the log.log of an experiment, or the experiment's folder")
    parser.add_argument("stop_step", type=int, nargs="?", default=NO_LIMIT, help="ignore everything after this step")
    args = parser.parse_args(argv)
    lines = read_log(args.log)
    print(f"The last ckpt: {last_checkpoint(log_file(args.log).parent)}")
    best, test = best_dev(lines, args.stop_step)
    if best and not test:
        _explain_missing_test(lines, best)
    print(sentence(best, test))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
