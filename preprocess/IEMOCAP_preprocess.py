# ruff: noqa: N999 (the name that S3PRL's users know)
"""The lists of the five folds of IEMOCAP, as the task ``emotion`` reads them (spec: downstream-speaker.md 7).

    python3 preprocess/IEMOCAP_preprocess.py /path/to/IEMOCAP_full_release

reads ``Session<k>/dialog/EmoEvaluation/*.txt`` and writes ``meta_data/Session<k>/{train,test}_meta_data.json``: fold k is tested on
session k and trained on all others. Kept are neutral, happy, angry and sad utterances whose recording is there; excitement counts as
happiness.

Entries are in the order of their paths. The official lists (``preprocess/fetch_lists.py --only emotion``) are in another order, on which
the draw of the dev split depends: scores that are to be compared need those.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import DataError, program
from utility.text.files import lines_of

LABELS = {"neu": 0, "hap": 1, "ang": 2, "sad": 3}
MERGED = {"exc": "hap"}
Entry = dict[str, str]


def evaluated(path: Path) -> list[tuple[str, str]]:
    """Utterance and emotion of each line of an evaluation that begins with a bracket.

    Raises:
        DataError: the file cannot be read, or such a line lacks them.
    """
    found = []
    for number, line in enumerate(lines_of(path, "evaluation"), 1):
        if line.startswith("["):
            columns = [column for column in line.split("\t") if column]
            if len(columns) < 3:
                raise DataError(f"evaluation {path}, line {number} has no utterance and emotion behind its times: {line!r}")
            found.append((columns[1], columns[2]))
    return found


def session_entries(root: Path, session: str) -> list[Entry]:
    """The entries of a session, in the order of their paths.

    Raises:
        DataError: the session has no evaluations, or none of an utterance that can be used.
    """
    folder = root / session / "dialog" / "EmoEvaluation"
    files = sorted(path for path in folder.glob("*.txt") if not path.name.startswith("."))
    if not files:
        raise DataError(f"{session} has no labels: there is no {folder}/*.txt")
    entries = [
        {"path": path, "label": MERGED.get(emotion, emotion), "speaker": name.split("_")[0]}
        for file in files
        for name, emotion in evaluated(file)
        if MERGED.get(emotion, emotion) in LABELS and (root / (path := _recording(session, name))).is_file()
    ]
    if not entries:
        raise DataError(f"{session} has no labels of recordings that are there: not in any of {len(files)} evaluations in {folder}")
    return sorted(entries, key=lambda entry: entry["path"])


def _recording(session: str, name: str) -> str:
    return f"{session}/sentences/wav/{name.rpartition('_')[0]}/{name}.wav"


def sessions_of(root: Path) -> list[str]:
    """The sessions of a corpus, in the order of their numbers.

    Raises:
        DataError: there are fewer than two, so that no fold can be made.
    """
    if not root.is_dir():
        raise DataError(f"folder {root} does not exist")
    found = sorted((path.name for path in root.iterdir() if re.fullmatch(r"Session\d+", path.name)), key=lambda name: int(name[7:]))
    if len(found) < 2:
        raise DataError(f"{root} has {len(found)} folders Session<number>, of which a fold needs two at least; is it IEMOCAP_full_release?")
    return found


def write_folds(entries: dict[str, list[Entry]], out: Path) -> None:
    """Both lists of each fold.

    Args:
        entries: by session.
        out: the folder ``meta_data``.
    """
    for session, own in entries.items():
        others = [entry for name, found in entries.items() if name != session for entry in found]
        for part, chosen in (("train", others), ("test", own)):
            path = out / session / f"{part}_meta_data.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"labels": LABELS, "meta_data": chosen}))


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description="write the lists of the folds of IEMOCAP")
    parser.add_argument("root", type=Path, help="the folder of the corpus, with Session1 ... Session5")
    parser.add_argument("--out", type=Path, help="where to write (default: ROOT/meta_data)")
    args = parser.parse_args(argv)
    entries = {session: session_entries(args.root, session) for session in sessions_of(args.root)}
    out = args.out or args.root / "meta_data"
    write_folds(entries, out)
    for session, own in entries.items():
        counts = Counter(entry["label"] for entry in own)
        print(f"{session}: {len(own)} utterances, " + ", ".join(f"{counts[name]} {name}" for name in LABELS), file=sys.stderr)
    print(out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
