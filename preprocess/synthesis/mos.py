"""MOS data sets in the official layouts of nine archives, for MOS prediction.

    bvcc/main/DATA/{sets/{TRAINSET,DEVSET,TESTSET},wav}, bvcc/text       16 kHz, single ratings, texts as UTMOS22 lists them
    somos/{training_files/split1/clean/*,audios}                         24 kHz, single ratings
    nisqa/NISQA_Corpus/NISQA_{TRAIN,VAL}_{SIM,LIVE}, NISQA_TEST_*        48 kHz, mean opinions
    tmhint-qi/TMHINTQI/{train,test,raw_data.csv}                         16 kHz, single ratings, always noisy
    bc19/ood/DATA/{sets/TESTSET,wav}                                     24 kHz, single ratings, a test set that nobody trained on
    hidden/<set>.csv                                                     the settings that listeners do not know, for baselines

The other sets of the pools, which :mod:`preprocess.synthesis.mos_pools` writes; speech stands for the singing of SingMOS:

    pstn/train/{pstn_train.csv,*.wav}                                    8 kHz, mean opinions, each recording a setting of its own
    singmos/DATA/{sets/{train,val,eval}_mos_list.txt,wav}                16 kHz, mean opinions
    tencent/TencentCorups/{with,without}ReverberationTrainDev{MOS.csv,}  16 kHz, mean opinions, each recording a setting of its own
    urgent2024-mos/{metadata.csv,wavs}                                   8 to 48 kHz, mean opinions, always noisy
    hidden_pools/<set>.csv                                               their settings

A system is a setting of :mod:`preprocess.synthesis.degradations`. Its quality follows from the setting; a listener adds an own bias and
noise, each data set an own use of the scale. Speakers and sentences of the tests are in no training set, nor are their systems, save that
TMHINT-QI has few settings and its tests the same ones. Listeners do not hold a room's reverberation against a recording.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from preprocess.synthesis import mos_layouts, texts
from preprocess.synthesis.build import Corpus, Item
from preprocess.synthesis.degradations import DB_RANGE, MOST_DB, Degradation, degraded, drawn, reverberated
from preprocess.synthesis.draws import generator
from preprocess.synthesis.engine import SAMPLE_RATE, synthesize
from preprocess.synthesis.librispeech import with_margins
from preprocess.synthesis.voices import speaker, vary
from utility.audio.io import resample, save_audio

_ROOM_S = (0.2, 0.6)  # until reverberation has died away
_MARGIN_S, _LEVEL_DB = (0.1, 0.3), (-29.0, -23.0)
_OF_AN_UTTERANCE, _BIAS, _NOISE = 0.12, 0.4, 0.5  # standard deviations, in points
_LISTENERS, _RATINGS = 12, 5
_SPEAKERS = 12


@dataclass(frozen=True)
class Source:
    """A data set.

    Args:
        rate: of its recordings in Hz, or one of several for each.
        shift, slope: its listeners' use of the scale, about 3.
        groups: split of voices and sentences, and share of ``size`` systems, of each part of the set.
        alone: each recording is a system of its own.
        always: a way of degradation that is always there.
    """

    rate: int | tuple[int, ...]
    shift: float
    slope: float
    groups: dict[str, tuple[str, float]]
    alone: bool = False
    always: str | None = None


_USUAL = {"train": ("train", 1.0), "dev": ("dev", 1 / 3), "test": ("test", 1 / 3)}
SOURCES = {
    "bvcc": Source(16000, 0.0, 1.0, _USUAL),
    "somos": Source(24000, 0.6, 0.65, _USUAL),
    "nisqa": Source(
        48000,
        -0.1,
        0.95,
        {
            "TRAIN_SIM": ("train", 0.7),
            "TRAIN_LIVE": ("train", 0.3),
            "VAL_SIM": ("dev", 0.2),
            "VAL_LIVE": ("dev", 0.2),
            **dict.fromkeys(("TEST_FOR", "TEST_LIVETALK", "TEST_P501"), ("test", 0.2)),
        },
    ),
    "tmhint-qi": Source(16000, 0.3, 0.8, {"train": ("train", 1.2), "test": ("test", 1 / 3)}),
    "bc19": Source(24000, 0.2, 0.9, {"test": ("test", 1 / 2)}),
    "pstn": Source(8000, -0.2, 0.8, {"train": ("train", 1.0)}, alone=True),
    "singmos": Source(16000, 0.4, 0.7, _USUAL),
    "tencent": Source(16000, -0.3, 1.0, dict.fromkeys(("withoutReverberation", "withReverberation"), ("train", 1.0)), alone=True),
    "urgent2024-mos": Source((8000, 16000, 22050, 24000, 32000, 44100, 48000), 0.1, 0.85, {"train": ("train", 1.0)}, always="noise"),
}
FIRST, POOLS = ("bvcc", "somos", "nisqa", "tmhint-qi", "bc19"), ("pstn", "singmos", "tencent", "urgent2024-mos")
_SNRS = (-2, 0, 2, 5)
# What an enhancement wins in dB, and what it does to the speech; clean recordings are among the original's too.
_METHODS = {
    "Noisy": (0, Degradation()),
    "FCN": (8, Degradation(band=0.3)),
    "MMSE": (6, Degradation(clipping=0.25)),
    "DDAE": (12, Degradation(codec=0.45)),
    "Trans": (18, Degradation(loss=0.05)),
    "clean": (None, Degradation()),
}


def utterances(size: int) -> int:
    """Recordings of a system."""
    return 3 if size <= 6 else 4


def plan(size: int, names: Iterable[str] = FIRST) -> list[Item]:
    """One item for each system of each part of the data sets."""
    return [item for name in names for part in SOURCES[name].groups for item in _systems(name, part, size)]


def _systems(name: str, part: str, size: int) -> list[Item]:
    source, each = SOURCES[name], utterances(size)
    count = max(2, math.ceil(source.groups[part][1] * size))
    return [Item(name, part, index, 1 if source.alone else each) for index in range(count * each if source.alone else count)]


def setting(seed: int, name: str, part: str, index: int) -> tuple[Degradation, dict[str, Any]]:
    """A system's degradation, and what names it."""
    rng = generator(seed, "system", name, part, index)
    if name != "tmhint-qi":
        return drawn(rng, always=SOURCES[name].always), {"system": hashlib.sha1(f"{seed} {name} {part} {index}".encode()).hexdigest()[:5]}
    method, snr, kind = str(rng.choice(list(_METHODS))), int(rng.choice(_SNRS)), str(rng.choice(("white", "pink", "babble")))
    won, how = _METHODS[method]
    noise = 0.0 if won is None else (MOST_DB - snr - won) / DB_RANGE
    return replace(how, noise=noise, kind=kind), {"system": f"{method}{index}", "snr": snr, "noise": kind}


def render(item: Item, size: int, seed: int, out: Path) -> dict[str, Any]:
    """Writes all recordings of a system, and returns their ratings."""
    how, names = setting(seed, item.kind, item.split, item.index)
    rows = [_utterance(item, number, how, names, seed, out) for number in range(item.files)]
    return {"set": item.kind, "part": item.split, "index": item.index, "how": asdict(how), "quality": how.quality, **names, "rows": rows}


def _utterance(item: Item, number: int, how: Degradation, names: dict[str, Any], seed: int, out: Path) -> dict[str, Any]:
    source, pool = SOURCES[item.kind], SOURCES[item.kind].groups[item.split][0]
    rng = generator(seed, "mos", item.kind, item.split, item.index, number)
    wav, text = _spoken(pool, how, rng, seed, room=item.split == "withReverberation")
    key = hashlib.sha1(f"{seed} {item.kind} {item.split} {item.index} {number}".encode()).hexdigest()[:7]
    place = mos_layouts.place(item.kind, item.split, item.index, number, key, names)
    rate = source.rate if isinstance(source.rate, int) else int(rng.choice(source.rate))
    save_audio(out / place, resample(wav, SAMPLE_RATE, rate), rate)
    quality = how.quality + float(rng.normal(0, _OF_AN_UTTERANCE))
    return {"path": place, "key": key, "rate": rate, "text": text, "ratings": ratings(item.kind, quality, rng, seed)}


def _spoken(pool: str, how: Degradation, rng: np.random.Generator, seed: int, room: bool) -> tuple[np.ndarray, str]:
    who, text = speaker(seed, pool, int(rng.integers(_SPEAKERS))), texts.sentence(rng, pool)
    utterance = synthesize(text, vary(who.voice, rng), int(rng.integers(2**31)))
    wav, phones = with_margins(utterance, *rng.uniform(*_MARGIN_S, 2))
    spoken = [phone for phone in phones if phone.label != "SIL"]
    active = slice(round(spoken[0].start * SAMPLE_RATE), round(spoken[-1].end * SAMPLE_RATE))
    if room:
        wav = reverberated(wav, float(rng.uniform(*_ROOM_S)), rng)
    worse = degraded(wav, active, how, rng, seed)
    return _at_level(worse, rng), text


def _at_level(wav: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """At a random level, which says nothing of quality."""
    power = float(np.sqrt(np.mean(np.square(wav, dtype=np.float64))))
    wav = wav * (10 ** (rng.uniform(*_LEVEL_DB) / 20) / max(power, 1e-6))
    return (wav / max(1.0, float(np.abs(wav).max()) / 0.99)).astype(np.float32)


def ratings(name: str, quality: float, rng: np.random.Generator, seed: int) -> list[tuple[str, int]]:
    """Whole scores from 1 to 5 by some of a data set's listeners."""
    source, given = SOURCES[name], []
    for number in sorted(rng.permutation(_LISTENERS)[:_RATINGS].tolist()):
        bias = float(generator(seed, "listener", name, number).normal(0, _BIAS))
        felt = 3 + source.shift + source.slope * (quality - 3) + bias + float(rng.normal(0, _NOISE))
        given.append((f"{name}_listener{number:02d}", int(np.clip(round(felt), 1, 5))))
    return given


CORPUS = Corpus(
    name="mos",
    roots=(*FIRST, "hidden"),
    sizes={"tiny": 4, "small": 80, "medium": 300},
    plan=plan,
    render=render,
    finish=mos_layouts.write_lists,
)
