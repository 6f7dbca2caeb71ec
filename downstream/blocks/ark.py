"""Files of one text per utterance: ``<utterance> <text>`` lines, as the SUPERB server reads them (spec: downstream-content.md 10)."""

from __future__ import annotations

from collections.abc import Container, Iterable
from itertools import chain, count
from pathlib import Path


def write_ark(path: str | Path, names: Iterable[str], texts: Iterable[str]) -> None:
    """Writes a file of texts; the folder is made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name} {text}\n" for name, text in zip(names, texts, strict=True)), encoding="utf-8")


def free_key(name: str, taken: Container[str]) -> str:
    """A key for a text: the name with ``_`` for white space, and ``-2``, ``-3`` ... behind it where that is taken."""
    plain = "_".join(name.split())
    return next(key for key in chain([plain], (f"{plain}-{number}" for number in count(2))) if key not in taken)


def read_ark(path: str | Path) -> dict[str, str]:
    """Utterance -> text; what stands before the first space is the utterance."""
    lines = Path(path).read_text(encoding="utf-8").split("\n")
    return {name: text for name, _, text in (line.partition(" ") for line in lines) if name}
