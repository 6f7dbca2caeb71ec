"""The files of a generation, the least likely sequence first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from utility.audio.io import save_audio
from utility.errors import ConfigError, FolderInUseError
from utility.experiment.arrays import write_array
from utility.experiment.texts import write_text

from ..quantise import Quantiser
from .options import SOURCE

LOCK = ".generating"


@dataclass(frozen=True)
class Naming:
    """What files are called.

    Args:
        corpus, model: the ``_name_`` of each.
        seconds: of a sequence.
        conditional: the sequences go on from examples.
    """

    corpus: str
    model: str
    seconds: float
    conditional: bool = False

    @property
    def stem(self) -> str:
        """The names without number."""
        kind = "conditional" if self.conditional else "unconditional"
        return f"{kind}_{self.corpus}_{self.model}_len_{self.seconds:.2f}s"


@contextmanager
def output_folder(save_dir: str | None, results: str | Path) -> Iterator[Path]:
    """Where a generation goes, ``save_dir`` or ``samples/`` of the results. Made and tried at once; of this process alone within the block.

    Raises:
        ConfigError: no file can be written there.
        FolderInUseError: another process generates into it.
    """
    folder = Path(save_dir) if save_dir else Path(results) / "samples"
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise FolderInUseError(f"another process generates into {folder}; wait for it, or choose another generate.save_dir") from error
    except OSError as error:
        raise ConfigError(f"save_dir: no file can be written in {folder}: {error.strerror}", SOURCE) from error
    try:
        yield folder
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)  # while it is held
        lock.release()


def write(folder: Path, naming: Naming, found: dict[str, np.ndarray], quantiser: Quantiser, sample_rate: int) -> list[Path]:
    """Writes ``<stem>_gen_<i>.wav`` (32-bit floats), i from 1, the least likely first, and beside them, in the order of the files,
    ``<stem>_logprobs.npy`` (natural log likelihoods, float64) and ``<stem>_streams.json`` (which stream each file is).

    Args:
        folder: where to; it exists.
        naming: the names.
        found: ``codes`` (N, L), ``logprobs`` (N,), ``example`` and ``replica`` (N,), and perhaps ``entropy`` (N,).
        quantiser: codes to waveforms.
        sample_rate: in Hz.

    Returns:
        the recordings.
    """
    order = np.argsort(found["logprobs"], kind="stable")
    paths, rows = [], []
    for number, stream in enumerate(order.tolist(), 1):
        path = folder / f"{naming.stem}_gen_{number}.wav"
        wav = quantiser.decode(torch.from_numpy(found["codes"][stream].astype(np.int64)))
        save_audio(path, wav.numpy(), sample_rate, subtype="FLOAT")
        paths.append(path)
        rows.append({"file": path.name, "stream": stream, **_row(found, stream)})
    write_array(folder / f"{naming.stem}_logprobs.npy", found["logprobs"][order])
    write_text(folder / f"{naming.stem}_streams.json", json.dumps(rows, indent=1))
    remove_others(folder, naming, paths)
    return paths


def remove_others(folder: Path, naming: Naming, paths: list[Path]) -> None:
    """Removes what an earlier generation of more recordings left behind under the same names."""
    for stale in set(folder.glob(f"{naming.stem}_gen_*.wav")) - set(paths):
        stale.unlink()


def _row(found: dict[str, np.ndarray], stream: int) -> dict[str, Any]:
    return {name: values[stream].item() for name, values in found.items() if name != "codes"}
