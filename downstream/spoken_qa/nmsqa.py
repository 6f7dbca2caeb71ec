"""NMSQA (DUAL, arXiv 2203.04911; spec: downstream-content.md 7.1).

    <root>/{train,dev}/<split>-answer-span.csv          hash, context_id, new_start, new_end (seconds within the passage)
    <root>/{train,dev}/meta-<split>.csv                 id, duration
    <root>/{train,dev}/<split>-hash2question.json       hash -> question-A_P_Q        (or <split>_hash2question.json)
    <root>/{train,dev}/<split>_segment_id.json          A_P -> numbers of its segments (or <split>-segment_id.json)
    <root>/{train,dev}/<split>_audios/                  question-A_P_Q, context-A_P_K  (or <split>_audio)
    <root>/test/test-{SQuAD,OOD}/<name>-answer-span.csv
    <root>/meta-lxt.csv                                 (or in <root>/test)
    <root>/lxt_sqa/audio/                               <name>-c, <name>-q             (or <root>/test/lxt_sqa)

Tables may lie in ``<root>`` itself as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from utility.audio.io import audio_info
from utility.errors import DataError

from .corpus import LeftOut, Question, Span, first_existing, number, read_json, read_table, recordings_in, usable_spans

SPLITS = ("train", "dev", "test", "test-SQuAD", "test-OOD")
_TEST_SETS = ("test-SQuAD", "test-OOD")


def questions(root: Path, split: str) -> list[Question]:
    """The questions of a split, in the order of its table; ``test`` is both test sets, or the one that is there.

    Raises:
        DataError: tables, columns or recordings are missing, or no question can be used.
    """
    if split in ("train", "dev"):
        return _of_segments(root, split)
    if split == "test":
        present = [name for name in _TEST_SETS if any(path.exists() for path in _spans_of_test(root, name))]
        return [question for name in present or _TEST_SETS[:1] for question in _of_whole_passages(root, name)]
    return _of_whole_passages(root, split)


def _of_segments(root: Path, split: str) -> list[Question]:
    folders = (root / split, root)
    table = first_existing((folder / f"{split}-answer-span.csv" for folder in folders), f"the table of answers of {split}")
    meta = first_existing((folder / f"meta-{split}.csv" for folder in folders), f"the table of recordings of {split}")
    names = read_json(_either(folders, split, "hash2question.json", "-_"))
    segments = read_json(_either(folders, split, "segment_id.json", "_-"))
    audio = first_existing((f / f"{split}_{name}" for f in folders for name in ("audios", "audio")), f"the folder of recordings of {split}")
    files, seconds = recordings_in(audio), durations(meta)

    def candidates() -> Iterator[tuple[str, str, list[str], list[Span]]]:
        for (key, context), spans in answers(table).items():
            passage = context.removeprefix("context-")
            parts = [f"context-{passage}_{part}" for part in segments.get(passage, ())]
            yield key, str(names.get(key, key)), parts, spans

    return _checked(candidates(), files, seconds, f"{table}")


def _either(folders: Iterable[Path], split: str, rest: str, marks: str) -> Path:
    return first_existing((folder / f"{split}{mark}{rest}" for folder in folders for mark in marks), f"the map {split}{marks[0]}{rest}")


def _spans_of_test(root: Path, name: str) -> list[Path]:
    return [folder / f"{name}-answer-span.csv" for folder in (root / "test" / name, root / name, root / "test", root)]


def _of_whole_passages(root: Path, name: str) -> list[Question]:
    table = first_existing(_spans_of_test(root, name), f"the table of answers of {name}")
    meta = first_existing((root / "meta-lxt.csv", root / "test" / "meta-lxt.csv"), "the table of recordings of the test sets")
    audio = first_existing((root / "lxt_sqa", root / "test" / "lxt_sqa"), "the folder of recordings of the test sets")
    files, seconds = recordings_in(audio), durations(meta)

    def candidates() -> Iterator[tuple[str, str, list[str], list[Span]]]:
        for (key, context), spans in answers(table).items():
            name = context.removesuffix("-c")
            yield key, next((q for q in (f"{key}-q", f"{name}-q", key) if q in files), f"{name}-q"), [f"{name}-c"], spans

    return _checked(candidates(), files, seconds, f"{table}")


def answers(table: Path) -> dict[tuple[str, str], list[Span]]:
    """(question, passage) -> its annotations, in the order of the table."""
    found: dict[tuple[str, str], list[Span]] = defaultdict(list)
    for row in read_table(table, ("hash", "context_id", "new_start", "new_end")):
        found[row["hash"], row["context_id"]].append((number(row, "new_start", table), number(row, "new_end", table)))
    return dict(found)


def durations(meta: Path) -> dict[str, float]:
    """Recording -> seconds."""
    return {row["id"]: number(row, "duration", meta) for row in read_table(meta, ("id", "duration"))}


def _checked(
    candidates: Iterator[tuple[str, str, list[str], list[Span]]], files: dict[str, str], seconds: dict[str, float], where: str
) -> list[Question]:
    """The questions whose recordings are there and whose answers lie within their passages."""
    left_out, found, total = LeftOut(where), [], 0
    for total, (key, question, parts, spans) in enumerate(candidates, 1):  # noqa: B007 (the number of them is needed afterwards)
        missing = [name for name in (question, *parts) if name not in files]
        if missing or not parts:
            left_out.add("without recording", missing[0] if missing else f"the passage of {key}")
            continue
        usable, reason = usable_spans(spans, sum(seconds_of(name, files, seconds) for name in parts))
        if usable:
            found.append(Question(key, files[question], tuple(files[name] for name in parts), usable))
        else:
            left_out.add(reason, key)
    return left_out.checked(found, total)


def seconds_of(name: str, files: dict[str, str], seconds: dict[str, float]) -> float:
    """Duration of a recording by the table, or by its header where the table lacks it (then kept); 0 where that is damaged."""
    if name not in seconds:
        try:
            seconds[name] = audio_info(files[name]).seconds
        except DataError:
            seconds[name] = 0.0
    return seconds[name]
