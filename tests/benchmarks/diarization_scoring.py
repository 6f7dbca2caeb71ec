"""Scoring of diarization beside plain loops, beside pyannote.metrics where it is installed, and beside dscore where there is a clone.

    python3 tests/benchmarks/diarization_scoring.py [--recordings 300] [--seconds 15] [--speakers 2] [--no_loop] [--dscore FOLDER]

The same recordings are scored by utility/metrics/diarization.py, by a loop over frames of 10 ms and all mappings of speakers, and by
pyannote.metrics (pip install pyannote.metrics). Printed are seconds of each, the ratios and the largest difference of the error rates; that
of the loop comes from its frames.

FOLDER is a clone of github.com/nryant/dscore, which wants perl, intervaltree and scipy. Its functions, in the order of its score.py, and
those of utility/score_diarization.py read two RTTM files that hold all recordings, and score them in one call. dscore computes ten measures
beside the DER (ours one, the JER), so that a second line has its DER alone.
"""

from __future__ import annotations

import argparse
import itertools
import site
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

site.addsitedir(str(Path(__file__).resolve().parents[2]))

Pair = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
Files = tuple[Path, Path]
FRAME_S = 0.01


def main() -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each recording")
    parser.add_argument("--speakers", type=int, default=2)
    parser.add_argument("--no_loop", action="store_true", help="leave out the loop over frames, hours for long recordings")
    parser.add_argument("--dscore", type=Path, metavar="FOLDER", help="a clone of github.com/nryant/dscore")
    args = parser.parse_args()
    if args.dscore and not (args.dscore / "scorelib").is_dir():
        parser.error(f"{args.dscore} is no clone of dscore: it has no folder scorelib")
    from utility.metrics.diarization import pooled, score_recording

    rng = np.random.default_rng(0)
    pairs = [drawn(rng, args.seconds, args.speakers) for _ in range(args.recordings)]
    score_recording(*pairs[0])
    ours, scores = timed(lambda pair: score_recording(*pair), pairs)
    print(f"ours      {ours:8.3f} s  ({1e3 * ours / len(pairs):.3f} ms a recording), DER {100 * pooled(scores).der:.3f} %")
    if not args.no_loop:
        compare("loop", timed(by_frames, pairs), ours, scores)
    try:
        theirs = pyannote()
    except ImportError:
        print("pyannote  not installed")
    else:
        compare("pyannote", timed(theirs, pairs), ours, scores)
    if args.dscore:
        sys.path.append(str(args.dscore))
        from_files(pairs)
    return 0


def drawn(rng: np.random.Generator, seconds: float, speakers: int) -> Pair:
    """A reference of turns on hundredths of a second, and a system that is late or early, misses and confuses some."""
    reference: dict[str, list[tuple[float, float]]] = {f"s{index}": [] for index in range(speakers)}
    system: dict[str, list[tuple[float, float]]] = {f"x{index}": [] for index in range(speakers)}
    for index in range(speakers):
        start = rng.uniform(0, 2)
        while start < seconds - 1:
            end = min(seconds, start + rng.uniform(0.5, 4))
            reference[f"s{index}"].append((round(start, 2), round(end, 2)))
            if rng.random() > 0.05:
                who = index if rng.random() > 0.1 else int(rng.integers(speakers))
                system[f"x{who}"].append((round(max(0.0, start + rng.normal(0, 0.1)), 2), round(end + rng.normal(0, 0.1), 2)))
            start = end + rng.uniform(0.1, 3)
    return tuple({who: np.array(turns) for who, turns in side.items() if turns} for side in (reference, system))


def by_frames(pair: Pair) -> float:
    """The error rate of a recording: who speaks in each frame, and the errors of every mapping."""
    reference, system = pair
    end = max(turns.max() for side in pair for turns in side.values())
    frames = []
    for index in range(round(end / FRAME_S)):
        middle = (index + 0.5) * FRAME_S
        frames.append(tuple([any(a <= middle < b for a, b in turns) for turns in side.values()] for side in (reference, system)))
    scored = sum(sum(here) for here, _ in frames)
    least = float("inf")
    columns = [*range(len(system)), *[None] * len(reference)]
    for mapping in set(itertools.permutations(columns, len(reference))):
        wrong = 0
        for here, there in frames:
            right = sum(1 for row, column in enumerate(mapping) if column is not None and here[row] and there[column])
            wrong += max(sum(here), sum(there)) - right
        least = min(least, wrong)
    return least / scored


def pyannote() -> Callable[[Pair], float]:
    """The same by pyannote.metrics, from turns to the error rate."""
    from pyannote.core import Annotation, Segment
    from pyannote.metrics.diarization import DiarizationErrorRate

    def annotation(side: dict[str, np.ndarray]) -> Annotation:
        from utility.metrics.diarization import merged

        found = Annotation()
        for who, turns in side.items():
            for number, (start, end) in enumerate(merged(turns)):
                found[Segment(start, end), f"{who}-{number}"] = who
        return found

    metric = DiarizationErrorRate()

    def score(pair: Pair) -> float:
        reference, system = map(annotation, pair)
        region = Segment(0, max(turns.max() for side in pair for turns in side.values()))
        return metric(reference, system, uem=region)

    return score


def from_files(pairs: list[Pair]) -> None:
    """Prints the figures of all recordings together, from two RTTM files."""
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "reference.rttm"), Path(folder, "system.rttm")
        for path, sides in zip(files, zip(*pairs, strict=True), strict=True):
            path.write_text("".join(line for number, side in enumerate(sides) for line in rttm(f"recording-{number:05}", side)))
        ours, (scores,) = timed(by_program, [files])
        print(f"from RTTM {ours:8.3f} s  ({1e3 * ours / len(pairs):.3f} ms a recording)")
        for name, alone in (("dscore", False), ("  its DER", True)):
            seconds, (rates,) = timed(dscore(alone), [files])
            compare(name, (seconds, rates), ours, scores)


def rttm(name: str, side: dict[str, np.ndarray]) -> list[str]:
    """The lines of one recording. Turns of a speaker that overlap are one, since dscore warns of each."""
    from utility.metrics.diarization import merged

    return [
        f"SPEAKER {name} 1 {start:.2f} {end - start:.2f} <NA> <NA> {who} <NA> <NA>\n"
        for who, turns in side.items()
        for start, end in merged(turns)
    ]


def by_program(files: Files) -> list:
    """What our program does before it prints."""
    from utility.metrics.diarization import pooled, score_recordings
    from utility.score_diarization import check_names, together

    references, systems = together([files[0]], empty=False), together([files[1]], empty=True)
    check_names(set(references), set(systems), None)
    scores = list(score_recordings(references, systems).values())
    pooled(scores)
    return scores


def dscore(alone: bool) -> Callable[[Files], list[float]]:
    """The same by dscore: error rates in the order of the names; ``alone`` leaves its other measures out."""
    from scorelib.metrics import der
    from scorelib.rttm import load_rttm
    from scorelib.score import score
    from scorelib.turn import merge_turns, trim_turns
    from scorelib.uem import gen_uem

    def rates(files: Files) -> list[float]:
        sides = [load_rttm(str(path))[0] for path in files]
        region = gen_uem(*sides)
        sides = [merge_turns(turns) for turns in [trim_turns(turns, region) for turns in sides]]
        found = der(*sides, uem=region)[0] if alone else {row.file_id: row.der for row in score(*sides, region)[0]}
        return [found[name] / 100 for name in sorted(found)]

    return rates


def timed(score: Callable, pairs: list[Pair]) -> tuple[float, list]:
    """Seconds for all pairs (the better of two runs), and what came out."""
    best, found = float("inf"), []
    for _ in range(2):
        start = time.perf_counter()
        found = [score(pair) for pair in pairs]
        best = min(best, time.perf_counter() - start)
    return best, found


def compare(name: str, timing: tuple[float, list[float]], ours: float, scores: list) -> None:
    """One line about another way to score: its seconds and its error rates beside ours."""
    seconds, rates = timing
    worst = max(abs(rate - own.der) for rate, own in zip(rates, scores, strict=True))
    print(f"{name:9} {seconds:8.3f} s  {seconds / ours:.1f} times ours; largest difference of a DER {100 * worst:.4f} %")


if __name__ == "__main__":
    raise SystemExit(main())
