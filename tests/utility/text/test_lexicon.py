"""Looking up pronunciations."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from utility.errors import DataError, MissingDependencyError, ToolkitError
from utility.text.encoders import PHONEMES
from utility.text.lexicon import grapheme_to_phoneme, read_lexicon

NLTK = (  # what nltk.corpus.cmudict says where it is missing
    f"\n{'*' * 70}\n  Resource \x1b[93mcmudict\x1b[0m not found.\n  Please use the NLTK Downloader to obtain the resource:\n\n"
    "  \x1b[31m>>> import nltk\n  >>> nltk.download('cmudict')\n  \x1b[0m\n"
    "  For more information see: https://www.nltk.org/data.html\n\n  Attempted to load \x1b[93mcorpora/cmudict\x1b[0m\n\n"
    f"  Searched in:\n    - '/home/somebody/nltk_data'\n{'*' * 70}\n"
)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text("THE\tDH AH0\nTHE\tDH IY0\n\nCAT  K AE1 T\r\n")
    second.write_text("CAT\tT\nSAT S AE1 T")
    return [first, second]


def test_the_first_pronunciation_counts(files: list[Path]):
    lexicon = read_lexicon(files, PHONEMES)
    assert len(lexicon) == 3
    assert lexicon.phones("THE CAT  SAT\n") == "DH AH0 K AE1 T S AE1 T"
    assert read_lexicon(files[1]).phones("CAT") == "T"


def test_missing_words_are_counted(files: list[Path]):
    lexicon = read_lexicon(files)
    assert [lexicon.phones(text) for text in ("THE DOG DOG", "", "CAT")] == [None, None, "K AE1 T"]
    assert lexicon.missing == {"DOG": 2}


def test_a_word_as_it_is_written_comes_before_others_that_differ_in_case(files: list[Path]):
    files[0].write_text("Polish P OW1 L IH0 SH\npolish P AA1 L IH0 SH\nTHE DH AH0\n")
    lexicon = read_lexicon(files)
    assert [lexicon.phones(word) for word in ("polish", "the Polish", "POLISH")] == [
        "P AA1 L IH0 SH",
        "DH AH0 P OW1 L IH0 SH",
        "P OW1 L IH0 SH",
    ]
    assert not lexicon.missing


def test_missing_words_can_be_guessed(files: list[Path]):
    asked: list[str] = []
    lexicon = read_lexicon(files, guess=lambda word: asked.append(word) or "D AO1 G")
    assert lexicon.phones("THE DOG DOG") == "DH AH0 D AO1 G D AO1 G"
    assert (asked, lexicon.missing) == (["DOG"], {})


def test_guesser(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "g2p_en", SimpleNamespace(G2p=lambda: SimpleNamespace(predict=lambda word: ["D", " ", word.upper()])))
    assert grapheme_to_phoneme()("DoG") == "D DOG"
    monkeypatch.setitem(sys.modules, "g2p_en", None)
    with pytest.raises(MissingDependencyError, match="pip install g2p-en"):
        grapheme_to_phoneme()


@pytest.mark.parametrize(
    ("content", "error", "sentence"),
    [
        ("import inflect_of_no_one.engine", MissingDependencyError, "the package 'inflect-of-no-one', which is not installed"),
        ("from pathlib import Pith", ToolkitError, "the package 'g2p-en', which cannot be imported: cannot import name 'Pith'"),
        (
            "def G2p():\n    raise LookupError({!r})",
            DataError,
            r"needs NLTK's data 'cmudict', which is not on this machine: python3 -m nltk\.downloader cmudict$",
        ),
    ],
)
def test_a_guesser_that_lacks_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, error: type, sentence: str):
    """As g2p-en ends without a package that it imports, with an old one, and without NLTK's data and a network."""
    (tmp_path / "g2p_en.py").write_text(content.format(NLTK))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "g2p_en", raising=False)
    with pytest.raises(error, match=f"^guessing pronunciations .*{sentence}") as raised:
        grapheme_to_phoneme()
    assert raised.type is error and "\n" not in str(raised.value)
    sys.modules.pop("g2p_en", None)


def test_wrong_lexicons(tmp_path: Path):
    path = tmp_path / "lexicon.txt"
    with pytest.raises(DataError, match=r"lexicon\.txt does not exist.*fetch_lists"):
        read_lexicon(path)
    path.write_text("A AH0\nODDWORD AA0 QQ1\n")
    with pytest.raises(DataError, match="line 2: the phone 'QQ1' of 'ODDWORD' is not in the vocabulary"):
        read_lexicon(path, PHONEMES)
    path.write_text("A\n")
    with pytest.raises(DataError, match="line 1: 'A' has no phones"):
        read_lexicon(path)
    path.write_bytes(b"A AH0\nB\xff B\n")
    with pytest.raises(DataError, match=r"^lexicon_field: lexicon .* is no UTF-8 text: line 2 holds the byte 0xff at column 2"):
        read_lexicon(path, field="lexicon_field")


def test_words_outside_the_librispeech_vocabulary(shared: Path):
    """The real list that goes with LibriSpeech's lexicon."""
    (path,) = (shared / "data/task_lists").rglob("*lexicon*allothers*")
    lexicon = read_lexicon(path, PHONEMES)
    assert len(lexicon) == 14716
