"""Mean opinion scores out of the result files of a listening test, by method, with 95 % intervals.

python3 mos.py Batch_123_batch_results.csv --batches final/

Music (questions on musicality): raters who find nothing wrong with the gold recordings of the method ``test`` are left out, and these
recordings with them. Speech (questions on digits): agreement with the digit and Cohen's kappa beside the means.

The first interval counts answers, as SaShiMi's study does; the second counts each rater once and is the one to trust where they are few.
"""

from __future__ import annotations

if __package__ in (None, ""):
    import _root  # noqa: F401

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from downstream.audio_generation.mturk.opinion import GOLD, OF_RATERS, Means, music, speech, untrusted
from downstream.audio_generation.mturk.results import Answer, read_results
from utility.errors import DataError, UsageError, did_you_mean, program
from utility.experiment.texts import write_text


def report(answers: Sequence[Answer], gold: Mapping[str, tuple[int, int]], per_class: int) -> dict[str, Any]:
    """All numbers; each mean as ``[mean, count, deviation, low, high]``, of answers and, where the name ends in ``_of_raters``, of raters.

    Args:
        answers: of one kind of test.
        gold: see :func:`downstream.audio_generation.mturk.opinion.untrusted`; music only.
        per_class: recordings of each digit; speech only.

    Raises:
        DataError: of neither kind, or of both.
    """
    asked = set().union(*(answer.given for answer in answers))
    if {"musicality", "digit"} <= asked:
        raise DataError("some result files are of music, some of speech; give those of one kind")
    if "musicality" in asked:
        blocked = untrusted(answers, gold)
        means = music(answers, blocked, gold)
        return {"raters_left_out": sorted(blocked), **_plain(means)}
    if "digit" in asked:
        means, agreement, kappa = speech(answers, per_class)
        return {"kappa": kappa, "agreement": agreement, **_plain(means)}
    raise DataError("the result files answer neither how musical a recording is nor which digit is said")


def _plain(means: Means) -> dict[str, dict[str, tuple | None]]:
    return {question: {method: astuple(mean) if mean else None for method, mean in found.items()} for question, found in means.items()}


def show(found: Mapping[str, Any]) -> None:
    """The report for people: a block for each question, a line for each method."""
    for question, values in found.items():
        if isinstance(values, list):
            print(f"{question}: {', '.join(values) or 'none'}")
        elif not question.endswith(OF_RATERS):
            print(question)
            beside = found.get(question + OF_RATERS)
            for method, value in values.items():
                print(f"    {method}: {_intervals(value, beside[method]) if beside else f'{value:.3f}'}")


def _intervals(mean: Sequence[float], of_raters: Sequence[float] | None) -> str:
    return f"{_interval(mean, '{} answers')}; {_interval(of_raters, 'means of {} raters') if of_raters else 'a single rater'}"


def _interval(mean: Sequence[float], what: str) -> str:
    return f"{mean[0]:.2f} ± {mean[4] - mean[0]:.2f} ({what.format(mean[1])})"


def limits(words: Sequence[str] | None) -> dict[str, tuple[int, int]]:
    """``FILE=QUALITY,MUSICALITY`` words; those of the published study by default.

    Raises:
        UsageError: a word of another form.
    """
    if words is None:
        return dict(GOLD)
    found = {}
    for word in words:
        name, _, numbers = word.partition("=")
        parts = numbers.split(",")
        if not name or len(parts) != 2 or not all(part.isdecimal() for part in parts):
            raise UsageError(f"--gold takes FILE=QUALITY,MUSICALITY, such as 4.wav=2,2, not {word!r}")
        found[name] = (int(parts[0]), int(parts[1]))
    return found


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path, metavar="RESULTS.csv", help="of MTurk or of serve.py")
    parser.add_argument("--batches", type=Path, default="final", help="what turk_create_batch.py wrote (default: final)")
    parser.add_argument("--per_class", type=int, default=50, help="speech: recordings of each digit (default: 50)")
    parser.add_argument(
        "--gold",
        nargs="*",
        metavar="FILE=Q,M",
        help="music: the most that a rater may give to recordings of the method test; without words: none",
    )
    parser.add_argument("--output", type=Path, help="write the numbers as JSON too")
    args = parser.parse_args(argv)
    if args.per_class < 1:
        raise UsageError(f"--per_class must be at least 1, not {args.per_class}")
    if twice := [path for path, count in Counter(path.resolve() for path in args.results).items() if count > 1]:
        raise UsageError(f"{twice[0]} is given twice")
    gold = limits(args.gold)
    results = read_results(args.results, args.batches)
    if said := results.left_out():
        print(said, file=sys.stderr)
    answers = results.answers
    if not answers:
        raise DataError(f"there are no answers in {', '.join(map(str, args.results))}")
    known = {answer.name for answer in answers if answer.method == "test"}
    if unknown := sorted(gold.keys() - known) if args.gold else []:
        raise UsageError(
            f"--gold names {unknown[0]}, which nobody rated among the recordings of the method test{did_you_mean(unknown[0], known)}"
        )
    found = report(answers, gold, args.per_class)
    show(found)
    if args.output is not None:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        write_text(args.output, json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
