"""Mean-pooled embeddings of the recordings of a csv file, by an upstream or out of a datastore."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from utility.audio.io import audio_info
from utility.errors import DataError, UsageError
from utility.experiment.texts import write_text

from ..audio import HEARD, SAMPLE_RATE, load
from ..datastore import read_datastore, write_datastore
from ..neighbours import Datastore
from ..table import Rating, read_tables, samples_of
from .commands import ENTRY, StageError

PROGRAM = ENTRY.parent / "utility/extract_features.py"


@dataclass(frozen=True)
class Source:
    """What makes the embeddings of a csv file.

    Args:
        upstream: its name, or "" where only datastores are read.
        layer: of its hidden states; -1 is the last one.
        ckpt: of the upstream, or "".
        device: "" for what is there.
    """

    upstream: str = ""
    layer: int = -1
    ckpt: str = ""
    device: str = ""

    def words(self) -> list[str]:
        """The command line that extracts, but for files and folder."""
        more = [*(["--ckpt", self.ckpt] if self.ckpt else []), *(["--device", self.device] if self.device else [])]
        return [sys.executable, str(PROGRAM), self.upstream, "--layer", str(self.layer), *more]


def add_source(parser: argparse.ArgumentParser) -> None:
    """The options that say how embeddings of recordings are made."""
    parser.add_argument("-u", "--upstream", "--s3prl_name", default="", help="makes the embeddings of a csv file's recordings")
    parser.add_argument("-k", "--ckpt", default="", help="checkpoint of the upstream")
    parser.add_argument("--layer", "--ssl_model_layer_idx", type=int, default=-1, help="of its hidden states (default: -1, the last)")
    parser.add_argument("--device", default="", help="cpu, cuda, cuda:N or mps (default: what is there)")


def source_of(args: argparse.Namespace) -> Source:
    """What :func:`add_source`'s options say."""
    return Source(args.upstream, args.layer, args.ckpt, args.device)


def cache_file(path: Path) -> Path:
    """A path that a datastore can have.

    Raises:
        UsageError: another ending.
    """
    if path.suffix not in (".h5", ".npz"):
        raise UsageError(f"--embed_path must end in .npz, or in .h5, for which h5py is needed: {path}")
    return path


def embeddings_of(path: Path, source: Source, cache: Path | None = None) -> Datastore:
    """The embeddings of each sample, by the name of a datastore's entry, in the order of these names.

    Args:
        path: a datastore (``.h5``, ``.npz``), as it is; or a csv file, each of whose samples counts once.
        source: what makes those of a csv file.
        cache: file to keep those of a csv file in, as a datastore; one that is there is read if it is of this upstream and these samples.

    Raises:
        UsageError: a csv file without an upstream.
        DataError: the file, a recording or the cache cannot be used, or the cache is of something else.
        StageError: the upstream's program ended with an error, which it has told itself.
    """
    if path.suffix in (".h5", ".npz"):
        return read_datastore(path)
    samples = sorted(samples_of(read_tables([path])), key=_name)
    names, truth = [_name(sample) for sample in samples], np.array([sample.mean for sample in samples])
    settings = {"upstream": source.upstream, "layer": source.layer, "ckpt": source.ckpt}
    if cache is not None and cache.exists():
        store = read_datastore(cache)
        _check_cache(cache, store, names, settings if source.upstream else None)
        return store
    if not source.upstream:
        raise UsageError(f"{path} holds recordings: -u UPSTREAM makes their embeddings (a datastore, .h5 or .npz, has them)")
    store = Datastore(names, extracted([Path(sample.wav_path) for sample in samples], source), truth)
    if cache is not None:
        write_datastore(cache, store)
        write_text(_described(cache), json.dumps(settings) + "\n")
    return store


def extracted(wavs: Sequence[Path], source: Source) -> np.ndarray:
    """(N, D) float32: means over the frames of what predictors hear of each recording, its first ten seconds.

    Raises:
        DataError: a recording cannot be used.
        StageError: the upstream's program ended with an error.
    """
    found: dict[int, np.ndarray] = {}
    with tempfile.TemporaryDirectory(prefix="embeddings-") as place:
        heard, features = Path(place, "heard"), Path(place, "features")
        heard.mkdir()
        for number, wav in enumerate(tqdm(wavs, desc="recordings", unit="file", disable=None)):
            _offer(wav, heard / f"{number:08d}")
        line = [*source.words(), "--files", str(heard), "--output_dir", str(features)]
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as process:
            for name in process.stdout:  # as soon as it is there, so that the frames of one recording at a time are on the disk
                target = Path(name.rstrip("\n"))
                found[int(target.stem)] = _pooled(target)
                target.unlink()
    if process.returncode:
        missing = [str(wav) for number, wav in enumerate(wavs) if number not in found]
        of = (
            f"; without embeddings are {len(missing)} of {len(wavs)} recordings, the first of them {missing[0]}"
            if found and missing
            else ""
        )
        raise StageError(f"{PROGRAM.name} ended with status {process.returncode}{of}")
    return np.stack([found[number] for number in range(len(wavs))])


def _offer(wav: Path, stem: Path) -> None:
    """A link to a recording, or what predictors hear of it where that is not the whole of it, or at another rate."""
    info = audio_info(wav)
    if info.sample_rate == SAMPLE_RATE and info.seconds <= HEARD:
        stem.with_suffix(wav.suffix.lower() or ".wav").symlink_to(wav.resolve())
    else:
        soundfile.write(stem.with_suffix(".wav"), load(wav, HEARD), SAMPLE_RATE, subtype="FLOAT")


def _pooled(path: Path) -> np.ndarray:
    """(T, D) of a file -> (D,)."""
    import torch

    (frames,) = torch.load(path, weights_only=True)
    return frames.float().mean(0).numpy()


def _check_cache(cache: Path, store: Datastore, names: list[str], settings: dict[str, object] | None) -> None:
    if store.names != names:
        raise DataError(f"{cache} holds the embeddings of other samples; name another --embed_path or remove it")
    if settings is not None and _settings_of(cache) != settings:
        raise DataError(
            f"{_described(cache)} does not say that {cache.name} is of this upstream, layer and checkpoint; "
            "name another --embed_path or remove it"
        )


def _settings_of(cache: Path) -> object:
    """What made the embeddings of a file; None if nothing says it."""
    try:
        return json.loads(_described(cache).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _described(cache: Path) -> Path:
    return cache.with_name(f"{cache.name}.json")


def _name(sample: Rating) -> str:
    return f"{sample.system}_{sample.sample}"
