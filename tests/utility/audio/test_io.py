"""Reading, writing and finding audio files."""

from __future__ import annotations

import errno
import itertools
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from utility.audio.io import AUDIO_EXTENSIONS, audio_info, find_audio, load_audio, load_channels, resample, save_audio, wavs_in
from utility.errors import DataError

# Two tones, on which the lossy formats stay close.
STEREO = (np.array([0.2, 0.1]) * np.sin(2 * np.pi * np.arange(16000)[:, None] / 16000 * [440, 700])).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One stereo file of 1 s at 16 kHz in every format that can be written."""
    folder = tmp_path_factory.mktemp("audio")
    for extension in AUDIO_EXTENSIONS:
        save_audio(folder / f"a{extension}", STEREO, 16000)
    return folder


@pytest.mark.parametrize("extension", sorted(AUDIO_EXTENSIONS))
@pytest.mark.parametrize("rate", [None, 11025])
def test_every_format_reads_in_parts(folder: Path, extension: str, rate: int | None):
    path = folder / f"a{extension}"
    info = audio_info(path)
    assert (info.sample_rate, info.channels) == (16000, 2)
    assert info.seconds == pytest.approx(1.0, abs=0.01)
    whole = load_audio(path, rate)
    assert whole.dtype == np.float32
    assert whole.shape == ((info.frames if rate is None else round(info.frames * rate / info.sample_rate)),)
    assert whole.std() == pytest.approx(np.hypot(0.1, 0.05) / np.sqrt(2), rel=0.05)  # the channels' mean
    for start, frames in [(0, 1), (0, 5000), (4321, 77), (4321, None), (9000, 10**6)]:
        part = load_audio(path, rate, start, frames)
        np.testing.assert_allclose(part, whole[start:][:frames], rtol=0, atol=0 if rate is None else 2e-7)  # test_windows.py has the cases
        part += 1  # the caller's own memory


@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610"]
)
def test_every_wav_encoding_reads_in_parts(tmp_path: Path, subtype: str):
    save_audio(tmp_path / "a.wav", STEREO[:, 0], 16000, subtype)
    whole = load_audio(tmp_path / "a.wav", None)
    np.testing.assert_array_equal(load_audio(tmp_path / "a.wav", None, 3210, 1234), whole[3210:4444])


@settings(max_examples=30, deadline=None)
@given(start=st.integers(0, 15999), frames=st.one_of(st.none(), st.integers(1, 20000)))
def test_a_part_equals_the_slice(folder: Path, start: int, frames: int | None):
    for name in ("a.flac", "a.mp3"):
        whole = load_audio(folder / name)
        stop = None if frames is None else start + frames
        np.testing.assert_array_equal(load_audio(folder / name, 16000, start, frames), whole[start:stop])


def test_integer_samples_are_scaled_exactly(tmp_path: Path):
    samples = np.array([[-32768, -32768], [32767, 0], [1, 3]], np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 8000)
    np.testing.assert_array_equal(load_audio(tmp_path / "a.wav", None), np.array([-1, 32767 / 65536, 2 / 32768], np.float32))


def test_float_samples_survive_and_integer_formats_clip(tmp_path: Path):
    wav = np.array([2.5, -2.5, 1e-7], np.float32)
    save_audio(tmp_path / "new" / "a.wav", wav, 16000, subtype="FLOAT")
    np.testing.assert_array_equal(load_audio(tmp_path / "new" / "a.wav"), wav)
    save_audio(tmp_path / "b.wav", wav, 16000)
    np.testing.assert_array_equal(load_audio(tmp_path / "b.wav"), np.array([32767 / 32768, -1, 0], np.float32))


def test_equal_samples_give_equal_wav_files(tmp_path: Path):
    written = list(itertools.product((STEREO, STEREO[:, 0], STEREO[:0, 0]), ("PCM_16", "FLOAT", "DOUBLE")))
    for second in "ab":
        for number, (wav, subtype) in enumerate(written):
            save_audio(tmp_path / f"{second}{number}.wav", wav, 8000, subtype)
        time.sleep(1.01 - time.time() % 1)  # libsndfile notes the second
    for number, (wav, subtype) in enumerate(written):
        info = soundfile.info(tmp_path / f"a{number}.wav")
        assert (info.subtype, info.samplerate, info.frames, info.channels) == (subtype, 8000, len(wav), wav.ndim)
        assert (tmp_path / f"a{number}.wav").read_bytes() == (tmp_path / f"b{number}.wav").read_bytes()


def test_resampling_keeps_a_tone():
    seconds = np.arange(8000) / 8000
    up = resample(np.sin(2 * np.pi * 440 * seconds).astype(np.float32), 8000, 16000)
    np.testing.assert_allclose(up[2000:-2000], np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)[2000:-2000], atol=1e-4)
    assert resample(STEREO, 16000, 8000).shape == (8000, 2)
    assert resample(STEREO, 16000, 16000) is STEREO


def test_wrong_files_end_in_a_sentence_that_names_them(folder: Path, tmp_path: Path):
    files = {
        "cut.flac": (folder / "a.flac").read_bytes()[:9000],
        "text.wav": b"hello " * 100,
        "header.wav": (folder / "a.wav").read_bytes()[:20],
        "none.wav": b"",
        "x.raw": b"1234",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    save_audio(tmp_path / "nothing.wav", np.zeros(0), 16000)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 16000, subtype="FLOAT")
    for name in [*files, "nothing.wav", "nan.wav", "missing.wav"]:
        with pytest.raises(DataError, match=name):
            load_audio(tmp_path / name)
    for path in (tmp_path / "missing.wav", tmp_path, tmp_path / "text.wav"):
        with pytest.raises(DataError, match=path.name):
            audio_info(path)
    with pytest.raises(DataError, match=r"a\.flac ends before sample 16000"):
        load_audio(folder / "a.flac", start=16000)
    with pytest.raises(ValueError, match="start"):
        load_audio(folder / "a.flac", start=-1)


def cut_wav(path: Path, samples: int, left: int, size: int | None = None, before: bytes = b"") -> Path:
    """A WAV of 16 bits whose header promises ``samples``, or ``size`` bytes, and that ends after ``left`` of them.

    Args:
        before: chunks between format and samples.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, STEREO[np.arange(samples) % 16000, 0], 16000, subtype="PCM_16")
    data = path.read_bytes()
    place = data.index(b"data")
    head = data[:place] + before + b"data" + (2 * samples if size is None else size).to_bytes(4, "little")
    path.write_bytes(head + data[place + 8 :][: 2 * left])
    return path


@pytest.mark.parametrize("before", [b"", b"LIST\x03\x00\x00\x00abc\x00"])
def test_a_wav_that_ends_too_early_is_refused(tmp_path: Path, before: bytes):
    path = cut_wav(tmp_path / "a.wav", 32000, 9978, before=before)
    says = r"a\.wav is truncated: its header promises 64000 bytes of samples, it ends after 19956"
    for read in (audio_info, load_audio, lambda path: load_audio(path, 8000), lambda path: load_audio(path, 16000, 10, 100)):
        with pytest.raises(DataError, match=says):
            read(path)
    whole = cut_wav(tmp_path / "b.wav", 9978, 9978, before=before)
    assert (audio_info(whole).frames, len(load_audio(whole))) == (9978, 9978)


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0x7FFFFFFF, 0x7FFFFFFF - 36, 0x80000000, 0xFFFFFFFF])
def test_a_wav_from_a_pipe_knows_no_size(tmp_path: Path, size: int):
    path = cut_wav(tmp_path / "a.wav", 9978, 9978, size=size)
    if size:
        assert len(load_audio(path)) == 9978
    else:  # libsndfile reads none of its samples
        with pytest.raises(DataError, match="holds no samples"):
            load_audio(path)


def test_all_channels_at_their_own_rate(tmp_path: Path):
    save_audio(tmp_path / "a.wav", STEREO, 44100, "FLOAT")
    samples, rate = load_channels(tmp_path / "a.wav")
    assert rate == 44100
    np.testing.assert_array_equal(samples, STEREO.astype(np.float32))
    save_audio(tmp_path / "b.wav", STEREO[:, 0], 8000, "FLOAT")
    assert load_channels(tmp_path / "b.wav")[0].shape == (len(STEREO), 1)
    soundfile.write(tmp_path / "c.wav", np.full((4, 2), np.nan), 8000, subtype="FLOAT")
    with pytest.raises(DataError, match="NaN or infinite"):
        load_channels(tmp_path / "c.wav")


def test_what_cannot_be_written_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"\.wave.*did you mean '\.wav'"):
        save_audio(tmp_path / "a.wave", STEREO, 16000)
    with pytest.raises(DataError, match="NaN"):
        save_audio(tmp_path / "a.wav", np.array([np.nan]), 16000)
    with pytest.raises(DataError, match=r"a\.mp3"):
        save_audio(tmp_path / "a.mp3", STEREO, 16000, subtype="PCM_16")


def test_wavs_of_a_folder_are_in_one_order_everywhere(tmp_path):
    for name in ("10.wav", "01.wav", "1.wav", "2.WAV", ".3.wav", "4.flac", "a.wav", "A.wav"):
        (tmp_path / name).touch()
    (tmp_path / "5.wav").mkdir()
    assert [path.name for path in wavs_in(tmp_path)] == ["01.wav", "1.wav", "2.WAV", "10.wav", "A.wav", "a.wav"]
    assert wavs_in(tmp_path / "nowhere") == []


@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_16"])
def test_a_disk_that_is_full_leaves_what_was_there(tmp_path, monkeypatch, subtype):
    path = tmp_path / "a.wav"
    save_audio(path, STEREO, 8000, subtype)
    before = path.read_bytes()

    def cut(file, *rest, **more):
        Path(file).write_bytes(b"RIFF")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(soundfile, "write", cut)
    monkeypatch.setattr("scipy.io.wavfile.write", cut)
    with pytest.raises(DataError, match=r"cannot write .*a\.wav: No space left on device"):
        save_audio(path, STEREO[:100], 8000, subtype)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [before]


def test_find_audio_goes_deep_follows_links_and_sorts(tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    corpus = tmp_path / "corpus"
    for name in ("b/2.WAV", "b/c/1.flac", "a.mp3", "b/notes.txt", "b/._2.wav"):
        (corpus / name).parent.mkdir(parents=True, exist_ok=True)
        (corpus / name).touch()
    elsewhere.mkdir()
    (elsewhere / "z.ogg").touch()
    (corpus / "link").symlink_to(elsewhere)
    (corpus / "loop").symlink_to(corpus)
    assert find_audio(corpus) == [corpus / "a.mp3", corpus / "b/2.WAV", corpus / "b/c/1.flac", corpus / "link/z.ogg"]
    with pytest.raises(DataError, match="does not exist"):
        find_audio(tmp_path / "nowhere")
    with pytest.raises(DataError, match="not a folder"):
        find_audio(corpus / "a.mp3")
