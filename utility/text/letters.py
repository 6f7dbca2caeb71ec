"""Letters as fairseq numbers them: special symbols first, then the symbols of a file (spec: s3prl-core.md 13).

A text is written ``H E L L O | W O R L D |``: upper-case letters with a bar behind every word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from utility.errors import DataError
from utility.text.files import read_lines

BEGIN, PAD, END, UNKNOWN = SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
BAR = "|"
_OVERWRITE = "#fairseq:overwrite"


class LetterDictionary:
    """Symbols and their numbers.

    Args:
        symbols: all of them in order, the four special ones first.

    Attributes:
        begin, pad, end, unknown: numbers of the special symbols; CTC's blank is ``begin``.
    """

    begin, pad, end, unknown = range(4)

    def __init__(self, symbols: Sequence[str]):
        self.symbols = list(symbols)
        self.numbers = {symbol: number for number, symbol in enumerate(self.symbols)}
        self._known = {*self.numbers, " "}

    @classmethod
    def load(cls, path: str | Path, field: str = "dict_path") -> LetterDictionary:
        """Reads lines ``SYMBOL COUNT``; the counts are not needed.

        Raises:
            DataError: the file is missing, a line has another form, or a symbol comes twice (without fairseq's mark that it may).
        """
        symbols = list(SPECIALS)
        for number, line in enumerate(read_lines(path, "dictionary", field), 1):
            symbol, *others = line.rstrip().split(" ")
            if not symbol or not others or not others[0].isdecimal() or others[1:] not in ([], [_OVERWRITE]):
                raise DataError(f"{field}: line {number} of {path} is no symbol followed by a count: {line!r}")
            if symbol not in symbols:
                symbols.append(symbol)
            elif _OVERWRITE not in others:
                raise DataError(f"{field}: line {number} of {path} has the symbol {symbol!r} a second time")
        return cls(symbols)

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> list[int]:
        """Numbers of the letters of a text of words, with ``|`` behind every word and ``</s>`` at the end.

        A letter that the dictionary lacks is ``<unk>`` (S3PRL makes up a number that no output stands for).
        """
        return [self.numbers.get(letter, self.unknown) for letter in as_letters(text)] + [self.end]

    def unknown_in(self, text: str) -> list[str]:
        """The letters of a text of words that become ``<unk>``, each as often as it occurs."""
        return [] if self._known.issuperset(text.upper()) else [letter for letter in as_letters(text) if letter not in self.numbers]

    def string(self, numbers: Iterable[int]) -> str:
        """The symbols, separated by spaces, without ``<s>`` and ``</s>``."""
        return " ".join(self.symbols[number] for number in numbers if number not in (self.begin, self.end))


def as_letters(text: str) -> list[str]:
    """``"it's so"`` -> ``["I", "T", "'", "S", "|", "S", "O", "|"]``."""
    return [letter for word in text.upper().split() for letter in (*word, BAR)]


def words_of(letters: str) -> list[str]:
    """The words of letters separated by spaces: ``"S O | I T |"`` -> ``["SO", "IT"]``."""
    return letters.replace(" ", "").replace(BAR, " ").split()
