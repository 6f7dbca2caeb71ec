"""Written commands as they are spoken: the rules behind the transcripts of Audio SNIPS (spec: downstream-content.md 6).

    python3 preprocess/snips_text_norm.py "Play some R&B from 1987" "book a table at 7 pm"

One line per sentence on stdout. S3PRL normalises with the package ``normalise`` of 2017, whose classifiers are pickles of that time; here
are rules that give the same words wherever its output was recorded. Three of its misreadings and its dropped accents are part of the
published transcripts; ``--own-spelling`` leaves them out.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import DataError, MissingDependencyError, program


def _words(listing: str) -> tuple[str, ...]:
    return tuple(listing.split())


_MONTHS = _words("January February March April May June July August September October November December")
MONTHS = {f"{name[:3].lower()}{dot}": name for name in _MONTHS for dot in (".", "") if name != "May" or not dot}
REPLACED = {"&": "and", "¡": "", "r&b": "R and B", "funtime": "fun time", "español": "espanol", "'s": "s", "palylist": "playlist"}
# Tokens that are kept from all other rules, with their words.
RESERVED = {
    "Pre-Party": "pre party",
    "B&B": "B and B",
    "0944": "nine four four",
    "ain\u2019t": "am not",
    "¡Fiesta": "Fiesta",
    **{word: word for word in _words("chyi Chu Box Zon Yui neto skepta Vue iheart disco klose la mejor música para tus fiestas")},
    **{word: word for word in _words("dubstep dangles drejer listas")},
}
ACCENTS = {"ú": "u", "ñ": "n", "Ō": "O", "â": "a"}
_ALONE, _WITHIN = ".,!?;/]", ".,!?;/"
# What the package read otherwise than it was written, in the published transcripts.
_MISREAD = {"possiable": "possible", "osteria": "hysteria", "indie": "inside", "bajo": "banjo"}
_SPELT_OUT = frozenset(("il", "av"))
_NOT_SPELT_OUT = frozenset(_words("st mr mrs ms dr vs nd rd th hmm shh psst"))
_FIRST_YEAR, _LAST_YEAR = 1600, 2099


def replaced(word: str, own_spelling: bool = False) -> str:
    """A token after the rules for single words: months, replacements, accents, punctuation. It may be empty, or several words.

    Args:
        word: without spaces.
        own_spelling: accented letters lose their accent only; in the published transcripts they are lost altogether.
    """
    word = MONTHS.get(word.lower(), REPLACED.get(word.lower(), word))
    for letter, plain in ACCENTS.items():
        word = word.replace(letter, plain if own_spelling else "")
    return "".join(letter for letter in word if letter not in _WITHIN)


def spoken(token: str, own_spelling: bool = False) -> list[str]:
    """The spoken words of a token; none where it is punctuation.

    Raises:
        MissingDependencyError: the token holds a number and num2words is not installed.
    """
    if token in _ALONE:
        return []
    if token in RESERVED:
        return RESERVED[token].split()
    words = []
    for word in replaced(token, own_spelling).split():
        words += _said(word, own_spelling)
    return [piece for word in words for piece in re.split(r"[ -]", word) if piece]


def _said(word: str, own_spelling: bool) -> Iterator[str]:
    """A word without punctuation -> words, still with hyphens."""
    if any(letter.isdigit() for letter in word):
        yield from _number(word)
    elif word.lower() in _MISREAD and not own_spelling:
        yield _MISREAD[word.lower()]
    else:
        for part in re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", "-", word).split("-"):
            yield from list(part.upper()) if _is_spelt_out(part) else [part]


def _is_spelt_out(word: str) -> bool:
    """Abbreviations said by their letters: TV, pm, Mf."""
    bare = word.lower()
    unspeakable = 2 <= len(bare) <= 4 and bare.isascii() and bare.isalpha() and not set(bare) & set("aeiouy")
    return bare in _SPELT_OUT or (unspeakable and bare not in _NOT_SPELT_OUT)


def _number(word: str) -> Iterator[str]:
    """A word with digits in it."""
    if match := re.fullmatch(r"\$(\d+)", word):
        yield from (_cardinal(match[1]), "dollar" if match[1] == "1" else "dollars")
    elif match := re.fullmatch(r"(\d+)(?:st|nd|rd|th)", word, re.IGNORECASE):
        yield _in_words(int(match[1]), "ordinal")
    elif match := re.fullmatch(r"(\d+)'?s", word):
        yield _plural(_cardinal(match[1]))
    elif match := re.fullmatch(r"(\d+)%", word):
        yield from (_cardinal(match[1]), "percent")
    else:
        for run in re.findall(r"\d+|[^\d:-]+", word):
            yield _cardinal(run) if run.isdecimal() else run


def _cardinal(digits: str) -> str:
    number = int(digits)
    is_year = len(digits) == 4 and _FIRST_YEAR <= number <= _LAST_YEAR
    return _in_words(number, "year" if is_year else "cardinal")


def _in_words(number: int, kind: str) -> str:
    try:
        from num2words import num2words
    except ImportError as error:
        raise MissingDependencyError("num2words", "reading numbers out") from error
    return num2words(number, to=kind).replace(",", "")


def _plural(words: str) -> str:
    return words[:-1] + "ies" if words.endswith("y") else words + "s"


def normalised(text: str, labels: Sequence[str], own_spelling: bool = False) -> tuple[list[str], list[str]]:
    """A sentence with one label per token -> spoken words with one label each.

    Args:
        text: tokens separated by spaces.
        labels: one per token, and possibly one for the nothing within a double space, which is dropped; so is what is left over at the end.
        own_spelling: see :func:`replaced`.

    Raises:
        DataError: fewer labels than tokens.
    """
    tokens, labels = text.split(), list(labels)
    if len(labels) != len(tokens):
        gaps = {place for place, token in enumerate(text.split(" ")) if not token}
        labels = [label for place, label in enumerate(labels) if place not in gaps]
    if len(labels) < len(tokens):
        raise DataError(f"{len(tokens)} words but {len(labels)} labels in {text!r}")
    pairs = [(word, label) for token, label in zip(tokens, labels, strict=False) for word in spoken(token, own_spelling)]
    return [word for word, _ in pairs], [label for _, label in pairs]


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description="write commands as they are spoken, in capitals")
    parser.add_argument("sentence", nargs="+", help="quoted")
    parser.add_argument("--own-spelling", action="store_true", help="keep accented letters as plain ones and misread words as they are")
    args = parser.parse_args(argv)
    for sentence in args.sentence:
        print(" ".join(word for token in sentence.split() for word in spoken(token, args.own_spelling)).upper())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
