"""The examples of a split: recordings with the ids of what is said in them, most ids first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from downstream.blocks.librispeech import Utterance
from utility.errors import ConfigError, DataError, UnknownNameError, did_you_mean
from utility.text.encoders import SPECIALS, UNK, TextEncoder, build_encoder, characters_of
from utility.text.lexicon import Lexicon, grapheme_to_phoneme, read_lexicon
from utility.training.fields import check_lists, check_name

from .readers import FIELD, READERS

log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
_SPEAKERS = "_speakers"
OPTIONS = frozenset({"name", "path", "lexicon", "bucketing", "batch_size", "eval_batch_size", "num_workers"})
TEXT_FIELDS = frozenset({"mode", "vocab_file", "slots_file", "published", "g2p"})


@dataclass(frozen=True, slots=True)
class Example:
    """A recording and its label.

    Args:
        name: of the utterance.
        path: of the audio file.
        ids: of the tokens, ``<eos>`` at the end.
    """

    name: str
    path: str
    ids: Sequence[int]


def splits_of(corpus: Mapping[str, Any]) -> dict[str, list[str]]:
    """Split -> names of its parts: every field of the section that is no option and holds names.

    Raises:
        ConfigError: fields that mean nothing, all in one sentence.
        UnknownNameError: no such corpus.
    """
    check_name(f"corpus in {FIELD}.name", corpus.get("name"), READERS)
    splits, faults = {}, []
    speakers = [name for name in corpus if corpus["name"] == "snips" and name.endswith(_SPEAKERS)]
    for name, value in corpus.items():
        if name in OPTIONS or name in speakers:
            continue
        parts = [value] if isinstance(value, str) and name in ("train", "dev", "test") else value
        if isinstance(parts, list | tuple) and parts and all(isinstance(part, str) for part in parts):
            splits[name] = list(parts)
        else:
            faults.append(f"{name!r} is neither an option nor a list of parts of the corpus{did_you_mean(name, sorted(OPTIONS))}")
    known = [f"{part}{_SPEAKERS}" for parts in splits.values() for part in parts]
    faults += [f"{name!r} belongs to no part of the corpus{did_you_mean(name, known)}" for name in speakers if name not in known]
    if faults:
        raise ConfigError(faults, source=FIELD)
    return splits


def shipped(path: str | None) -> str | None:
    """A path as it is, or below the root of the repository where it exists there alone."""
    return str(ROOT / path) if path and not Path(path).exists() and (ROOT / path).exists() else path


def make_encoder(text: Mapping[str, Any], transcripts: Callable[[], list[str]] | None = None) -> TextEncoder:
    """The encoder of the ``text`` section.

    Args:
        text: the section.
        transcripts: gives the training texts; where no vocabulary is given, their characters are it.
    """
    options = {name: text[name] for name in ("published",) if name in text}
    files = {name: shipped(text.get(name)) for name in ("vocab_file", "slots_file")}
    listed = None
    if text["mode"] == "character" and not files["vocab_file"] and transcripts:
        listed = [character for character in characters_of(transcripts()) if character not in SPECIALS]
    return build_encoder(str(text["mode"]), **files, vocab_list=listed, **options)


def read_split(corpus: Mapping[str, Any], split: str, slots: bool) -> list[Utterance]:
    """The utterances of all parts of a split.

    Raises:
        UnknownNameError: the config has no such split.
    """
    splits = splits_of(corpus)
    if split not in splits:
        raise UnknownNameError("split", split, splits)
    return [utterance for part in splits[split] for utterance in READERS[corpus["name"]](corpus, part, slots)]


def pronouncing(corpus: Mapping[str, Any], text: Mapping[str, Any], encoder: TextEncoder) -> Lexicon:
    """The lexicon of ``libriphone``.

    Raises:
        ConfigError: it is not given.
        DataError: it is missing or does not fit the vocabulary.
    """
    if not corpus.get("lexicon"):
        raise ConfigError("field 'lexicon' is missing", source=FIELD)
    check_lists(corpus, ("lexicon",), source=FIELD, alone=True)
    files = [corpus["lexicon"]] if isinstance(corpus["lexicon"], str) else corpus["lexicon"]
    guess = grapheme_to_phoneme() if text.get("g2p") else None
    return read_lexicon([shipped(file) for file in files], encoder.vocabulary, guess, f"{FIELD}.lexicon")


def examples_of(utterances: list[Utterance], split: str, encoder: TextEncoder, lexicon: Lexicon | None = None) -> list[Example]:
    """Encodes texts; most ids first, equally long ones in the given order.

    Utterances without any word, and those with a word that the lexicon lacks, are left out with one warning each, that counts them.

    Raises:
        DataError: a text that is not what it should be, or nothing is left.
    """
    found, empty, unknown = [], 0, 0
    for utterance in utterances:
        if not utterance.text.strip():
            empty += 1
            continue
        text = utterance.text if lexicon is None else lexicon.phones(utterance.text)
        if text is not None:
            found.append(Example(utterance.name, utterance.path, _encoded(encoder, utterance, text)))
            unknown += found[-1].ids.count(UNK)
    if empty:
        log.warning("split %r: %d utterances without any word are left out", split, empty)
    if lexicon is not None and lexicon.missing:
        _report_missing(lexicon, split, len(utterances) - len(found) - empty)
    if unknown:
        log.warning("split %r: %d tokens are not in the vocabulary and become <unk>", split, unknown)
    if not found:
        raise DataError(f"split {split!r}: none of its {len(utterances)} utterances can be used")
    return sorted(found, key=lambda example: -len(example.ids))


def in_its_case(utterances: list[Utterance], split: str, encoder: TextEncoder) -> list[Utterance]:
    """The utterances, in capitals where the vocabulary has no small letters, as LibriSpeech's own texts are; a warning counts them."""
    if any(token != token.upper() for token in encoder.vocabulary):
        return utterances
    changed = [utterance.name for utterance in utterances if utterance.text != utterance.text.upper()]
    if changed:
        what = "split %r: %d texts with small letters, such as that of %s, are read in capitals, since the vocabulary has no others"
        log.warning(what, split, len(changed), changed[0])
    return [replace(utterance, text=utterance.text.upper()) for utterance in utterances]


def _encoded(encoder: TextEncoder, utterance: Utterance, text: str) -> list[int]:
    try:
        return encoder.encode(text)
    except (DataError, UnknownNameError) as error:
        raise DataError(f"utterance {utterance.name}: {error}") from error


def _report_missing(lexicon: Lexicon, split: str, utterances: int) -> None:
    words = ", ".join(word for word, _ in lexicon.missing.most_common(10))
    more = ", ..." if len(lexicon.missing) > 10 else ""
    log.warning(
        "split %r: %d utterances are left out for %d words that no lexicon has: %s%s (text.g2p: true guesses them)",
        split, utterances, len(lexicon.missing), words, more,
    )  # fmt: skip
