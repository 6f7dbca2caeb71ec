"""Scores a query-by-example result as the QUESST 2014 scorer does: term-weighted value and normalised cross entropy.

python3 utility/score_detection.py RESULT_DIR groundtruth_quesst14_eval -10
"""

from __future__ import annotations

import argparse
from pathlib import Path

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import DataError, program


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path, help="a *.stdlist.xml, or the folder that holds one; score.out is written beside it")
    parser.add_argument("ground_truth", type=Path, help="folder with one .ecf.xml, .rttm and .tlist.xml")
    parser.add_argument("default_score", type=float, nargs="?", default=-10.0, help="score of missing trials (default: -10)")
    args = parser.parse_args(argv)
    from utility.metrics.detection import collect, score_trials
    from utility.metrics.detection_files import only_file, read_ground_truth, read_stdlist

    stdlist = args.result if args.result.is_file() else only_file(args.result, ".stdlist.xml")
    truth = read_ground_truth(args.ground_truth)
    found = read_stdlist(stdlist)
    if found and not {query for query, _ in found} & set(truth.queries):
        query = next(iter(found))[0]
        raise DataError(f"{stdlist}: no query in it, such as {query}, is one of {args.ground_truth}; are they of the same part?")
    trials = collect(found, truth.targets, truth.queries, truth.documents, args.default_score)
    lines = score_trials(trials).lines()
    print("\n".join(lines), flush=True)
    written = stdlist.parent / "score.out"
    try:
        written.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise DataError(f"the scores could not be written to {written}: {error.strerror or error}") from error
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
