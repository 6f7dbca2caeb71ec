"""Words as phones by looking them up: the first pronunciation counts (spec: downstream-content.md 2)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from utility.errors import DataError, MissingDependencyError, ToolkitError
from utility.text.files import naming, read_lines

_HINT = "'python3 preprocess/fetch_lists.py --only ctc' fetches LibriSpeech's to data/"


class Lexicon:
    """Pronunciations of words; where a word is not found as it is written, it is looked up without regard to upper and lower case.

    Args:
        pronunciations: word -> phones separated by spaces.
        guess: makes a pronunciation of a word that is not among them.

    Attributes:
        missing: how often each word was looked up in vain.
    """

    def __init__(self, pronunciations: dict[str, str], guess: Callable[[str], str] | None = None):
        self.pronunciations, self.guess = pronunciations, guess
        self.missing: Counter[str] = Counter()
        self._in_capitals: dict[str, str] | None = None

    def __len__(self) -> int:
        return len(self.pronunciations)

    def phones(self, text: str) -> str | None:
        """The phones of all words, separated by spaces; None if a word is missing (it is counted) or there is no word."""
        words = text.split()
        found = [self.pronunciations.get(word) or self._otherwise(word) for word in words]
        self.missing.update(word for word, phones in zip(words, found, strict=True) if phones is None)
        return None if None in found or not found else " ".join(found)

    def _otherwise(self, word: str) -> str | None:
        """The pronunciation of a word that is not among them as it is written."""
        if self._in_capitals is None:
            self._in_capitals = {}
            for known, phones in self.pronunciations.items():
                self._in_capitals.setdefault(known.upper(), phones)
        phones = self._in_capitals.get(word.upper())
        if phones is None and self.guess is not None:
            phones = self.guess(word)
        if phones is not None:
            self.pronunciations[word] = phones
        return phones


def read_lexicon(
    paths: str | Path | Sequence[str | Path],
    valid: Collection[str] | None = None,
    guess: Callable[[str], str] | None = None,
    field: str = "",
) -> Lexicon:
    """Reads files of ``WORD PHONE PHONE ...`` lines (any white space); the first pronunciation met counts, empty lines do not.

    Args:
        paths: the files in order.
        valid: the phones that may occur.
        guess: see :class:`Lexicon`.
        field: the config field that an error names.

    Raises:
        DataError: a file is missing or is no text, a word has no phones, or a phone is not valid.
    """
    pronunciations: dict[str, str] = {}
    checked = None if valid is None else set(valid)
    for path in [paths] if isinstance(paths, str | Path) else paths:
        name = naming(path, "lexicon", field)
        for number, line in enumerate(read_lines(path, "lexicon", field, _HINT), 1):
            word, *phones = line.split() or [""]
            if not word:
                continue
            if not phones:
                raise DataError(f"{name}, line {number}: {word!r} has no phones")
            wrong = [] if checked is None else [phone for phone in phones if phone not in checked]
            if wrong:
                raise DataError(f"{name}, line {number}: the phone {wrong[0]!r} of {word!r} is not in the vocabulary")
            pronunciations.setdefault(word, " ".join(phones))
    return Lexicon(pronunciations, guess)


def grapheme_to_phoneme() -> Callable[[str], str]:
    """A guesser of English pronunciations in ARPAbet with stress, by the optional package g2p-en.

    Raises:
        MissingDependencyError: it, or a package that it imports, is not installed.
        DataError: data of NLTK that it needs is not on this machine, and it could not fetch it.
        ToolkitError: it cannot be imported for another reason.
    """
    purpose = "guessing pronunciations (text.g2p)"
    try:
        from g2p_en import G2p

        model = G2p()
    except ModuleNotFoundError as error:
        raise MissingDependencyError((error.name or "g2p_en").partition(".")[0].replace("_", "-"), purpose) from error
    except ImportError as error:
        raise ToolkitError(f"{purpose} needs the package 'g2p-en', which cannot be imported: {error}") from error
    except LookupError as error:
        named = re.search(r"nltk\.download\('([^']+)'\)", str(error))
        if not named:
            raise
        raise DataError(
            f"{purpose} needs NLTK's data {named[1]!r}, which is not on this machine: python3 -m nltk.downloader {named[1]}"
        ) from error
    return lambda word: " ".join(phone for phone in model.predict(word.lower()) if phone.strip())
