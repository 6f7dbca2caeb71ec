"""sentencepiece models, an optional package."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from io import BytesIO
from typing import Any

from utility.errors import DataError, MissingDependencyError

SPECIAL_IDS = {"pad": 0, "eos": 1, "unk": 2}


def open_model(model: bytes) -> Any:
    """The processor of a serialized model.

    Raises:
        MissingDependencyError: sentencepiece is not installed.
        DataError: these bytes are no model, or its special tokens have other ids than 0, 1 and 2.
    """
    sentencepiece = _package()
    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(model)
    except RuntimeError as error:
        raise DataError(f"this is no sentencepiece model ({error})") from error
    found = {name: getattr(processor, f"{name}_id")() for name in SPECIAL_IDS}
    if found != SPECIAL_IDS:
        raise DataError(f"the sentencepiece model must be trained with pad_id=0, eos_id=1 and unk_id=2, but has {found}")
    return processor


def train_model(texts: Iterable[str], size: int = 1000, coverage: float = 1.0) -> bytes:
    """A unigram model of ``size`` pieces, the three special ones among them.

    Raises:
        MissingDependencyError: sentencepiece is not installed.
        DataError: the texts do not give that many pieces.
    """
    model = BytesIO()
    ids = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "eos_piece": "<eos>"}
    try:
        _package().SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            vocab_size=size,
            character_coverage=coverage,
            model_type="unigram",
            minloglevel=2,
            **ids,
        )
    except RuntimeError as error:
        raise DataError(f"no sentencepiece model of {size} pieces: {error}") from error
    return model.getvalue()


def as_text(model: bytes) -> str:
    """A model as text."""
    return base64.b64encode(model).decode("ascii")


def from_text(text: str) -> bytes:
    """The model of :func:`as_text`."""
    return base64.b64decode(text)


def _package() -> Any:
    try:
        import sentencepiece
    except ImportError as error:
        raise MissingDependencyError("sentencepiece", "subword text") from error
    return sentencepiece
