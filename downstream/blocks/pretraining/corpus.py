"""Untranscribed recordings as batches of like length: LibriSpeech by its tables of lengths, or any folder of audio."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from downstream.blocks.length_buckets import BatchOrder, TableRow, check_recordings, form_batches, read_lengths
from downstream.blocks.librispeech import existing_split
from downstream.blocks.recordings import read_part
from utility.audio.io import audio_info, find_audio, load_audio
from utility.errors import DataError

log = logging.getLogger(__name__)
SAMPLE_RATE = 16000
SAMPLES_PER_STEP = 160  # max_timestep counts frames of 10 ms
WHOLE = "."


def recordings_of(root: str | Path, tables: str | Path | None, sets: Sequence[str], source: str) -> list[TableRow]:
    """The recordings of some sets together, the longest first.

    Args:
        root: the folder of the corpus.
        tables: the folder of the tables of lengths; None: each set is a folder below ``root`` (``"."``: all of it), and the lengths come
            from the heads of the files.
        sets: names of tables or of folders.
        source: the config section that an error names.

    Raises:
        DataError: folders, tables or recordings are missing.
    """
    if tables is not None:
        rows = read_lengths(tables, sets, root, f"{source}.file_path")
        check_recordings(rows, tables, sets, root, f"{source}.file_path")
        return rows
    folders = [Path(root) if name == WHOLE and Path(root).is_dir() else existing_split(root, name, f"{source}.libri_root") for name in sets]
    paths = dict.fromkeys(path for folder in folders for path in find_audio(folder))
    if not paths:
        raise DataError(f"{source}.libri_root: there is no audio in {', '.join(map(str, folders))}")
    if len(paths) > 10_000:
        log.warning("reading the lengths of %d files; preprocess/generate_len_for_bucket.py makes tables of them once", len(paths))
    rows = [TableRow(path.relative_to(root).as_posix(), _samples(path)) for path in paths]
    return sorted(rows, key=lambda row: -row.samples)


def _samples(path: Path) -> int:
    """Length at 16 kHz."""
    info = audio_info(path)
    return info.frames * SAMPLE_RATE // info.sample_rate


def of_length(rows: Sequence[TableRow], max_timestep: int) -> list[TableRow]:
    """The recordings of at most ``max_timestep`` frames of 10 ms; of at least as many, if it is negative; all, if it is 0."""
    limit = abs(max_timestep) * SAMPLES_PER_STEP
    return [row for row in rows if not limit or (row.samples <= limit if max_timestep > 0 else row.samples >= limit)]


class Recordings(Dataset):
    """Items are (waveform at 16 kHz, name).

    Args:
        root: of the corpus.
        rows: the recordings, in the order of the indices.
        longest: samples; of longer recordings a random part of this length is taken at each access. None: all come whole.
        copies: how often the waveform comes; the further ones reach the task beside the features.
    """

    def __init__(self, root: str | Path, rows: Sequence[TableRow], longest: int | None = None, copies: int = 1):
        self.root, self.rows, self.longest, self.copies = Path(root), rows, longest, copies

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, str]:
        path = str(self.root / self.rows[index].path)
        wav = load_audio(path, SAMPLE_RATE) if self.longest is None else read_part(path, self.longest)
        return torch.from_numpy(wav), self.rows[index].path

    def collate_fn(self, samples: list[tuple[Tensor, str]]) -> tuple[list, ...]:
        """``(wavs, names)``, with further copies of the waveforms before the names if there are any."""
        wavs, names = zip(*samples, strict=True)
        return (*(list(wavs) for _ in range(self.copies)), list(names))


def loader(dataset: Recordings, batch_size: int, shuffle: bool, num_workers: int) -> DataLoader:
    """Batches of recordings of like length."""
    sizes = [len(batch) for batch in form_batches(dataset.rows, batch_size)]
    return DataLoader(dataset, batch_sampler=BatchOrder(sizes, shuffle), num_workers=num_workers, collate_fn=dataset.collate_fn)
