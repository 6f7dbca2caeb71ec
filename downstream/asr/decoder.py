"""Words from letter probabilities with a lexicon and a word language model: beam search of flashlight (spec: downstream-content.md 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from utility.errors import ConfigError, DataError, MissingDependencyError, UnknownNameError
from utility.text.files import read_lines
from utility.text.letters import BAR, UNKNOWN, LetterDictionary
from utility.training.fields import check_counts, check_fields, check_texts

TYPES = ("None", "kenlm")
_WEIGHTS = ("beam_threshold", "lm_weight", "word_score", "unk_weight", "sil_weight")
_FIELDS = ("decoder_type", "nbest", "criterion", "beam", "kenlm_model", "lexicon", *_WEIGHTS)


def decoder_type(described: Mapping[str, Any] | None, source: str = "decoder_args") -> str | None:
    """``"kenlm"``, or None for greedy decoding.

    Raises:
        ConfigError: unknown fields, or values that make no sense.
        UnknownNameError: no such type.
    """
    described = described or {}
    check_fields(described, _FIELDS, source=source)
    kind = str(described.get("decoder_type"))
    if kind not in TYPES:
        raise UnknownNameError(f"{source}.decoder_type", kind, TYPES)
    for name, only in (("criterion", "ctc"), ("nbest", 1)):
        if described.get(name, only) != only:
            raise ConfigError(f"{name} must be {only!r}, not {described[name]!r}", source)
    check_texts(described, ("kenlm_model", "lexicon"), source=source)
    check_counts(described, {"beam": 1}, source=source)
    for name in _WEIGHTS:
        if name in described:
            value = number(name, described[name], source)
            if name == "beam_threshold" and value <= 0:
                raise ConfigError(f"{name} must be a number above 0, not {described[name]!r}", source)
    return None if kind == "None" else kind


def number(name: str, value: Any, source: str = "decoder_args") -> float:
    """A weight; infinities may be written ``-inf`` or, as in S3PRL's configs, ``-math.inf``.

    Raises:
        ConfigError: it is no number.
    """
    try:
        found = float(value.strip().replace("math.", "") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        found = math.nan
    if math.isnan(found):
        raise ConfigError(f"{name} must be a number, not {value!r}", source)
    return found


class LanguageModelDecoder:
    """Beam search over the words of a lexicon.

    Args:
        described: ``decoder_args`` of the config; ``kenlm_model`` is an ARPA or binary file of KenLM, ``lexicon`` has lines
            ``WORD<TAB>W O R D |``.
        dictionary: of the letters.

    Raises:
        MissingDependencyError: flashlight-text or kenlm is not installed.
        ConfigError: a field is missing or no number.
        DataError: model or lexicon is missing or damaged.
    """

    def __init__(self, described: Mapping[str, Any], dictionary: LetterDictionary, source: str = "decoder_args"):
        decoder_type(described, source)
        if missing := [name for name in ("kenlm_model", "lexicon") if not described.get(name)]:
            raise ConfigError([f"field {name!r} is missing" for name in missing], source)
        text = _flashlight()
        lexicon = read_lexicon(described["lexicon"], dictionary, f"{source}.lexicon")
        self.words = text.Dictionary([*lexicon, *([] if UNKNOWN in lexicon else [UNKNOWN])])
        unknown = self.words.get_index(UNKNOWN)
        self.words.set_default_index(unknown)
        self.model = _language_model(text.KenLM, Path(described["kenlm_model"]), self.words, f"{source}.kenlm_model")
        bar = dictionary.numbers[BAR]
        self.trie = text.Trie(len(dictionary), bar)
        start = self.model.start(False)
        for word, spellings in lexicon.items():
            index = self.words.get_index(word)
            _, score = self.model.score(start, index)
            for spelling in spellings:
                self.trie.insert(spelling, index, score)
        self.trie.smear(text.SmearingMode.MAX)
        options = text.LexiconDecoderOptions(
            beam_size=described.get("beam", 5),
            beam_size_token=len(dictionary),
            beam_threshold=number("beam_threshold", described.get("beam_threshold", 25), source),
            lm_weight=number("lm_weight", described.get("lm_weight", 2), source),
            word_score=number("word_score", described.get("word_score", -1), source),
            unk_score=number("unk_weight", described.get("unk_weight", -math.inf), source),
            sil_score=number("sil_weight", described.get("sil_weight", 0), source),
            log_add=False,
            criterion_type=text.CriterionType.CTC,
        )
        self.search = text.LexiconDecoder(options, self.trie, self.model, bar, dictionary.begin, unknown, [], False)

    def __call__(self, logits: Tensor) -> list[str]:
        """(T, C) logits of one utterance -> the words of the best hypothesis."""
        emissions = F.log_softmax(logits.float(), dim=-1).cpu().contiguous()
        found = self.search.decode(emissions.data_ptr(), *emissions.shape)
        return [self.words.get_entry(index) for index in found[0].words if index >= 0] if found else []


def read_lexicon(path: str | Path, dictionary: LetterDictionary, field: str = "lexicon") -> dict[str, list[list[int]]]:
    """Word -> its spellings as numbers of letters.

    Raises:
        DataError: the file is missing or empty, or a spelling holds a letter that the dictionary lacks.
    """
    hint = "python3 preprocess/fetch_lists.py --only asr-lexicon fetches LibriSpeech's"
    lines = read_lines(path, "lexicon", field, hint)
    found: dict[str, list[list[int]]] = {}
    for place, line in enumerate(lines, 1):
        word, *letters = line.split() or [""]
        if strange := [letter for letter in letters if letter not in dictionary.numbers]:
            raise DataError(f"{field}: line {place} of {path} spells with {strange[0]!r}, which is no letter of the dictionary")
        if letters:
            found.setdefault(word, []).append([dictionary.numbers[letter] for letter in letters])
    if not found:
        raise DataError(f"{field}: {path} holds no line WORD<TAB>W O R D |")
    return found


def _language_model(kenlm: type, path: Path, words: Any, field: str) -> Any:
    if not path.is_file():
        raise DataError(
            f"{field}: there is no language model {path}; python3 preprocess/fetch_lists.py --only asr-lm asr-lexicon fetches LibriSpeech's"
        )
    try:
        return kenlm(str(path), words)
    except RuntimeError as error:
        packed = "; unpack it, since this KenLM was built without zlib" if path.suffix == ".gz" else ""
        raise DataError(f"{field}: KenLM cannot read {path}{packed}: {str(error).splitlines()[-1].strip()}") from error


class _Flashlight:
    """The classes of flashlight-text that are needed."""

    def __init__(self) -> None:
        from flashlight.lib.text import decoder, dictionary
        from flashlight.lib.text.decoder.kenlm import KenLM

        self.Dictionary, self.KenLM = dictionary.Dictionary, KenLM
        self.Trie, self.SmearingMode, self.CriterionType = decoder.Trie, decoder.SmearingMode, decoder.CriterionType
        self.LexiconDecoder, self.LexiconDecoderOptions = decoder.LexiconDecoder, decoder.LexiconDecoderOptions


def _flashlight() -> _Flashlight:
    purpose = "decoding with a language model (decoder_type: kenlm)"
    try:
        import flashlight.lib.text  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("flashlight-text", purpose) from error
    try:
        return _Flashlight()
    except ImportError as error:
        raise MissingDependencyError("kenlm", purpose) from error
