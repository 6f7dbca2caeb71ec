"""Parts of files at another rate: read by themselves, they are those of the whole file's resampling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from utility.audio.io import audio_info, load_audio, resample, save_audio
from utility.audio.windows import resampled_length, window_of
from utility.errors import DataError

ROUNDING = 3e-6  # of the loudest sample; 2.1e-6 is the most that 270 pairs of rates showed, with noise at full scale
PAIRS = [
    (44100, 16000),
    (48000, 16000),
    (22050, 16000),
    (8000, 16000),
    (11025, 16000),
    (32000, 16000),
    (96000, 8000),
    (44100, 22050),
    (48000, 44100),
    (8000, 44100),
    (44101, 16000),
    (1965, 1138),
]


def noise(count: int) -> np.ndarray:
    """(count,) float32: -1 and 1, which shows most of what a filter leaves out."""
    return np.random.default_rng(count).choice(np.array([-1, 1], np.float32), count)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording at each of the rates; the samples count is odd."""
    folder = tmp_path_factory.mktemp("long")
    for source, target in PAIRS:
        save_audio(folder / f"{source}.wav", noise(30001 * max(1, round(source / target))), source, "FLOAT")
    return folder


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the frames of each reading of a file."""
    counts, read = [], soundfile.SoundFile.read

    def spy(file: soundfile.SoundFile, *args, **options) -> np.ndarray:
        samples = read(file, *args, **options)
        counts.append(len(samples))
        return samples

    monkeypatch.setattr(soundfile.SoundFile, "read", spy)
    return counts


def check(path: Path, rate: int, whole: np.ndarray, start: int, frames: int | None) -> None:
    """The part has the samples of the whole, and as many."""
    np.testing.assert_allclose(load_audio(path, rate, start, frames), whole[start:][:frames], rtol=0, atol=ROUNDING)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_part_is_that_of_the_whole(folder: Path, source: int, target: int):
    path = folder / f"{source}.wav"
    whole, wav = load_audio(path, target), soundfile.read(path, dtype="float32")[0]
    np.testing.assert_array_equal(whole, resample(wav, source, target))
    total = len(whole)
    for start in (0, 1, 99, total // 3, total // 2 + 1, total - 4001, total - 2, total - 1):
        for frames in (1, 777, total // 4, total, None):
            check(path, target, whole, start, frames)
    for start in (total, total + 1, 10**9):
        with pytest.raises(DataError, match=f"{source}.wav ends before sample {start}"):
            load_audio(path, target, start, 100)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_part_of_any_length_of_file(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    source, target = data.draw(st.sampled_from(PAIRS))
    count = data.draw(st.integers(1, 40000))
    path = tmp_path_factory.mktemp("any") / "a.wav"
    save_audio(path, noise(count), source, "FLOAT")
    whole = load_audio(path, target) if resampled_length(count, source, target) else np.zeros(0, np.float32)
    if len(whole):
        check(path, target, whole, data.draw(st.integers(0, len(whole) - 1)), data.draw(st.one_of(st.none(), st.integers(1, 40000))))


# 160 samples at 48000 Hz are 147 at 44100: here halves are left over, which the floating point of soxr rounds to either side.
@pytest.mark.parametrize("count", [80 * odd for odd in range(401, 481, 2)])
def test_ends_have_the_samples_of_the_whole(tmp_path: Path, count: int):
    save_audio(tmp_path / "a.wav", noise(count), 48000, "FLOAT")
    whole = load_audio(tmp_path / "a.wav", 44100)
    assert len(whole) == resampled_length(count, 48000, 44100)
    for back in (1, 2, 150, 1000, 5000):
        check(tmp_path / "a.wav", 44100, whole, len(whole) - back, 10000)


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_of_a_long_file_the_part_is_read_alone(tmp_path: Path, reads: list[int], kind: str):
    path = tmp_path / f"a.{kind}"
    soundfile.write(path, np.stack([noise(441000) / 2, np.zeros(441000)], axis=1), 44100)
    whole = load_audio(path)
    assert reads == [441000]
    for start, frames in ((0, 1600), (80000, 1600), (158400, None)):
        reads.clear()
        check(path, 16000, whole, start, frames)
        assert len(reads) == 1
        assert 4410 < reads[0] < 4410 + 2 * 1000
    reads.clear()
    load_audio(path, 16000, 80000, 80000)
    assert reads == [441000]


def test_compressed_files_and_strange_rates_are_read_whole(tmp_path: Path, reads: list[int]):
    soundfile.write(tmp_path / "a.ogg", noise(100000) / 4, 44100)
    soundfile.write(tmp_path / "b.wav", noise(100000) / 4, 44101)
    for name in ("a.ogg", "b.wav"):
        whole = load_audio(tmp_path / name)
        reads.clear()
        np.testing.assert_array_equal(load_audio(tmp_path / name, 16000, 20000, 10), whole[20000:20010])
        assert reads == [audio_info(tmp_path / name).frames]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_refused_within_the_part(tmp_path: Path, bad: float):
    wav = noise(100000)
    wav[44100] = bad
    soundfile.write(tmp_path / "a.wav", wav, 44100, subtype="FLOAT")
    for start, frames in ((16000, 1), (15990, 100), (10000, 6100)):
        with pytest.raises(DataError, match=r"a\.wav holds NaN or infinite samples"):
            load_audio(tmp_path / "a.wav", 16000, start, frames)
    assert len(load_audio(tmp_path / "a.wav", 16000, 0, 10000)) == 10000


@pytest.mark.parametrize("kind", ["flac", "wav"])
def test_a_part_behind_the_end_of_a_cut_file_is_refused(tmp_path: Path, kind: str):
    path = tmp_path / f"a.{kind}"
    soundfile.write(path, noise(100000) / 2, 44100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    for start, frames in ((25000, 5000), (35000, 1000), (35000, None)):
        with pytest.raises(DataError, match=rf"a\.{kind}"):
            load_audio(path, 16000, start, frames)


def test_an_empty_file_is_refused(tmp_path: Path):
    save_audio(tmp_path / "a.wav", np.zeros(0), 44100)
    with pytest.raises(DataError, match="holds no samples"):
        load_audio(tmp_path / "a.wav", 16000, 0, 10)
    with pytest.raises(DataError, match="ends before sample 5"):
        load_audio(tmp_path / "a.wav", 16000, 5, 10)


def test_windows_begin_on_samples_of_both_rates():
    for source, target in PAIRS[:-2]:
        for start in (10**6, 10**6 + 1, 70 * 10**6):
            window = window_of(10**9, source, target, start, 1000)
            assert window.first * target % source == 0
            assert window.first * target // source + window.skip == start
    assert window_of(10**9, 44101, 16000, 10**6, 1000) is None
    assert window_of(10**9, 1965, 1138, 10**6, 1000) is None  # of few steps, but soxr takes twice as many
