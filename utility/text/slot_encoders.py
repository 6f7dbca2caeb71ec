"""Sentences with slots as ids: tags before and behind the words of a slot (spec: downstream-content.md 6).

The text of an utterance is a line of ``all.iob.snips.txt`` without the utterance's name::

    BOS PLAY SOME QUEEN EOS<TAB>O O O artist PlayMusic

and decodes to ``PLAY SOME B-artist QUEEN E-artist``. The first word and label and the last ones are cut off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

from utility.errors import DataError, UnknownNameError
from utility.text.encoders import EOS, UNK, CharacterEncoder, SubwordEncoder, TextEncoder, kept
from utility.text.files import naming, read_lines

OUTSIDE = "O"
_PUNCTUATION = "?!.,;-"


class SlotEncoder:
    """The part that does not depend on how a word is cut.

    Adjacent slots of one type become one slot. A word that is a part of ``?!.,;-`` is left out, and ``&`` is read as ``AND``.

    Args:
        slots: names of the slots, without ``O``.
        published: treat the words left out as S3PRL does, on which its published numbers rest: the labels around a word are compared
            before anything is left out, so that a slot that begins or ends with such a word loses its tag, and a sentence that ends with
            one has a trailing space and no ``<eos>``. Otherwise each sentence has its ``<eos>`` and each slot both tags.
    """

    def _set_slots(self, slots: Sequence[str], published: bool) -> None:
        self.slots, self.published = list(slots), published
        self.first_tag = len(self.symbols)
        self.symbols = (*self.symbols, *(tag for slot in self.slots for tag in (f"B-{slot} ", f" E-{slot}")))
        self.opening = {slot: self.first_tag + 2 * index for index, slot in enumerate(self.slots)}

    def opening_of(self, slot: str) -> int:
        """The id of the tag before the words of a slot; the tag behind them is the next one.

        Raises:
            UnknownNameError: no such slot.
        """
        if slot not in self.opening:
            raise UnknownNameError("slot", slot, self.slots)
        return self.opening[slot]

    def encode(self, text: str) -> list[int]:
        """The ids of ``WORDS<TAB>LABELS`` with ``<eos>``.

        Raises:
            DataError: there is no tab, or there are fewer labels than words (labels beyond the words do not count, as in S3PRL).
            UnknownNameError: a label that is no slot.
        """
        words, labels = _split(text)
        if not self.published:
            stays = [not _is_left_out(word) for word in words]
            words, labels = list(compress(words, stays)), list(compress(labels, stays))
        around, last, ids = [OUTSIDE, *labels, OUTSIDE], len(words) - 1, []
        for position, word in enumerate(words):
            label = labels[position]
            if _is_left_out(word):
                continue
            if label not in (OUTSIDE, around[position]):
                ids.append(self.opening_of(label))
            ids += self.word_ids("AND" if word == "&" else word)
            if label not in (OUTSIDE, around[position + 2]):
                ids.append(self.opening_of(label) + 1)
            ids += self.between if position < last else [EOS]
        return ids if self.published or words else [EOS]

    def word_ids(self, word: str) -> list[int]:
        """The ids of one word."""
        raise NotImplementedError

    @property
    def between(self) -> list[int]:
        """What separates two words."""
        raise NotImplementedError


def _is_left_out(word: str) -> bool:
    return word in _PUNCTUATION


def _split(text: str) -> tuple[list[str], list[str]]:
    """Words and labels between the first and the last of each."""
    sentence, tab, labels = text.strip("\r\n").partition("\t")
    words, tags = sentence.strip(" ").split(" "), labels.strip(" ").split(" ")
    if not tab or len(words) > len(tags) or len(words) < 3:
        raise DataError(f"not BOS, words, EOS, a tab and as many labels, the last of which is the intent: {text.strip()[:120]!r}")
    return words[1:-1], tags[1:-1]


class CharacterSlotEncoder(SlotEncoder, CharacterEncoder):
    """Characters and tags.

    Args:
        vocabulary: the characters.
        slots: names of the slots, without ``O``.
        published: see :class:`SlotEncoder`.
    """

    def __init__(self, vocabulary: Sequence[str], slots: Sequence[str], published: bool = True):
        TextEncoder.__init__(self, vocabulary, "character-slot")
        self._set_slots(slots, published)

    def word_ids(self, word: str) -> list[int]:
        """The ids of the characters."""
        return [self.ids.get(character, UNK) for character in word]

    @property
    def between(self) -> list[int]:
        """The space."""
        return [self.ids.get(" ", UNK)]

    @property
    def state(self) -> dict[str, Any]:
        """Plain data."""
        return {**TextEncoder.state.fget(self), "slots": list(self.slots), "published": self.published}


class SubwordSlotEncoder(SlotEncoder, SubwordEncoder):
    """Pieces of each word, and tags.

    Args:
        model: the serialized sentencepiece model.
        slots: names of the slots, without ``O``.
        published: see :class:`SlotEncoder`.
    """

    between: list[int] = []

    def __init__(self, model: bytes, slots: Sequence[str], published: bool = True):
        SubwordEncoder.__init__(self, model, "subword-slot")
        self._set_slots(slots, published)

    def word_ids(self, word: str) -> list[int]:
        """The ids of the pieces."""
        return list(self.processor.encode(word))

    def decode(self, ids: Iterable[int], ignore_repeat: bool = False) -> str:
        """Words and tags, separated by spaces."""
        parts: list[str] = []
        pieces: list[int] = []
        for index in [*kept(ids, ignore_repeat), None]:
            if index is not None and index < self.first_tag:
                pieces.append(index)
                continue
            parts += [self.processor.decode(pieces)] if pieces else []
            parts += [self.symbols[index].strip()] if index is not None else []
            pieces = []
        return " ".join(parts)

    @property
    def state(self) -> dict[str, Any]:
        """Plain data."""
        return {**SubwordEncoder.state.fget(self), "slots": list(self.slots), "published": self.published}


SLOT_ENCODERS: dict[str, type] = {"character-slot": CharacterSlotEncoder, "subword-slot": SubwordSlotEncoder}


def read_slots(path: str | Path, field: str = "text.slots_file") -> list[str]:
    """The names of the slots: a file of one label per line whose first is ``O``; empty lines do not count.

    Args:
        path: the file.
        field: the config field that an error names.

    Raises:
        DataError: the file is missing, begins otherwise, or names a slot twice.
    """
    name = naming(path, "slots file", field)
    labels = [line for line in read_lines(path, "slots file", field, "preprocess/snips_prepare_data.sh writes it") if line.strip()]
    if not labels or labels[0] != OUTSIDE:
        raise DataError(f"{name}: the first line must be {OUTSIDE!r}, not {labels[0] if labels else ''!r}")
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice or len(labels) < 2:
        raise DataError(f"{name} names " + (f"{twice[0]!r} more than once" if twice else "no slot"))
    return labels[1:]
