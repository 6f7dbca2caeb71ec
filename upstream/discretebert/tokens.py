"""The vocabulary of a BERT over codes: fairseq's dictionary of words such as ``12-301``, one for each pair of codebook entries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from utility.errors import CheckpointError
from utility.experiment.rebuild import record_to_plain

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
BEGIN, PAD, END, UNKNOWN = range(4)


class Vocabulary:
    """Words and their numbers.

    Args:
        words: all of them in order, the specials of fairseq first.
    """

    def __init__(self, words: Sequence[str]):
        self.numbers = {word: number for number, word in enumerate(words)}

    def __len__(self) -> int:
        return len(self.numbers)

    def encode(self, codes: Tensor) -> Tensor:
        """(T, groups) entries to (T + 2,) tokens: ``<s>``, each frame's word or ``<unk>``, ``</s>``."""
        words = ("-".join(map(str, frame)) for frame in codes.tolist())
        tokens = [BEGIN, *(self.numbers.get(word, UNKNOWN) for word in words), END]
        return torch.tensor(tokens, device=codes.device)


def vocabulary_of(dictionary: Any, path: Path) -> Vocabulary:
    """From what a checkpoint holds: the text of a ``dict.txt`` (``word count`` a line), a list of words, or fairseq's pickled dictionary.

    Raises:
        CheckpointError: it is none of these.
    """
    plain = record_to_plain(dictionary)
    if isinstance(plain, dict):
        plain = plain.get("symbols")
    if isinstance(plain, str):
        plain = [line.rsplit(" ", 1)[0] for line in plain.splitlines() if line.strip()]
    if not isinstance(plain, list) or not plain or not all(isinstance(word, str) for word in plain):
        raise CheckpointError(f"{path} has no usable 'text_dictionary': lines of 'word count' or a list of words are expected")
    return Vocabulary(plain if tuple(plain[: len(SPECIALS)]) == SPECIALS else [*SPECIALS, *plain])
