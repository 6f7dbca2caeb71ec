"""Prints the accuracy between two files of ``<name> <value>`` lines, such as ``test_predict.txt`` and ``test_truth.txt``.

python3 utility/compute_acc.py --src test_predict.txt --tgt test_truth.txt
"""

from __future__ import annotations

import argparse
from pathlib import Path

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import DataError, program


def read_values(path: Path) -> dict[str, str]:
    """The value of each name; everything behind the first space belongs to the value, blank lines are passed over.

    Raises:
        DataError: the file cannot be read, a line has no value, a name comes twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    values: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, _, value = line.strip().partition(" ")
        if not value or name in values:
            raise DataError(f"line {number} of {path} {'repeats the name' if value else 'has no value for'} {name!r}")
        values[name] = value.strip()
    return values


def accuracy(source: dict[str, str], target: dict[str, str]) -> float:
    """Share of the names in ``source`` that have the same value in ``target``, from 0 to 1.

    Raises:
        DataError: ``source`` is empty, or a name of it is missing in ``target``.
    """
    if not source:
        raise DataError("the source file holds no line, so that there is no accuracy")
    missing = [name for name in source if name not in target]
    if missing:
        raise DataError(f"{len(missing)} of {len(source)} names of the source are missing in the target, the first is {missing[0]!r}")
    return sum(target[name] == value for name, value in source.items()) / len(source)


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description="print the accuracy between two files of '<name> <value>' lines")
    parser.add_argument("--src", type=Path, required=True, help="its names are counted")
    parser.add_argument("--tgt", type=Path, required=True, help="the file to compare with")
    args = parser.parse_args(argv)
    print(accuracy(read_values(args.src), read_values(args.tgt)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
