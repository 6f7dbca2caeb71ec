"""Prints what a csv file of ratings holds: recordings, ratings, systems, listeners, durations, rates and scores.

python3 utils/inspect_csv.py data/bvcc_train.csv
"""

from __future__ import annotations

if __package__ in (None, ""):
    import _root  # noqa: F401

import argparse
from collections import Counter

import numpy as np

from utility.audio.io import audio_info
from utility.errors import DataError, program
from utility.text.files import rows_of


def described(path: str) -> list[str]:
    """Lines about a file.

    Raises:
        DataError: it is missing, has no row, names a missing recording, or has a score that is no number.
    """
    rows = [row for _, row in rows_of(path, ("wav_path", "system_id", "sample_id"))]
    if not rows:
        raise DataError(f"{path} has no row beneath its header")
    wavs = list(dict.fromkeys(row["wav_path"] for row in rows))
    infos = [audio_info(wav) for wav in wavs]
    seconds = np.array([info.seconds for info in infos])
    rates = ", ".join(f"{rate} Hz ({count})" for rate, count in sorted(Counter(info.sample_rate for info in infos).items()))
    lines = [
        f"{len(rows)} rows, {len(wavs)} recordings, {len({row['system_id'] for row in rows})} systems",
        f"durations: {seconds.sum() / 3600:.2f} h in all, {seconds.min():.2f} to {seconds.max():.2f} s, mean {seconds.mean():.2f} s, "
        f"median {np.median(seconds):.2f} s; {int((seconds > 10).sum())} above 10 s, of which predictors hear the first ten",
        f"rates: {rates}",
    ]
    if listeners := {row["listener_id"] for row in rows if row.get("listener_id")}:
        lines.insert(1, f"{len(listeners)} listeners, {len(rows) / len(wavs):.1f} ratings a recording")
    column = "score" if "score" in rows[0] else "avg_score"
    try:
        scores = np.array([float(row[column]) for row in rows])
    except (KeyError, ValueError) as error:
        raise DataError(f"{path}: {'there is no score' if isinstance(error, KeyError) else f'a score is no number: {error}'}") from None
    return [*lines, f"scores: {scores.min():g} to {scores.max():g}, mean {scores.mean():.3f}, standard deviation {scores.std():.3f}"]


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", help="the file")
    print("\n".join(described(parser.parse_args(argv).csv)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
