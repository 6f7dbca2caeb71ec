"""What a loader worker hands to the main process: the waveforms as one block of memory, or what the upstream has made of them already.

Arrays of numpy would otherwise be copied through a pipe, and each tensor would need a shared file of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from utility.errors import DataError, ToolkitError

Extract = Callable[[list[Tensor]], dict[str, Any]]


class Extracted(tuple):
    """A batch ``(lengths as ranges, *others)`` whose waveforms stayed in the worker.

    Attributes:
        states: what the upstream made of them.
    """

    states: dict[str, Any]


@dataclass
class Packed:
    """A batch ``(wavs, *others)`` on its way from a worker.

    Args:
        flat: all samples, float32, one waveform behind the other; None if they stay behind.
        lengths: samples of each waveform.
        others: the rest of the batch.
        kind: type of the batch, ``list`` or ``tuple``.
        states: what the upstream made of the waveforms, if it worked in the worker.
    """

    flat: Tensor | None
    lengths: list[int]
    others: tuple
    kind: type
    states: dict[str, Any] | None = None

    def unpack(self) -> list | tuple:
        """The batch, its waveforms as views of the block; an :class:`Extracted` if they have been worked on."""
        if self.states is None:
            return self.kind([list(self.flat.split(self.lengths)), *self.others])
        batch = Extracted(([range(n) for n in self.lengths], *self.others))
        batch.states = self.states
        return batch

    def pin_memory(self) -> Packed:
        """What the loader calls when it pins batches."""
        return self if self.flat is None else Packed(self.flat.pin_memory(), self.lengths, self.others, self.kind)


@dataclass
class Failure:
    """A user's error in a loader worker, on its way to the main process, which raises it as the sentence that it is."""

    sentence: str


@dataclass
class Packing:
    """The task's collate function, and packing where the batch allows it.

    Args:
        collate: the task's.
        extract: the upstream, if it is to work in the worker.
    """

    collate: Callable[[list], Any]
    extract: Extract | None = None

    def __call__(self, items: Any) -> Any:
        failures = [item for item in (items if isinstance(items, list) else [items]) if isinstance(item, Failure)]
        if failures:
            return failures[0]
        try:
            return _ready_to_send(self.pack(self.collate(items)))
        except ToolkitError as error:
            return Failure(str(error))

    def pack(self, batch: Any) -> Any:
        """The batch with its waveforms in one block or worked on; or as it is, if it has another form."""
        if type(batch) not in (list, tuple) or not batch or not _are_waveforms(batch[0]):
            return batch
        wavs = [as_waveform(wav) for wav in batch[0]]
        lengths, others = [len(wav) for wav in wavs], tuple(batch[1:])
        if self.extract is None:
            return Packed(torch.cat(wavs), lengths, others, type(batch))
        with naming(others):
            return Packed(None, lengths, others, type(batch), self.extract(wavs))


@dataclass
class Unpacked:
    """A loader whose packed batches come out as the task made them."""

    loader: Iterable

    def __iter__(self) -> Iterator:
        for batch in self.loader:
            if isinstance(batch, Failure):
                raise DataError(batch.sentence)
            yield batch.unpack() if isinstance(batch, Packed) else batch


@contextmanager
def naming(others: Sequence[Any]) -> Iterator[None]:
    """An error about one waveform of a batch names the recording, if the batch has a list of names.

    Args:
        others: what the batch holds beside the waveforms.
    """
    try:
        yield
    except DataError as error:
        index = getattr(error, "index", None)
        lists = [other for other in others if isinstance(other, (list, tuple)) and all(isinstance(name, str) for name in other)]
        named = [names[index] for names in lists if index is not None and index < len(names)]
        if not named:
            raise
        raise DataError(f"{named[0]}: {error.fault}") from error


def as_waveform(wav: Any) -> Tensor:
    """The samples as float32.

    Raises:
        DataError: whole numbers, whose full scale is not known here, or no numbers at all.
    """
    try:
        wav = torch.as_tensor(np.asarray(wav) if isinstance(wav, list) else wav)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"a waveform of the task is a {type(wav).__name__}; batches are (wavs, *others), wavs a list of samples") from error
    if not wav.is_floating_point() and wav.numel():
        kind = str(wav.dtype).removeprefix("torch.")
        raise DataError(f"a waveform of the task is {kind}; floating point in [-1, 1] is expected (int16: divide by 32768)")
    return wav.float()


def _ready_to_send(batch: Any) -> Any:
    """The batch, its tensors in shared memory already.

    Otherwise they are moved there by the thread that sends batches; what fails in it is lost, and the main process waits for ever.

    Raises:
        DataError: there is no room.
    """
    try:
        for tensor in _tensors(batch):
            tensor.share_memory_()
    except RuntimeError as error:
        told = str(error).strip().partition("\n")[0][:200]
        raise DataError(
            "shared memory (/dev/shm) has no room for the batches of the loader workers: give it more (docker run --shm-size=8g), or lower "
            f"the task's num_workers or batch size; torch says: {told}"
        ) from error
    return batch


def _tensors(value: Any) -> Iterator[Tensor]:
    """Those in a batch, however nested."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Packed):
        yield from _tensors([value.flat, value.others, value.states])
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for member in value:
            yield from _tensors(member)


def _are_waveforms(wavs: Any) -> bool:
    return isinstance(wavs, (list, tuple)) and len(wavs) > 0 and all(isinstance(w, (Tensor, np.ndarray)) and w.ndim == 1 for w in wavs)
