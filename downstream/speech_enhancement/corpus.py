"""Which recordings are trained on, which validate and which test (spec: speech-enhancement.md A1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from downstream.blocks.enhancement import splits
from downstream.blocks.enhancement.pairs import PairedFiles, pair_folders
from utility.errors import ConfigError
from utility.training.fields import check_fields, check_lists, check_name, check_options, keywords_of

from .settings import SOURCE, without_nulls

NAMES = ("valentini", "custom")
SPEAKERS = (28, 56)
VALIDATIONS = ("speakers", "clips", "test")
FOLDERS = ("noisy_train_files_path", "clean_train_files_path", "noisy_test_files_path", "clean_test_files_path")
_PARTS = ("num_training_samples", "num_validation_samples", "num_test_samples")
_FIELD = f"{SOURCE}.dataset"


@dataclass(frozen=True)
class Corpus:
    """The section ``dataset``.

    Args:
        name: ``valentini`` (VoiceBank-DEMAND as it unpacks) or ``custom`` (four folders).
        root_folder, n_speakers: of ``valentini``: where it lies, and which training set, 28 or 56.
        file_extension: with its dot; ``.wav`` for ``valentini``.
        num_training_samples, num_validation_samples, num_test_samples: how many (int) or which part (float) of each set; None: all, and
            100 clips, or a tenth of the training set, for validation by clips.
        shuffle: training in a new order each epoch.
        random_seed: of all drawing; the experiment's seed by default.
        clean_train_files_path, noisy_train_files_path, clean_test_files_path, noisy_test_files_path: of ``custom``.
        validation: cut from the training set by ``speakers`` or by ``clips``, or drawn from the ``test`` set; by default by speakers where
            the names of the recordings tell them.
        validation_speakers: who is held out.
    """

    name: str
    root_folder: str | None = None
    n_speakers: int | None = None
    file_extension: str | None = None
    num_training_samples: int | float | None = None
    num_validation_samples: int | float | None = None
    num_test_samples: int | float | None = None
    shuffle: bool = True
    random_seed: int | None = None
    clean_train_files_path: str | None = None
    clean_test_files_path: str | None = None
    noisy_train_files_path: str | None = None
    noisy_test_files_path: str | None = None
    validation: str | None = None
    validation_speakers: Sequence[str] | None = None

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> Corpus:
        """From the config.

        Raises:
            ConfigError, UnknownNameError: fields that do not exist or are impossible.
        """
        given = without_nulls(section)
        check_fields(given, keywords_of(cls), ("name",), source=_FIELD)
        check_lists(given, ["validation_speakers"], source=_FIELD)
        check_options(cls, given, source=_FIELD)
        check_name(f"{_FIELD}.name", given["name"], NAMES)
        if "validation" in given:
            check_name(f"{_FIELD}.validation", given["validation"], VALIDATIONS)
        faults = [f"{name} must be {_WHAT}, not {given[name]!r}" for name in _PARTS if name in given and not _is_part(given[name])]
        faults += [
            f"{name} is not set"
            for name in (("root_folder", "n_speakers") if given["name"] == "valentini" else FOLDERS)
            if name not in given
        ]
        faults += _shared_folders(given) if given["name"] == "custom" else []
        if given["name"] == "valentini" and given.get("n_speakers", 28) not in SPEAKERS:
            faults.append(f"n_speakers must be 28 or 56, not {given['n_speakers']!r}")
        if faults:
            raise ConfigError(faults, _FIELD)
        return cls(**given)

    def folders(self, part: str) -> tuple[Path, Path]:
        """(noisy, clean) of ``train`` or ``test``."""
        if self.name == "custom":
            return Path(getattr(self, f"noisy_{part}_files_path")), Path(getattr(self, f"clean_{part}_files_path"))
        which = f"trainset_{self.n_speakers}spk" if part == "train" else "testset"
        return Path(self.root_folder, f"noisy_{which}_wav"), Path(self.root_folder, f"clean_{which}_wav")

    def pairs(self, part: str) -> list[PairedFiles]:
        """All recordings of ``train`` or ``test``, sorted by name."""
        return pair_folders(*self.folders(part), ".wav" if self.name == "valentini" else self.file_extension)

    def read(self, split: str, seed: int) -> list[PairedFiles]:
        """The recordings of ``train``, ``dev`` or ``test``.

        Args:
            split: its name.
            seed: of the drawing where the config has none.

        Raises:
            DataError: folders are missing or do not pair, or have fewer recordings than are wanted.
        """
        seed = seed if self.random_seed is None else self.random_seed
        if split == "test" or (split == "dev" and self.validation == "test"):
            field = "num_test_samples" if split == "test" else "num_validation_samples"
            return splits.draw(self.pairs("test"), getattr(self, field), seed, f"{_FIELD}.{field}")
        training = self.pairs("train")
        if self.validation != "test":
            training, validation = self._cut(training, seed)
            if split == "dev":
                return validation
        return splits.draw(training, self.num_training_samples, seed, f"{_FIELD}.num_training_samples")

    def _cut(self, pairs: Sequence[PairedFiles], seed: int) -> tuple[list[PairedFiles], list[PairedFiles]]:
        by_speakers = self.validation == "speakers" or self.validation_speakers or (not self.validation and splits.speakers_of(pairs))
        wanted = self.num_validation_samples
        if by_speakers and wanted != 0:
            return splits.cut_speakers(pairs, wanted, seed, self.validation_speakers)
        return splits.cut_clips(
            pairs, splits.default_validation(pairs) if wanted is None else wanted, seed, f"{_FIELD}.num_validation_samples"
        )


_WHAT = "a whole number of recordings or a part between 0 and 1"


def _shared_folders(section: Mapping[str, Any]) -> list[str]:
    """What of the test lies where the training does, which the zoo's documents forbid."""
    names = ((f"{side}_train_files_path", f"{side}_test_files_path") for side in ("noisy", "clean"))
    both = [each for each in names if all(name in section for name in each)]
    same = [each for each in both if len({Path(section[name]).resolve() for name in each}) == 1]
    return [f"{test} is the folder of {train}: training and test need folders of their own" for train, test in same]


def _is_part(value: Any) -> bool:
    return value >= 0 if isinstance(value, int) else 0 < value <= 1
