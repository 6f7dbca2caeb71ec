"""Texts as lists of token ids and back, with S3PRL's ids (spec: s3prl-core.md 13, downstream-content.md 2 and 6).

    <pad> 0 (the blank of CTC)    <eos> 1    <unk> 2    then the vocabulary, one token per line of its file

| mode | tokens |
|---|---|
| ``character`` | characters |
| ``word`` (``phoneme`` is the same) | what single spaces separate |
| ``subword`` | pieces of a sentencepiece model, which has the three special tokens itself |
| ``character-slot``, ``subword-slot`` | the same, and a tag before and behind the words of each slot |

Each encoder gives its ``state``: plain data from which :func:`encoder_from_state` makes it again without any file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from utility.errors import ConfigError, DataError, UnknownNameError
from utility.text.files import naming, read_lines

PAD, EOS, UNK = 0, 1, 2
SPECIALS = ("<pad>", "<eos>", "<unk>")
CHARACTERS = (" ", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "'")
_VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
_CONSONANTS = (*"BDFGKLMNPRSTVWYZ", "CH", "DH", "HH", "JH", "NG", "SH", "TH", "ZH")
PHONEMES = ("SIL", "SPN", *sorted([f"{vowel}{stress}" for vowel in _VOWELS for stress in "012"] + [*_CONSONANTS]))


class TextEncoder:
    """What all encoders share; also the encoder of single tokens.

    Args:
        vocabulary: the tokens without the three special ones.
        mode: the name that the config gives to this kind.

    Attributes:
        symbols: how each id is written when it is decoded.
    """

    joint = ""

    def __init__(self, vocabulary: Sequence[str], mode: str):
        self.mode = mode
        self.vocabulary = tuple(vocabulary)
        self.symbols: tuple[str, ...] = (*SPECIALS, *self.vocabulary)
        self.ids = {symbol: index for index, symbol in enumerate(self.symbols)}

    def __len__(self) -> int:
        return len(self.symbols)

    def tokens(self, text: str) -> list[str]:
        """The tokens of a text."""
        raise NotImplementedError

    def encode(self, text: str) -> list[int]:
        """The ids of a text, ``<eos>`` at the end; tokens outside the vocabulary become ``<unk>``."""
        ids = self.ids
        return [*(ids.get(token, UNK) for token in self.tokens(text)), EOS]

    def decode(self, ids: Iterable[int], ignore_repeat: bool = False) -> str:
        """The text up to the first ``<eos>``, without ``<pad>``.

        Args:
            ids: token ids.
            ignore_repeat: leave out an id that equals the one directly before it (``<pad>`` counts as one).
        """
        return self.joint.join(self.symbols[index] for index in kept(ids, ignore_repeat))

    @property
    def state(self) -> dict[str, Any]:
        """Plain data for :func:`encoder_from_state`."""
        return {"mode": self.mode, "vocabulary": list(self.vocabulary)}


def kept(ids: Iterable[int], ignore_repeat: bool) -> list[int]:
    """The ids up to ``<eos>`` without ``<pad>`` and, if asked, without direct repetitions."""
    found, before = [], None
    for index in ids:
        if index == EOS:
            break
        if index != PAD and not (ignore_repeat and index == before):
            found.append(index)
        before = index
    return found


class CharacterEncoder(TextEncoder):
    """Characters; spaces and line ends around the text do not count."""

    def tokens(self, text: str) -> list[str]:
        """Every character."""
        return list(text.strip("\r\n "))


class WordEncoder(TextEncoder):
    """Words or phones.

    Two spaces in a row hold an empty word, and so does the empty text, as in S3PRL; it becomes ``<unk>``.
    """

    joint = " "

    def tokens(self, text: str) -> list[str]:
        """What single spaces separate."""
        return text.strip("\r\n ").split(" ")


class SubwordEncoder(TextEncoder):
    """Pieces of a sentencepiece model.

    Args:
        model: the serialized model; its ids of ``<pad>``, ``<eos>`` and ``<unk>`` must be 0, 1 and 2.
    """

    def __init__(self, model: bytes, mode: str = "subword"):
        from utility.text.subword import open_model

        self.model, self.processor = model, open_model(model)
        super().__init__([self.processor.id_to_piece(index) for index in range(3, len(self.processor))], mode)

    def encode(self, text: str) -> list[int]:
        """As the model cuts the text, ``<eos>`` at the end."""
        return [*self.processor.encode(text.strip("\r\n ")), EOS]

    def decode(self, ids: Iterable[int], ignore_repeat: bool = False) -> str:
        """The text up to the first ``<eos>``."""
        return self.processor.decode(kept(ids, ignore_repeat))

    @property
    def state(self) -> dict[str, Any]:
        """Plain data; the model as text, which every safe loader reads."""
        from utility.text.subword import as_text

        return {"mode": self.mode, "model": as_text(self.model)}


def read_vocabulary(path: str | Path, field: str = "text.vocab_file") -> list[str]:
    """The tokens of a vocabulary file, one per line; a line that is one space is the space.

    Args:
        path: the file.
        field: the config field that an error names.

    Raises:
        DataError: the file is missing, is no text, or holds a special token or a token twice.
    """
    tokens, name = read_lines(path, "vocabulary file", field), naming(path, "vocabulary file", field)
    reserved = [token for token in SPECIALS if token in tokens]
    if reserved:
        raise DataError(f"{name} must not hold {', '.join(reserved)}, which every vocabulary has")
    twice = sorted({token for token in tokens if tokens.count(token) > 1}) if len(set(tokens)) < len(tokens) else []
    if twice or not tokens:
        raise DataError(f"{name} " + (f"holds {twice[0]!r} more than once" if twice else "is empty"))
    return tokens


def characters_of(texts: Iterable[str]) -> list[str]:
    """Every character that occurs, sorted."""
    return sorted({character for text in texts for character in text.strip("\r\n ")})


MODES = ("character", "word", "phoneme", "subword", "character-slot", "subword-slot")


def build_encoder(
    mode: str,
    vocab_file: str | Path | None = None,
    vocab_list: Sequence[str] | None = None,
    slots_file: str | Path | None = None,
    published: bool = True,
) -> TextEncoder:
    """The encoder that a config describes.

    Args:
        mode: one of ``MODES``; with ``slots_file`` the ``-slot`` may be left out.
        vocab_file: tokens, one per line, or a sentencepiece model; without it and ``vocab_list`` the English characters or phonemes.
        vocab_list: tokens in place of the file.
        slots_file: names of the slots, one per line, after a first line ``O``.
        published: see :class:`utility.text.slot_encoders.SlotEncoder`.

    Raises:
        UnknownNameError: no such mode.
        ConfigError: both vocabularies, or none where there is no default.
        DataError: a file is missing or not what it should be.
    """
    name = f"{mode}-slot" if slots_file and not mode.endswith("-slot") else mode
    if name not in MODES:
        raise UnknownNameError("text mode", name, MODES)
    if vocab_file and vocab_list:
        raise ConfigError("vocab_file and vocab_list exclude each other", source="text")
    base = name.removesuffix("-slot")
    vocabulary = read_model(vocab_file) if base == "subword" else _tokens(base, vocab_file, vocab_list)
    if not name.endswith("-slot"):
        return _plain(name, vocabulary)
    from utility.text.slot_encoders import SLOT_ENCODERS, read_slots

    if not slots_file:
        raise ConfigError(f"mode {name!r} needs the field 'slots_file'", source="text")
    return SLOT_ENCODERS[name](vocabulary, read_slots(slots_file), published)


def _plain(mode: str, vocabulary: Any) -> TextEncoder:
    if mode == "subword":
        return SubwordEncoder(vocabulary)
    return (CharacterEncoder if mode == "character" else WordEncoder)(vocabulary, mode)


def _tokens(base: str, vocab_file: str | Path | None, vocab_list: Sequence[str] | None) -> list[str]:
    if vocab_file:
        return read_vocabulary(vocab_file)
    return list(vocab_list or (CHARACTERS if base == "character" else PHONEMES))


def read_model(path: str | Path | None) -> bytes:
    """The bytes of a sentencepiece model.

    Raises:
        ConfigError: there is no path.
        DataError: there is no file.
    """
    if not path:
        raise ConfigError("subwords need the field 'vocab_file', a sentencepiece model", source="text")
    if not Path(path).is_file():
        raise DataError(f"text.vocab_file: sentencepiece model {path} does not exist")
    return Path(path).read_bytes()


def encoder_from_state(state: dict[str, Any]) -> TextEncoder:
    """The encoder whose ``state`` this is.

    Raises:
        UnknownNameError: it is of a mode that does not exist here.
    """
    mode = state["mode"]
    if mode not in MODES:
        raise UnknownNameError("text mode", mode, MODES)
    if "model" in state:
        from utility.text.subword import from_text

        vocabulary: Any = from_text(state["model"])
    else:
        vocabulary = state["vocabulary"]
    if not mode.endswith("-slot"):
        return _plain(mode, vocabulary)
    from utility.text.slot_encoders import SLOT_ENCODERS

    return SLOT_ENCODERS[mode](vocabulary, state["slots"], state["published"])
