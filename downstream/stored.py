"""The upstream of a run behind its feature store: which states are kept, and how those that are not there are computed.

With a store every utterance goes through the upstream alone, in the type in which it is stored, whether its states are there already or
not. The features of a run are then a function of the waveforms and of the settings, not of what the store happens to hold: a resumed run
ends equal bit by bit, and no result depends on a batch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from upstream import registry
from upstream.featurizer import Featurizer, undisturbed
from utility.errors import DataError, ToolkitError, UsageError
from utility.experiment.experiment import Experiment
from utility.training.feature_store import Entry, Shelf, batch_of, fingerprint, repeats, samples_digest
from utility.training.feature_store.entry import STORED_TYPES
from utility.training.feature_store.shelf import make_folder
from utility.training.loading import Place
from utility.training.seeding import Stream, seed_everything

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """How the states are computed and kept.

    Args:
        folder: of the store.
        limit: bytes.
        name: of the upstream.
        dtype: ``"fp32"`` or ``"fp16"``.
        amp: type of the autocast, or None.
        device: as of :class:`downstream.pipeline.Pipeline`.
    """

    folder: Path
    limit: float
    name: str
    dtype: str
    amp: torch.dtype | None
    device: str

    def of_states(self) -> dict[str, Any]:
        """What the values depend on beside the upstream itself; threads decide how a CPU sums."""
        kind = self.device.partition(":")[0]
        where = torch.cuda.get_device_name(self.device) if kind == "cuda" else f"{torch.get_num_threads()} threads" if kind == "cpu" else ""
        return {"padding": "none", "dtype": self.dtype, "amp": str(self.amp), "device": [kind, where]}


class StoredUpstream:
    """Gives the states of batches, from the store where they are there.

    Args:
        upstream: frozen, on its device.
        settings: of the computation and of the store.
    """

    def __init__(self, upstream: nn.Module, settings: Settings):
        self.upstream, self.settings = upstream, settings
        self._shelf: Shelf | None = None
        self._repeats: dict[str, bool] = {}
        self._epoch, self._first_epoch = 0, -1
        self._seen: set[str] = set()

    def look_at(self, place: Place, get_loader: Callable[[int], Iterable]) -> None:
        """To be told of each pass over a training split; finds out, once, whether its waveforms are the same in every epoch.

        Those of a split that changes are not stored. Of one that does not, what first comes after this process's first epoch is stored
        when it comes again: among whole utterances there may be a few random ones.
        """
        self._epoch = place.epoch
        if place.split in self._repeats:
            return
        with undisturbed():
            self._repeats[place.split] = repeats(get_loader, place)
        if not self._repeats[place.split]:
            log.warning(
                "the waveforms of %r are not the same in every epoch (crops, augmentation, a stream), so their states are not stored",
                place.split,
            )

    def states(self, wavs: list[Tensor], featurizer: Featurizer, training: bool) -> dict[str, Any]:
        """What the upstream gives for a batch, each item computed alone: as much of it as the featurizer reads.

        Args:
            wavs: 1-D float32, on the CPU.
            featurizer: says which key and layer it selects.
            training: whether the batch is one of training.
        """
        if not wavs:
            return self.upstream(wavs)  # which says what it makes of that
        selection = featurizer.feature_selection
        if training and self._first_epoch < 0:
            self._first_epoch = self._epoch
        entries = [self._entry(index, wav, training) for index, wav in enumerate(wavs)]
        if any(selection not in entry.keys for entry in entries):
            raise ToolkitError(
                f"the feature store cannot keep {selection!r} of upstream {self.settings.name}, which is no (batch, frames, width) tensor "
                "nor a list of such; run without --feature_store"
            )
        return batch_of(entries, (selection, "lengths"), self.settings.device, only=(selection, featurizer.layer_selection))

    def _entry(self, index: int, wav: Tensor, training: bool) -> Entry:
        if training and not all(self._repeats.values()):
            return self._computed(index, wav)
        digest = samples_digest(wav)
        stays = not training or self._epoch == self._first_epoch or digest in self._seen
        if training:
            self._seen.add(digest)
        entry = self.shelf.find(digest)
        if entry is None:
            entry = self._computed(index, wav)
            if stays:
                self.shelf.put(digest, entry)
        return entry

    @property
    def shelf(self) -> Shelf:
        """Opened at the first use, when the weights are those of the run."""
        if self._shelf is None:
            how, name = self.settings.of_states(), self.settings.name
            key = fingerprint(self.upstream, registry.code_of(name), how)
            self._shelf = Shelf(self.settings.folder, key, self.settings.limit, {"upstream": name, **how})
        return self._shelf

    def _computed(self, index: int, wav: Tensor) -> Entry:
        """The states of one waveform, a function of it alone: an upstream that draws random numbers draws the same each time."""
        kind = self.settings.device.partition(":")[0]
        amp = torch.autocast(kind, dtype=self.settings.amp) if self.settings.amp else nullcontext()
        with undisturbed(self.upstream), torch.no_grad(), amp:
            seed_everything(0, Stream.EVALUATION, 0, len(wav))
            try:
                result = self.upstream([wav.to(self.settings.device)])
            except DataError as error:
                if getattr(error, "index", None) is None:
                    raise
                raise type(error)(index, error.fault) from error
        return Entry.of(result, STORED_TYPES[self.settings.dtype])


def wanted(experiment: Experiment) -> str | None:
    """The folder that the command line or the config names; an answer for a user's recording is none of its business."""
    return None if experiment.mode == "inference" else experiment.args.get("feature_store") or experiment.runner.feature_store


def check(experiment: Experiment) -> None:
    """Refuses, before anything is built, a store for an upstream that is trained, or where none can be made.

    Raises:
        UsageError: one of both.
    """
    folder = wanted(experiment)
    if folder is None:
        return
    if experiment.args["upstream_trainable"]:
        raise UsageError(f"--feature_store {folder} keeps the states of a frozen upstream and cannot be used with -f, which trains it")
    make_folder(Path(folder).expanduser())


def open_store(experiment: Experiment, upstream: nn.Module, device: str, amp: torch.dtype | None) -> StoredUpstream | None:
    """The store that the experiment asks for; None without one, and where it would not be worth it."""
    folder, name, runner = wanted(experiment), experiment.args["upstream"], experiment.runner
    if folder is None:
        return None
    if getattr(upstream, "stateless", False):
        log.warning("upstream %s computes its features faster than a disk gives them back: the feature store is left off", name)
        return None
    settings = Settings(Path(folder).expanduser(), runner.feature_store_gb * 1e9, name, runner.feature_store_dtype, amp, device)
    if not getattr(upstream, "batch_independent", False):
        log.warning("with a feature store upstream %s computes each utterance alone, where a padded batch may change its features", name)
    return StoredUpstream(upstream, settings)
