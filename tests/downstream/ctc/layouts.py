"""Corpora in the layouts that the task reads, made of empty files, of real recordings or by the synthesizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def lay_out_librispeech(root: Path, split: str, texts: dict[str, str]) -> None:
    """Empty recordings with transcripts below ``root/split``, by utterance ``speaker-chapter-number``."""
    for name, text in texts.items():
        speaker, chapter, _ = name.split("-")
        folder = root / split / speaker / chapter
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.flac").touch()
        with (folder / f"{speaker}-{chapter}.trans.txt").open("a") as file:
            file.write(f"{name} {text}\n")


def lay_out_snips(root: Path, wavs: dict[str, list[str]], texts: str, slots: str = "O\nartist\n") -> None:
    """Empty recordings by part, and the text files."""
    for part, names in wavs.items():
        (root / part).mkdir(parents=True, exist_ok=True)
        for name in names:
            (root / part / f"{name}.wav").touch()
    (root / "all.iob.snips.txt").write_text(texts)
    (root / "slots.txt").write_text(slots)


def libriphone_override(out: Path) -> str:
    """The argument of ``-o`` that leads to a synthetic LibriSpeech."""
    return _joined({"corpus.path": out / "LibriSpeech", "corpus.lexicon": out / "lexicon.txt"})


def snips_override(out: Path) -> str:
    """The argument of ``-o`` that leads to a synthetic SNIPS."""
    return _joined({"corpus.path": out / "SNIPS", "text.slots_file": out / "SNIPS/slots.txt"})


def _joined(fields: dict[str, Any]) -> str:
    return ",,".join(f"config.downstream_expert.{name}={value}" for name, value in fields.items())
