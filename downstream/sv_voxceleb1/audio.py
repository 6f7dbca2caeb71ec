"""Recordings as the task hears them, and which of them are long enough to train on (spec: downstream-speaker.md 4.1).

A training recording must have more than ``vad_config.min_sec`` samples left once its silences are cut out. Finding out is the slow part
of a first start, so it is done by all cores, mostly from the beginning of a file alone, and noted file by file in the experiment folder.
A file that has changed is looked at again, and all files when the effects or the limit have.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from downstream.blocks.voxceleb import Recording
from utility.audio.effects import apply_effects
from utility.audio.io import audio_info, load_audio
from utility.training.pools import cancelling
from utility.training.signals import held_back, leave_to_the_main_process

SAMPLE_RATE = 16000
EFFECTS = (("channels", "1"), ("rate", str(SAMPLE_RATE)), ("gain", "-3.0"), ("silence", "1", "0.1", "0.1%", "-1", "0.1", "0.1%"))
CACHE = "voxceleb1_lengths.jsonl"
_PENDING = SAMPLE_RATE // 10  # a silence at the end of a piece is kept, but may be cut out of the whole
_SLACK = SAMPLE_RATE // 10
_CHUNK, _WORTH_PROCESSES = 64, 1000


def read(path: str | Path) -> np.ndarray:
    """(n,) float32 at 16 kHz, 3 dB quieter than the file, without silences of 0.1 s and more; n may be 0.

    Raises:
        DataError: the file cannot be read.
    """
    return apply_effects(load_audio(path, SAMPLE_RATE), SAMPLE_RATE, EFFECTS)[0]


def is_longer(path: str | Path, least: int) -> bool:
    """Whether :func:`read` gives more than ``least`` samples.

    The effects only ever take samples away, from the beginning to the end of a file: one that is too short as it is need not be read, and
    of most others the beginning is enough.
    """
    info = audio_info(path)
    if round(info.frames * SAMPLE_RATE / info.sample_rate) <= least:
        return False
    if info.sample_rate == SAMPLE_RATE:
        beginning = load_audio(path, SAMPLE_RATE, 0, least + _PENDING + _SLACK)
        if len(apply_effects(beginning, SAMPLE_RATE, EFFECTS)[0]) > least + _PENDING:
            return True
    return len(read(path)) > least


def long_enough(folder: Path, recordings: Sequence[Recording], least: int, cache: Path) -> list[Recording]:
    """Those recordings of which more than ``least`` samples remain.

    Args:
        folder: what their paths are below of.
        recordings: as they are now.
        least: samples at 16 kHz.
        cache: the file that remembers the answers; made where missing, completed where it is not up to date.

    Raises:
        DataError: a file cannot be read.
    """
    head = json.dumps({"effects": EFFECTS, "least": least, "folder": str(folder.resolve())})
    known = _remembered(cache, head)
    unknown = [recording for recording in recordings if recording not in known]
    if unknown:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with cache.open("a", encoding="utf-8") as file:
            for recording, answer in _asked(folder, unknown, least):
                known[recording] = answer
                file.write(json.dumps([*recording, answer]) + "\n")
    return [recording for recording in recordings if known[recording]]


def _remembered(cache: Path, head: str) -> dict[Recording, bool]:
    """The answers of a cache with this head, up to a line that was cut off; what is no such cache is begun anew."""
    lines = cache.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) if cache.is_file() else []
    known, whole = {}, [line for line in lines if line.endswith("\n")]
    try:
        if not whole or whole[0] != f"{head}\n":
            raise ValueError(head)
        for line in whole[1:]:
            *recording, answer = json.loads(line)
            known[Recording(*recording)] = bool(answer)
    except (ValueError, TypeError):
        known, whole = {}, [f"{head}\n"]
    if whole != lines:
        cache.parent.mkdir(parents=True, exist_ok=True)
        cache.write_text("".join(whole), encoding="utf-8")
    return known


def _asked(folder: Path, recordings: list[Recording], least: int) -> Iterator[tuple[Recording, bool]]:
    """Looks at the files, with a progress bar."""
    paths = [f"{folder}/{recording.path}" for recording in recordings]
    with tqdm(total=len(paths), desc="lengths without silences", unit="file", dynamic_ncols=True, leave=False) as bar:
        for pair in zip(recordings, _answers(paths, least), strict=True):
            bar.update()
            yield pair


def _answers(paths: list[str], least: int) -> Iterator[bool]:
    from utility.training.loading import usable_cores  # here, so that the processes need not import torch

    workers = usable_cores()
    if workers == 1 or len(paths) < _WORTH_PROCESSES:
        yield from map(is_longer, paths, repeat(least))
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=leave_to_the_main_process)
    with pool, cancelling(pool):
        with held_back():
            answers = pool.map(is_longer, paths, repeat(least), chunksize=_CHUNK)
        yield from answers
