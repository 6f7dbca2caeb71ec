"""VoiceBank-DEMAND as the representation benchmarks use it: 28 speakers at 16 kHz, of whom p226 and p287 validate (specs 8.1)."""

from __future__ import annotations

from pathlib import Path

from downstream.blocks.enhancement import splits
from downstream.blocks.enhancement.pairs import PairedFiles, pair_folders, pair_lists

SPLITS = ("train", "dev", "test")
_PARTS = {"train": "trainset_28spk", "dev": "trainset_28spk", "test": "testset"}
_SUFFIXES = ("_16k", "")  # folders that were resampled before, or as they unpack


def of_lists(data_dir: str | Path, split: str) -> list[PairedFiles]:
    """The recordings of S3PRL's preparation: ``<data_dir>/<split>/{noisy,clean}/wav.scp``.

    Raises:
        DataError: lists are missing or do not pair.
    """
    folder = Path(data_dir) / split
    return pair_lists(folder / "noisy/wav.scp", folder / "clean/wav.scp")


def of_folders(root: str | Path, split: str) -> list[PairedFiles]:
    """The recordings of the corpus as it unpacks: ``<root>/{noisy,clean}_{trainset_28spk,testset}_wav``, or the same with ``_16k``.

    Raises:
        DataError: folders are missing or do not pair.
    """
    part = _PARTS[split]
    suffix = next((end for end in _SUFFIXES if Path(root, f"noisy_{part}_wav{end}").is_dir()), "")
    pairs = pair_folders(Path(root, f"noisy_{part}_wav{suffix}"), Path(root, f"clean_{part}_wav{suffix}"), ".wav")
    if split == "test":
        return pairs
    training, validation = splits.cut_speakers(pairs, None, 0)
    return training if split == "train" else validation
