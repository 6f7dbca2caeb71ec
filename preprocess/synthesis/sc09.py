"""SC09, the ten digits of Speech Commands, as generators of speech are trained on it: the same voices, noise and lists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from preprocess.synthesis.build import Corpus, Item
from preprocess.synthesis.speech_commands import say, speakers, write_lists

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ROOT = "sc09"


def plan(size: int) -> list[Item]:
    """One item per speaker."""
    return speakers(size, DIGITS)


def render(item: Item, size: int, seed: int, out: Path) -> dict[str, Any]:
    """Writes the digits of one speaker."""
    return {"part": item.split, "files": sorted(say(item, DIGITS, seed, out / ROOT))}


def finish(records: dict[str, dict[str, Any]], size: int, seed: int, out: Path) -> None:
    """The lists of the validation and testing files."""
    write_lists(records, out / ROOT)


CORPUS = Corpus("sc09", (ROOT,), {"tiny": 2, "small": 100, "medium": 600}, plan, render, finish)
