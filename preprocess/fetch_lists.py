"""Downloads the lists and lexicons that tasks read and that are too large, or not ours, to ship.

    python3 preprocess/fetch_lists.py --list
    python3 preprocess/fetch_lists.py --only pr-lexicon-200k asr-lm --out data/

Without ``--only`` everything that is not marked optional. The table is ``preprocess/lists.yaml``: a name, the addresses to try in turn, the
place below ``--out``, the SHA-256 and the size where they are known, licence and source. Without a SHA-256, what is empty, a web page or of
another size is refused. An interrupted download is continued; what is
there and complete is left alone.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import EXIT_STATUS, ConfigError, DataError, ToolkitError, UnknownNameError, did_you_mean, program
from utility.experiment.download import download

TABLE = Path(__file__).resolve().parent / "lists.yaml"
_BEGINNING = 4096
_WEB_PAGE = re.compile(rb"(?is)(\xef\xbb\xbf)?\s*(<\?xml.*?\?>\s*|<!--.*?-->\s*)*<(!doctype\s+html|html|head|body|title|script|meta)[\s/>]")


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    Args:
        name: what ``--only`` takes.
        task: the tasks that read it; ``--only`` takes this too.
        urls: addresses of the same content, tried in turn.
        target: where it goes, below the output folder.
        sha256: of the content; None where it is not known.
        bytes: size; None where it is not known.
        licence: of the content.
        source: whose it is.
        optional: fetched only when asked for by name.
    """

    name: str
    task: str
    urls: list[str]
    target: str
    licence: str
    source: str
    sha256: str | None = None
    bytes: int | None = None
    optional: bool = False


def read_table(path: Path) -> list[Entry]:
    """The rows of a table of lists.

    Raises:
        DataError: the file is missing or no YAML.
        ConfigError: all rows with unknown, missing or impossible fields.
    """
    try:
        rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"there is no table {path}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"cannot read the table {path}: {' '.join(str(error).split())}") from error
    if not isinstance(rows, list):
        raise ConfigError("must be a list of entries", str(path))
    if faults := [fault for index, row in enumerate(rows) for fault in _faults(index, row)]:
        raise ConfigError(faults, str(path))
    return [Entry(**row) for row in rows]


def _faults(index: int, row: Any) -> list[str]:
    if not isinstance(row, dict):
        return [f"entry {index} is not a mapping"]
    label = f"entry {row.get('name', index)!r}"
    known = [field.name for field in fields(Entry)]
    faults = [f"{label} has the unknown field {key!r}{did_you_mean(str(key), known)}" for key in row if key not in known]
    faults += [f"{label} lacks {key!r}" for key in ("name", "task", "urls", "target", "licence", "source") if not row.get(key)]
    if not isinstance(row.get("urls", []), list):
        faults.append(f"{label}: urls must be a list")
    place = PurePosixPath(str(row.get("target", "")))
    if place.is_absolute() or ".." in place.parts:
        faults.append(f"{label}: the target {str(place)!r} leaves the output folder")
    return faults


def select(entries: list[Entry], wanted: list[str] | None) -> list[Entry]:
    """The entries of the wanted names or tasks, in the table's order; without any, all that are not optional.

    Raises:
        UnknownNameError: neither a name nor a task of the table.
    """
    if wanted is None:
        return [entry for entry in entries if not entry.optional]
    valid = {entry.name for entry in entries} | {entry.task for entry in entries}
    for word in wanted:
        if word not in valid:
            raise UnknownNameError("list", word, valid)
    return [entry for entry in entries if entry.name in wanted or entry.task in wanted]


def fetch_entry(entry: Entry, out: Path) -> Path:
    """Downloads one list; returns where it lies.

    Raises:
        DataError: none of the addresses serves the right content; the sentence holds each one's reason.
    """
    path, reasons = out / entry.target, []
    if path.is_file() and _fault(entry, path):
        path.unlink()  # an earlier file that cannot be the right one
    for url in entry.urls:
        try:
            download(url, path, sha256=entry.sha256)
            if fault := _fault(entry, path):
                path.unlink()
                raise DataError(f"{url} is not the expected file: it {fault}")
        except DataError as error:
            reasons.append(str(error))
        else:
            return path
    raise DataError(f"{entry.name}: " + "; ".join(reasons))


def _fault(entry: Entry, path: Path) -> str | None:
    """What shows, where no digest is known, that a file is not the right one; None if nothing does.

    A server that has moved a file, or wants a login, may answer with a page and status 200.
    """
    if entry.sha256 is not None:
        return None
    with path.open("rb") as file:
        beginning, size = file.read(_BEGINNING), path.stat().st_size
    if not size:
        return "is empty"
    if _WEB_PAGE.match(beginning):
        return "is a web page"
    return f"has {size} bytes, not {entry.bytes}" if entry.bytes not in (None, size) else None


def describe(entry: Entry) -> str:
    """One entry as printed by ``--list``: name, task, size, place, licence, source."""
    size = f"{entry.bytes / 1e6:.1f} MB" if entry.bytes else "size unknown"
    remark = ", optional" if entry.optional else ""
    return f"{entry.name}\n    for {entry.task}, {size}{remark}, to {entry.target}\n    {entry.licence}; {entry.source}"


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description="download lists and lexicons that tasks read")
    parser.add_argument("--list", action="store_true", help="show what there is and stop")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="names or tasks, as --list shows them")
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder to write to (default: data/)")
    parser.add_argument("--table", type=Path, default=TABLE, help="another table of lists")
    args = parser.parse_args(argv)
    entries = read_table(args.table)
    chosen = entries if args.list and not args.only else select(entries, args.only)
    if args.list:
        print("\n".join(map(describe, chosen)))
        return 0
    return _fetch_all(chosen, args.out)


def _fetch_all(entries: list[Entry], out: Path) -> int:
    """Fetches every entry even if one fails; the path of each goes to stdout, the reason of each failure to stderr."""
    status = 0
    for entry in entries:
        try:
            print(fetch_entry(entry, out), flush=True)
        except ToolkitError as error:
            print(error, file=sys.stderr)
            status = EXIT_STATUS
    return status


if __name__ == "__main__":
    raise SystemExit(main())
