"""The synthetic MOS sets: official layouts, hidden scores, unseen speakers and sentences, equal bytes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from preprocess.synthesis import mos
from preprocess.synthesis.build import Item
from preprocess.synthesis.degradations import (
    MOST_CLIPPED,
    WAYS,
    Degradation,
    band_limited,
    clipped,
    degraded,
    quantised,
    reverberated,
    without_packets,
)
from tests.support.corpora import synthetic


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus of size tiny."""
    return synthetic("mos", tmp_path_factory.mktemp("mos"))


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The other sets of the pools, of size tiny."""
    return synthetic("mos_pools", tmp_path_factory.mktemp("mos_pools"))


def rows(path: Path, header: bool = True) -> list:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file) if header else csv.reader(file))


def test_every_listed_recording_is_there_at_its_rate(tiny):
    listed = {
        16000: {
            tiny / "bvcc/main/DATA/wav" / row[1]
            for name in ("TRAINSET", "DEVSET", "TESTSET")
            for row in rows(tiny / "bvcc/main/DATA/sets" / name, False)
        },
        24000: {tiny / "bc19/ood/DATA/wav" / f"{row[1]}.wav" for row in rows(tiny / "bc19/ood/DATA/sets/TESTSET", False)},
        48000: {list_.parent / "deg" / row["filename_deg"] for list_ in tiny.glob("nisqa/*/*/*_file.csv") for row in rows(list_)},
    }
    lists = tiny / "somos/training_files/split1/clean"
    listed[24000] |= {tiny / "somos/audios" / row["utteranceId"] for list_ in sorted(lists.iterdir()) for row in rows(list_)}
    names = {row["file_name"] for row in rows(tiny / "tmhint-qi/TMHINTQI/raw_data.csv")}
    assert names == {path.stem for path in tiny.glob("tmhint-qi/TMHINTQI/*/*.wav")}
    for rate, paths in listed.items():
        assert paths
        assert {(soundfile.info(path).samplerate, soundfile.info(path).subtype) for path in paths} == {(rate, "PCM_16")}
    assert sum(map(len, listed.values())) + len(names) == len(list(tiny.rglob("*.wav")))


def test_every_listed_recording_of_the_pools_is_there_at_its_rate(pools):
    singmos, urgent = pools / "singmos/DATA", rows(pools / "urgent2024-mos/metadata.csv")
    listed = {pools / "pstn/train" / row["filename"]: 8000 for row in rows(pools / "pstn/train/pstn_train.csv")}
    for name in ("train", "val", "eval"):
        listed |= {singmos / "wav" / f"{row[0]}.wav": 16000 for row in rows(singmos / f"sets/{name}_mos_list.txt", False)}
    for table in (pools / "tencent/TencentCorups").glob("*.csv"):
        listed |= {table.parent / row["deg_wav"]: 16000 for row in rows(table)}
    listed |= {pools / "urgent2024-mos" / row["wav_path"]: int(row["sampling_rate"]) for row in urgent}
    assert listed.keys() == set(pools.rglob("*.wav"))
    assert all((soundfile.info(path).samplerate, soundfile.info(path).subtype) == (rate, "PCM_16") for path, rate in listed.items())
    assert len({row["sampling_rate"] for row in urgent}) > 2
    assert all(np.mean(json.loads(row["raw_ratings"])) == float(row["score"]) for row in urgent)
    assert min(float(row["noise"]) for row in rows(pools / "hidden_pools/urgent2024-mos.csv")) > 0
    settings = [tuple(row.values())[1:] for row in rows(pools / "hidden_pools/tencent.csv")]
    assert len(set(settings)) > len(settings) / 2  # each recording has its own


def test_two_corpora_share_a_folder(tmp_path):
    for name in ("mos", "mos_pools"):
        synthetic(name, tmp_path)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {*mos.SOURCES, "hidden", "hidden_pools"}


def test_ratings_are_whole_scores_by_several_listeners(tiny):
    given = rows(tiny / "bvcc/main/DATA/sets/TRAINSET", False)
    assert {row[2] for row in given} <= set("12345")
    by_recording: dict[str, set[str]] = {}
    for row in given:
        by_recording.setdefault(row[1], set()).add(row[4])
    assert {len(listeners) for listeners in by_recording.values()} == {5}
    assert len({row[4] for row in given}) > 5


def test_better_settings_are_rated_better_and_scales_differ():
    means = {}
    for name in mos.SOURCES:
        scores = [
            [np.mean([score for _, score in mos.ratings(name, quality, np.random.default_rng(draw), 0)]) for draw in range(30)]
            for quality in (1.5, 3, 4.5)
        ]
        means[name] = np.mean(scores, axis=1)
        assert (np.diff(means[name]) > 0.5).all()
    assert means["somos"][0] > means["bvcc"][0] + 0.5


def test_parts_share_neither_systems_nor_sentences(tiny):
    systems = {name: {row[0] for row in rows(tiny / "bvcc/main/DATA/sets" / name, False)} for name in ("TRAINSET", "DEVSET", "TESTSET")}
    assert not systems["TRAINSET"] & (systems["DEVSET"] | systems["TESTSET"])
    texts = {row["wav_name"]: row["transcription"] for row in rows(tiny / "bvcc/text")}
    said = {name: {texts[row[1]] for row in rows(tiny / "bvcc/main/DATA/sets" / name, False)} for name in systems}
    assert not said["TRAINSET"] & said["TESTSET"]
    assert mos.SOURCES["bc19"].groups == {"test": ("test", 0.5)}


def test_quality_falls_with_every_way():
    assert Degradation().quality == 5
    for way in WAYS:
        qualities = [Degradation(**{way: amount}).quality for amount in (0, 0.2, 0.6, 1)]
        assert qualities == sorted(qualities, reverse=True)
        assert qualities[-1] < 3
    assert Degradation(noise=1, loss=1).quality < Degradation(noise=1).quality


def test_degradations_do_what_they_say():
    rng = np.random.default_rng(0)
    wav = rng.standard_normal(32000) * 0.1
    assert (
        0.2
        < np.mean(np.abs(clipped(wav, MOST_CLIPPED, slice(None))) >= np.abs(clipped(wav, MOST_CLIPPED, slice(None))).max() * 0.999)
        < 0.3
    )
    spectrum = np.abs(np.fft.rfft(band_limited(wav, 1000)))
    assert spectrum[np.fft.rfftfreq(32000, 1 / 16000) > 1000].max() < 1e-6
    assert len(np.unique(quantised(wav, 3))) <= 8
    lost = without_packets(wav, 0.3, rng)
    assert 0.15 < np.mean(lost == 0) < 0.45
    noisy = degraded(wav, slice(None), Degradation(noise=0.5), rng, 0) - wav
    assert 10 * np.log10(np.mean(wav**2) / np.mean(noisy**2)) == pytest.approx(15, abs=0.01)


def test_a_room_stays_after_the_sound():
    click = np.zeros(16000)
    click[100] = 1
    heard = reverberated(click, 0.5, np.random.default_rng(0))
    assert len(heard) == len(click)
    assert heard[100] == pytest.approx(1, abs=1e-6)
    assert np.abs(heard[:100]).max() < 1e-6
    energy = [np.square(heard[start : start + 1600]).sum() for start in (101, 1701, 3301)]
    assert 10 * np.log10(energy[0] / energy[1]) == pytest.approx(12, abs=2)  # 60 dB in half a second
    assert np.square(heard[101:]).sum() == pytest.approx(1, abs=0.01)
    assert energy[1] > energy[2] > 0


def test_equal_seeds_give_equal_bytes(tiny, tmp_path):
    for seed in (0, 1):
        mos.render(Item("somos", "test", 1, 3), 4, seed, tmp_path / str(seed))
    written = {seed: sorted((tmp_path / str(seed)).rglob("*.wav")) for seed in (0, 1)}
    assert len(written[0]) == len(written[1]) == 3
    assert all(path.read_bytes() == (tiny / path.relative_to(tmp_path / "0")).read_bytes() for path in written[0])
    assert not {path.read_bytes() for path in written[0]} & {path.read_bytes() for path in written[1]}
