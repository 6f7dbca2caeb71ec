"""SQA-5 of SLUE Phase-2 (arXiv 2212.10525; spec: downstream-content.md 7.2).

    <root>/<split>.tsv (or .jsonl)                     question_id, document_id, answer_spans
    <root>/<split>/question/<question_id>.<audio>      (or <root>/question)
    <root>/<split>/document/<document_id>.<audio>      (or <root>/document)

A table may have a longer name that ends with the split, such as ``slue-sqa5_test.tsv``. ``answer_spans`` has lists ``answer``,
``start_second`` and ``end_second``, or is a list of records or of (answer, start, end), as JSON text where the table is text. Splits:
train (which the release calls fine-tune), dev (validation), test, verified_test.

In the tables of the release a question may begin with a quotation mark that nothing closes, so that every tab ends a column.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from utility.errors import DataError, did_you_mean
from utility.text.files import lines_of, rows_of

from .corpus import FIELD, LeftOut, Question, Span, first_existing, recordings_in, usable_spans
from .nmsqa import seconds_of

SPLITS = ("train", "dev", "test", "verified_test")
_ALIASES = {
    "train": ("train", "fine-tune"),
    "dev": ("validation", "dev"),
    "test": ("test",),
    "verified_test": ("verified_test", "verified-test"),
}
_COLUMNS = ("question_id", "document_id", "answer_spans")


def questions(root: Path, split: str) -> list[Question]:
    """The questions of a split, in the order of its table.

    Raises:
        DataError: tables, columns or recordings are missing, or no question can be used.
    """
    table = _table(root, split)
    names = _ALIASES[split]
    folders = [(root / name / kind, root / kind) for kind in ("question", "document") for name in names]
    spoken, documents = (
        recordings_in(first_existing((path for pair in folders if pair[1].name == kind for path in pair), f"the folder {kind} of {split}"))
        for kind in ("question", "document")
    )
    left_out, found, total, seconds = LeftOut(str(table)), [], 0, {}
    for total, row in enumerate(_rows(table), 1):  # noqa: B007 (the number of them is needed afterwards)
        name, document = str(row["question_id"]), str(row["document_id"])
        if name not in spoken or document not in documents:
            left_out.add("without recording", document if name in spoken else name)
            continue
        spans = answer_spans(row["answer_spans"], f"{table}, question {name}")
        usable, reason = usable_spans(spans, seconds_of(document, documents, seconds))
        if usable:
            found.append(Question(name, spoken[name], (documents[document],), usable))
        else:
            left_out.add(reason, name)
    return left_out.checked(found, total)


def _table(root: Path, split: str) -> Path:
    """The table of a split: its stem is one of the split's names, or ends with one (but not test with verified_test)."""
    tables = sorted(path for folder in (root, root / "tsv") for path in folder.glob("*") if path.suffix in (".tsv", ".jsonl"))
    other = {name for key, names in _ALIASES.items() if key != split for name in names}
    for name in _ALIASES[split]:
        for path in tables:
            longer = any(path.stem.endswith(long) and long.endswith(name) for long in other)
            if re.search(rf"(^|[-_]){re.escape(name)}$", path.stem) and not longer:
                return path
    raise DataError(f"the table {root / _ALIASES[split][0]}.tsv is missing{did_you_mean(split, [path.name for path in tables])}")


def _rows(table: Path) -> Iterator[Mapping[str, Any]]:
    if table.suffix == ".tsv":
        for _, row in rows_of(table, _COLUMNS, "table", FIELD, delimiter="\t", quoted=False):
            yield {name: _unquoted(row[name]) for name in _COLUMNS}
        return
    for number, line in enumerate(lines_of(table, "table", FIELD), 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{table}, line {number} is no JSON: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"{table}, line {number} is no JSON object")
        if missing := [name for name in _COLUMNS if name not in row]:
            raise DataError(f"{table}, line {number} has no field {missing[0]!r}{did_you_mean(missing[0], row)}")
        yield row


def _unquoted(value: str) -> str:
    """A value as it was before a writer of tables enclosed it in quotation marks, if one did."""
    return value[1:-1].replace('""', '"') if len(value) > 1 and value[0] == value[-1] == '"' else value


def answer_spans(given: Any, where: str) -> list[Span]:
    """The annotations in any of the published forms, as (start, end) in seconds.

    Args:
        given: a mapping of lists, a list of records or of (answer, start, end), or JSON text of one of them.
        where: what an error names.

    Raises:
        DataError: it is none of them.
    """
    try:
        value = json.loads(given) if isinstance(given, str) else given
        if isinstance(value, Mapping):
            return [(float(start), float(end)) for start, end in zip(value["start_second"], value["end_second"], strict=True)]
        return [_record(entry) for entry in value]
    except (ValueError, TypeError, KeyError, IndexError):
        raise DataError(f"{where}: answer_spans {str(given)[:80]!r} have no answer, start_second and end_second") from None


def _record(entry: Mapping[str, Any] | Sequence[Any]) -> Span:
    if isinstance(entry, Mapping):
        return float(entry["start_second"]), float(entry["end_second"])
    _, start, end = entry
    return float(start), float(end)
