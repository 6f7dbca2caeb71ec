"""Valentini's noisy speech: official folders and names, ratios as listed, unseen voices and noises in the test, recorded noises."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from preprocess import synthesize_corpus
from preprocess.synthesis import valentini
from preprocess.synthesis.build import Item
from preprocess.synthesis.corpora import corpus_named, synthesize
from preprocess.synthesis.noise import pink
from preprocess.synthesis.scenes import SCENES, TEST, TRAIN, recording
from tests.support.corpora import synthetic
from utility.audio.io import audio_info, load_audio, save_audio
from utility.errors import DataError, UsageError


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic("valentini", tmp_path_factory.mktemp("valentini"))


def listed(folder: Path, part: str) -> dict[str, tuple[str, float]]:
    lines = (line.split() for line in (folder / f"log_{part}.txt").read_text().splitlines())
    return {name: (noise, float(snr_db)) for name, noise, snr_db in lines}


def test_folders_names_and_formats_are_the_originals(tiny: Path):
    for part, speakers, each in (("trainset_28spk", valentini.SPEAKERS[:6], 3), ("testset", ("p232", "p257"), 6)):
        names = {f"{speaker}_{number + 1:03d}" for speaker in speakers for number in range(each)}
        for folder, suffix in ((f"clean_{part}_wav", ".wav"), (f"noisy_{part}_wav", ".wav"), (f"{part}_txt", ".txt")):
            assert {path.name for path in (tiny / folder).iterdir()} == {name + suffix for name in names}
        assert set(listed(tiny, part)) == names
        for name in names:
            clean, noisy = (audio_info(tiny / f"{kind}_{part}_wav/{name}.wav") for kind in ("clean", "noisy"))
            assert clean == noisy and (clean.sample_rate, clean.channels) == (48000, 1) and 1 < clean.seconds < 15


def test_noise_lies_at_the_listed_ratio_and_speech_at_one_level(tiny: Path):
    for part, ratios in (("trainset_28spk", {0, 5, 10, 15}), ("testset", {2.5, 7.5, 12.5, 17.5})):
        for name, (_, snr_db) in listed(tiny, part).items():
            clean, noisy = (load_audio(tiny / f"{kind}_{part}_wav/{name}.wav", None) for kind in ("clean", "noisy"))
            spoken = np.flatnonzero(np.abs(clean) > 1e-3)
            active = slice(spoken[0], spoken[-1])
            measured = 10 * np.log10(np.mean(clean[active] ** 2) / np.mean((noisy - clean)[active] ** 2))
            assert snr_db in ratios and measured == pytest.approx(snr_db, abs=0.5)
            assert np.abs(noisy).max() < 0.99


def test_voices_and_noises_of_the_test_are_in_no_other_part(tiny: Path):
    heard = {noise for noise, _ in listed(tiny, "trainset_28spk").values()}
    unheard = {noise for noise, _ in listed(tiny, "testset").values()}
    assert len(heard) > 4 and heard <= set(TRAIN) and len(unheard) > 2 and unheard <= set(TEST) and not heard & unheard
    voices = {item.kind: valentini.voice_of(item, 0).voice.variant for item in valentini.plan(10)}
    assert len(voices) == len(set(voices.values())) == 30
    assert [valentini.voice_of(item, 0).sex for item in valentini.plan(10) if item.split == "test"] == ["M", "F"]


def test_scenes_sound_different():
    """No two have the same spectrum and the same unrest: log band energies, and how they vary from frame to frame."""
    facts = {}
    for name in SCENES:
        wav = recording(name, 0, 16000)
        assert wav.shape == (20 * 16000,) and np.mean(wav**2) == pytest.approx(1, rel=1e-3)
        frames = np.log10(
            np.abs(np.fft.rfft(wav[: 2048 * 150].reshape(150, 2048) * np.hanning(2048)))[:, :1024].reshape(150, 16, 64).mean(2)
        )
        facts[name] = np.concatenate((frames.mean(0) - frames.mean(), 3 * frames.std(0)))
    distances = [np.linalg.norm(facts[a] - facts[b]) for a in SCENES for b in SCENES if a < b]
    assert min(distances) > 0.3


def test_equal_seeds_give_equal_bytes_and_sizes_share_files(tiny: Path, tmp_path: Path):
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tiny.glob("noisy_*/p230*.wav")}
    index = valentini.SPEAKERS.index("p230")
    for seed in (0, 1):
        valentini.render(Item("p230", "train", index, 4), 2, seed, tmp_path / str(seed))
        again = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / str(seed)).glob("noisy_*/*.wav")}
        assert len(again) == 2 and all((digests[name] == value) == (seed == 0) for name, value in again.items())


def test_56_speakers_have_their_own_folders():
    chosen = corpus_named("valentini_56")
    assert "clean_trainset_56spk_wav" in chosen.roots and "noisy_testset_wav" in chosen.roots
    assert len({item.kind for item in chosen.plan(10) if item.split == "train"}) == 56


@pytest.fixture
def noises(tmp_path: Path) -> Path:
    folder = tmp_path / "noises"
    for name in ("wind", "rain", "crowd", "fan"):
        save_audio(folder / f"{name}.wav", 0.1 * pink(32000, np.random.default_rng(len(name))), 16000)
    return folder


def test_recorded_noises_are_divided_between_training_and_test(noises: Path):
    train, test = ({path.stem for path in valentini.recorded(noises, split)} for split in ("train", "test"))
    assert train == {"crowd", "rain", "wind"} and test == {"fan"}
    drawn = corpus_named("valentini").with_noises(noises).render
    assert drawn.keywords["noises"] == noises
    conditions = valentini._conditions(Item("p232", "test", 1, 4), 0, noises)
    assert len(conditions) == 6 * 4 and (str(noises / "fan.wav"), 2.5) in conditions


def test_wrong_noises_are_named(noises: Path, tmp_path: Path, capsys):
    with pytest.raises(UsageError, match="noises of snips are not a choice"):
        synthesize("snips", tmp_path / "out", noises=noises)
    with pytest.raises(DataError, match="does not exist"):
        synthesize("valentini", tmp_path / "out", noises=tmp_path / "nowhere")
    (tmp_path / "one").mkdir()
    with pytest.raises(DataError, match="has 0 audio files; noises need at least two"):
        valentini.recorded(tmp_path / "one", "test")
    with pytest.raises(DataError, match="silent"):
        valentini._part(np.zeros(100), 50, np.random.default_rng(0))
    assert synthesize_corpus.main(["--corpus", "valentini", "--out", str(tmp_path / "out"), "--noises", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err
