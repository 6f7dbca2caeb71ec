"""Which parts of which recordings make up a split: SC09, or a folder of music or any other audio (specs/audio-generation.md, 4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from downstream.blocks.sc09 import sc09_files
from utility.audio.io import audio_info, find_audio
from utility.audio.windows import resampled_length
from utility.errors import DataError
from utility.text.natural import natural
from utility.training.fields import Count, Part, check_fields, check_name, check_options, keywords_of

SPLITS = ("train", "val", "test")
FIELD = "config.downstream_expert.datarc.path"
VAL_SHARE = 0.5  # of what is not trained on


@dataclass(frozen=True)
class Chunk:
    """A part of a recording.

    Args:
        path: the file.
        start, frames: where it begins and how long it is, in samples at the task's rate.
    """

    path: Path
    start: int
    frames: int


@dataclass(frozen=True)
class Corpus:
    """The fields of ``datarc`` that say what is read; their names are those of the official configs.

    Args:
        name: ``sc09`` (either layout of ``downstream/blocks/sc09.py``) or ``qautoaudio`` (a folder of audio, split by its files' names).
        path: the folder.
        sample_rate: in Hz; other recordings are resampled.
        sample_len: samples of a part; longer recordings give several.
        drop_last: leave out the end of a recording that is shorter than ``sample_len``.
        train_percentage: share of the files of a ``qautoaudio`` folder that is trained on; the rest is half val, half test.
    """

    name: str
    path: str
    sample_rate: Count = 16000
    sample_len: Count = 16000
    drop_last: bool = False
    train_percentage: Part = 0.88

    @classmethod
    def of(cls, fields: Mapping[str, Any], source: str) -> Corpus:
        """From the fields of ``datarc`` (``_name_`` is the name).

        Raises:
            ConfigError: fields that do not exist, are missing or impossible; all of them are named.
        """
        given = {"name" if name == "_name_" else name: value for name, value in fields.items()}
        check_fields(given, keywords_of(cls), ("name", "path"), source=source)
        check_options(cls, given, source=source)
        check_name(f"corpus in {source}._name_", given["name"], READERS)
        return cls(**given)

    def read(self, split: str) -> list[Chunk]:
        """The parts of the recordings of a split, in the order of their paths.

        Raises:
            DataError: the corpus is missing or has nothing for this split, or a recording is empty.
        """
        root = Path(self.path)
        if not root.is_dir():
            raise DataError(f"{FIELD}: there is no folder {root}")
        chunks = [chunk for path in READERS[self.name](self, root, split) for chunk in self._chunks(path)]
        if not chunks:
            long_enough = f" of at least {self.sample_len} samples (datarc.sample_len)" if self.drop_last else ""
            dealt = _dealt(self, root) if self.name == "qautoaudio" else ""
            raise DataError(f"{root} holds no recording{long_enough} for the split {split!r}{dealt}")
        return chunks

    def _chunks(self, path: Path) -> Iterable[Chunk]:
        info = audio_info(path)
        total = resampled_length(info.frames, info.sample_rate, self.sample_rate)
        if not total:
            raise DataError(f"audio file {path} holds no samples")
        for start in range(0, total, self.sample_len):
            frames = min(self.sample_len, total - start)
            if frames == self.sample_len or not self.drop_last:
                yield Chunk(path, start, frames)


def _sc09(corpus: Corpus, root: Path, split: str) -> list[Path]:
    """Those of the digits of Speech Commands."""
    return sorted(sc09_files(root, split, FIELD))


def _folder(corpus: Corpus, root: Path, split: str) -> list[Path]:
    """The files in their natural order: the first ``train_percentage`` to train on, the rest half val, half test."""
    paths = sorted(find_audio(root), key=lambda path: natural(path.relative_to(root).as_posix()))
    share = corpus.train_percentage
    first, second = int(share * len(paths)), int((share + (1 - share) * VAL_SHARE) * len(paths))
    return {"train": paths[:first], "val": paths[first:second], "test": paths[second:]}[split]


def _dealt(corpus: Corpus, root: Path) -> str:
    """How many files each split has, for the sentence on one that has none."""
    counts = {split: len(_folder(corpus, root, split)) for split in SPLITS}
    parts = ", ".join(f"{split} {count}" for split, count in counts.items())
    return f": of its {sum(counts.values())} files datarc.train_percentage {corpus.train_percentage} gives {parts}"


READERS = {"sc09": _sc09, "qautoaudio": _folder}
