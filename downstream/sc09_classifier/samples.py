"""``-t samples``: FID, IS, mIS, AM and NDB of a folder of generated recordings, or of the corpus itself."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from downstream.blocks.sc09 import class_files
from downstream.interfaces import Score
from utility.audio.io import wavs_in
from utility.errors import ConfigError, DataError
from utility.experiment.arrays import write_array
from utility.metrics.generation import BINS, HIGHER_IS_BETTER, UNITS, Outputs, measure, tune_thresholds
from utility.training.fields import Count, made_of

from .outputs import Cache

log = logging.getLogger(__name__)

PROBABILITIES = "resnext-probs.npy"  # what prepare_sc09.py of the listening tests reads, with the folder's name before it
_NAME = re.compile(r"[\w-][\w.-]*")
_NUMBER = re.compile(r"\d+$")  # of a generated recording
_CLASS_FOLDERS = ("train", "test")

Classify = Callable[[Sequence[Path], str], Outputs]


@dataclass(frozen=True)
class SampleOptions:
    """The section ``samples``.

    Args:
        dir: the folder of generated recordings, in the natural order of their names; None: the corpus is measured against itself. A folder
            called ``train`` or ``test`` has one folder for each digit.
        name: what the scores and probabilities are called; None: the last part of ``dir``.
        threshold: the recordings are sorted by likelihood, the lowest first: choose on one half which part to keep, measure on the other.
        save_probs: write ``<name>-resnext-probs.npy`` into the cache.
        cache_dir: where outputs are kept; ``cache`` in the experiment's folder by default.
        batch_size: of the classification.
    """

    dir: str | None = None
    name: str | None = None
    threshold: bool = False
    save_probs: bool = False
    cache_dir: str | None = None
    batch_size: Count = 128

    @classmethod
    def of(cls, section: Mapping[str, Any] | None, source: str) -> SampleOptions:
        """From the config.

        Raises:
            ConfigError: fields that do not exist or are impossible.
        """
        options = made_of(cls, section or {}, source=source)
        if options.dir is None and (options.threshold or options.save_probs or options.name):
            raise ConfigError("name, threshold and save_probs go with a dir", source)
        if options.name is not None and not _NAME.fullmatch(options.name):
            raise ConfigError(f"name is part of a file's name, letters, digits, dots and dashes, not {options.name!r}", source)
        return options

    @property
    def title(self) -> str:
        """What scores and probabilities are called; empty without a folder."""
        return self.name or (Path(self.dir).absolute().name if self.dir is not None else "")


class SampleMetrics:
    """The work of one call.

    Args:
        options: what to do.
        cache: of the corpus's outputs.
        corpus: gives the recordings of ``"train"`` or ``"test"``; DataError or ConfigError where they are not there.
        classify: recordings -> outputs.
        digest: recordings, or None -> what an entry of the cache is known by.
    """

    def __init__(
        self,
        options: SampleOptions,
        cache: Cache,
        corpus: Callable[[str], Sequence[Path]],
        classify: Classify,
        digest: Callable[[Sequence[Path] | None], str],
    ):
        self.options, self.cache, self.corpus, self.classify, self.digest = options, cache, corpus, classify, digest

    def run(self) -> dict[str, Score]:
        """All scores; progress and what was chosen go to stderr."""
        training = self.reference("train")
        bins = self.cache.bins(training.activations) if len(training) >= BINS else None
        if self.options.dir is None:
            measured = {split: measure(training, self.reference(split), bins) for split in ("train", "test")}
            return scores_of({f"{split}_{name}": value for split, found in measured.items() for name, value in found.items()})
        samples = self.samples()
        if not self.options.threshold:
            return scores_of(measure(training, samples, bins))
        tuned = tune_thresholds(samples, len(self.reference("test")))
        found: dict[str, float] = {}
        for name, row in (("tuned", tuned.best), ("released", tuned.released)):
            lower, upper, _ = tuned.grid[row]
            kept = tuned.kept(row)
            print(f"{name}: {len(kept)} of {len(tuned.held_out)} samples, from {lower:.2f} to {upper:.2f}", file=sys.stderr)
            found |= {f"{name}_{key}": value for key, value in measure(training, samples[kept], bins).items()}
            found |= {f"{name}_lower": lower, f"{name}_upper": upper}
        return scores_of(found)

    def reference(self, split: str) -> Outputs:
        """Outputs for the training or the test set, out of the cache where they are there and fit.

        Raises:
            ConfigError, DataError: neither the corpus nor a cache is there.
        """
        try:
            files = self.corpus(split)
        except (ConfigError, DataError):
            if (kept := self.cache.get(split, self.digest(None))) is None:
                raise
            return kept
        digest = self.digest(files)
        kept = self.cache.get(split, digest)
        if kept is None:
            self.cache.open()  # what is in its way is said before the work
            kept = self.classify(files, split)
            self.cache.put(split, kept, digest)
        return kept

    def samples(self) -> Outputs:
        """Outputs for the recordings of the folder, in their order.

        Raises:
            DataError: no such folder, or nothing in it.
        """
        folder = Path(self.options.dir)
        files = sample_files(folder)
        series = sorted({_NUMBER.sub("", path.stem) for path in files})
        if self.options.threshold and len(series) > 1:
            what = ", ".join(f"{name}*" for name in series[:3])
            log.warning(
                "%s holds %d series of recordings (%s): their order is not one of likelihood, by which is chosen", folder, len(series), what
            )
        outputs = self.classify(files, folder.name)
        if self.options.save_probs:
            path = write_array(self.cache.folder / f"{self.options.title}-{PROBABILITIES}", outputs.probabilities)
            log.warning("the probabilities of %d recordings are in %s", len(files), path)
        return outputs


def sample_files(folder: Path) -> list[Path]:
    """The recordings of a folder in natural order; of one called ``train`` or ``test``, those of its class folders.

    Raises:
        DataError: no such folder, or nothing in it.
    """
    if not folder.is_dir():
        raise DataError(f"config.downstream_expert.samples.dir: there is no folder {folder}")
    files = class_files(folder) if folder.absolute().name in _CLASS_FOLDERS else wavs_in(folder)
    if not files:
        raise DataError(f"config.downstream_expert.samples.dir: {folder} holds no wav files")
    return files


def scores_of(values: Mapping[str, float]) -> dict[str, Score]:
    """Scores with their direction and unit; what stands before the metric's name does not matter."""
    found = {}
    for name, value in values.items():
        metric = next((known for known in sorted(UNITS, key=len, reverse=True) if name == known or name.endswith(f"_{known}")), None)
        unit = UNITS[metric] if metric else "fraction of the samples"
        found[name] = Score(float(value), HIGHER_IS_BETTER.get(metric, False), unit)
    return found
