"""Files of one text per utterance: ``<utterance> <text>`` lines, as the SUPERB server reads them (spec: downstream-content.md 10)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def write_ark(path: str | Path, names: Iterable[str], texts: Iterable[str]) -> None:
    """Writes a file of texts; the folder is made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name} {text}\n" for name, text in zip(names, texts, strict=True)), encoding="utf-8")


def read_ark(path: str | Path) -> dict[str, str]:
    """Utterance -> text; what stands before the first space is the utterance."""
    lines = Path(path).read_text(encoding="utf-8").split("\n")
    return {name: text for name, _, text in (line.partition(" ") for line in lines) if name}
