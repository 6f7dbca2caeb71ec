"""Copies of recordings at the wanted rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from utility.audio.io import audio_info, load_audio, save_audio


def resampled(pairs: Sequence[tuple[str, str]], sample_rate: int, jobs: int = 1) -> list[str]:
    """For each recording the path to use: itself at the wanted rate already, or its copy.

    Args:
        pairs: recording, and where its copy goes; a copy that is there is not made again.
        sample_rate: wanted rate in Hz.
        jobs: threads.

    Returns:
        a path for each pair. Copies are mono, 16 bit.

    Raises:
        DataError: a recording is missing or cannot be read.
    """
    distinct = list(dict.fromkeys(pairs))
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        done = pool.map(lambda pair: _copied(*pair, sample_rate), distinct)
        found = dict(zip(distinct, tqdm(done, desc="resampling", total=len(distinct), unit="file", disable=None), strict=True))
    return [found[pair] for pair in pairs]


def _copied(source: str, target: str, sample_rate: int) -> str:
    info = audio_info(source)
    if info.sample_rate == sample_rate:
        return source
    path = Path(target)
    if not path.exists():
        wav = load_audio(source, sample_rate)
        lacking = math.ceil(info.frames * sample_rate / info.sample_rate) - len(wav)  # librosa's lengths, which SHEET's copies have
        save_audio(path, np.pad(wav, (0, max(0, lacking))), sample_rate, subtype="PCM_16")
    return target
