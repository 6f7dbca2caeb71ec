"""IEMOCAP: official names and evaluations, speakers per session, emotions that can be heard, equal bytes."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from preprocess.IEMOCAP_preprocess import evaluated
from preprocess.synthesis import iemocap
from preprocess.synthesis.build import Item
from preprocess.synthesis.engine import Voice
from preprocess.synthesis.voices import POOLS
from tests.support.corpora import synthetic


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic("iemocap", tmp_path_factory.mktemp("iemocap")) / iemocap.ROOT


def test_evaluations_and_recordings_agree(tiny: Path):
    for session in range(1, 6):
        folder = tiny / f"Session{session}"
        said = [turn for path in sorted((folder / "dialog/EmoEvaluation").glob("*.txt")) for turn in evaluated(path)]
        files = {path.stem: path for path in (folder / "sentences/wav").rglob("*.wav")}
        assert {name for name, _ in said} == set(files)
        for name, path in files.items():
            assert re.fullmatch(rf"Ses0{session}([FM])_impro\d\d_\1\d\d\d", name)
            assert path.parent.name == name.rpartition("_")[0]
            info = soundfile.info(path)
            assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        counts = Counter("hap" if emotion == "exc" else emotion for _, emotion in said)
        assert [counts[name] for name in ("neu", "hap", "ang", "sad")] == [2, 2, 2, 2]


def test_times_of_the_evaluations_are_those_of_the_recordings(tiny: Path):
    text = next(tiny.glob("Session1/dialog/EmoEvaluation/*F_*.txt")).read_text()
    turns = re.findall(r"\[(\S+) - (\S+)\]\t(\S+)\t", text)
    assert len(turns) >= 4
    for start, end, name in turns:
        path = next(tiny.glob(f"Session1/sentences/wav/*/{name}.wav"))
        assert float(end) - float(start) == pytest.approx(soundfile.info(path).duration, abs=2e-4)


def test_ten_voices():
    variants = [name for names in iemocap.SPEAKERS.values() for name in names]
    assert len(set(variants)) == 10 and set(variants) <= set(POOLS["train"])


def test_emotions_change_the_voice():
    heard = {}
    for emotion in iemocap.MANNERS:
        voices = [iemocap.acted(Voice("m1"), emotion, np.random.default_rng(seed)) for seed in range(50)]
        heard[emotion] = tuple(np.mean([getattr(voice, name) for voice in voices]) for name in ("pitch", "pitch_range", "rate"))
    for lower, higher in (("sad", "neu"), ("neu", "ang"), ("neu", "hap"), ("sad", "fru")):
        assert all(a < b * 1.1 for a, b in zip(heard[lower], heard[higher], strict=True))
        assert heard[lower][2] < heard[higher][2]


def test_equal_seeds_give_equal_bytes_and_sizes_share_files(tiny: Path, tmp_path: Path):
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tiny.rglob("*.wav")}
    for seed in (0, 1):
        iemocap.render(Item("M", "", 3, 4), 6, seed, tmp_path / str(seed))
        again = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / str(seed)).rglob("*.wav")}
        assert len(again) >= 6
        shared = set(again) & set(digests)
        assert len(shared) >= 4
        assert all(again[name] == digests[name] for name in shared) == (seed == 0)
