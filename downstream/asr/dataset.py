"""Recordings of LibriSpeech with their letters (spec: downstream-content.md 3)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from downstream.blocks.length_buckets import TableRow, check_recordings, read_lengths
from downstream.blocks.librispeech import read_texts
from utility.audio.io import load_audio
from utility.errors import DataError
from utility.text.letters import LetterDictionary

log = logging.getLogger(__name__)
SAMPLE_RATE = 16000
Item = tuple[Tensor, Tensor, str, str]


def transcribed(
    root: str | Path, bucket_file: str | Path, tables: Sequence[str], source: str = "datarc"
) -> tuple[list[TableRow], dict[str, str]]:
    """All rows of some tables, longest first, and the texts of those that have one; the others are counted in one warning.

    Raises:
        DataError: corpus, tables or recordings are missing, or no utterance has a text.
    """
    if not Path(root).is_dir():
        raise DataError(f"{source}.libri_root: folder {root} does not exist; downstream/asr/README.md says where to get it")
    rows = read_lengths(bucket_file, tables, root, f"{source}.bucket_file")
    check_recordings(rows, bucket_file, tables, root, f"{source}.bucket_file")
    files: dict[Path, dict[str, str]] = {}
    texts = {}
    for row in rows:
        path = Path(root, row.path).with_name(f"{row.name.rpartition('-')[0]}.trans.txt")
        if path not in files:
            files[path] = read_texts(path, f"{source}.libri_root") if path.is_file() else {}
        if text := files[path].get(row.name):
            texts[row.name] = text
    silent = [row for row in rows if row.name not in texts]
    if not texts:
        example = f", such as {silent[0].path}" if silent else ""
        raise DataError(f"{source}: none of the {len(rows)} utterances of {', '.join(tables)} below {root} has a text{example}")
    if silent:
        log.warning(
            "%s: %d of %d utterances have no text and are left out, such as %s", ", ".join(tables), len(silent), len(rows), silent[0].path
        )
    return rows, texts


def report_unknown(texts: Mapping[str, str], dictionary: LetterDictionary, split: str) -> None:
    """Warns, once for a split, of letters that no output stands for.

    Args:
        texts: of the split, by name.
        dictionary: of the letters.
        split: for the message.
    """
    unknown = {name: found for name, text in texts.items() if (found := dictionary.unknown_in(text))}
    if unknown:
        name, (letter, *_) = next(iter(unknown.items()))
        log.warning(
            "split %s: %d letters of %d texts are not in the dictionary, such as %r of %s; they are trained as <unk>, and what is heard in "
            "their place counts as an error",
            *(split, sum(map(len, unknown.values())), len(unknown), letter, name),
        )


class LibriSpeechLetters(Dataset):
    """Items are (waveform, numbers of the letters, name, text).

    Args:
        root: of the corpus.
        utterances: which, in the order of the indices.
        texts: words by name.
        dictionary: of the letters.
    """

    def __init__(self, root: str | Path, utterances: Sequence[TableRow], texts: dict[str, str], dictionary: LetterDictionary):
        self.root, self.utterances, self.texts, self.dictionary = Path(root), utterances, texts, dictionary

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> Item:
        utterance = self.utterances[index]
        wav, text = load_audio(self.root / utterance.path, SAMPLE_RATE), self.texts[utterance.name]
        return torch.from_numpy(wav), torch.tensor(self.dictionary.encode(text)), utterance.name, text

    @staticmethod
    def collate_fn(samples: list[Item]) -> tuple[list[Tensor], list[Tensor], list[str], list[str]]:
        """``(wavs, labels, names, texts)``."""
        return tuple(map(list, zip(*samples, strict=True)))
