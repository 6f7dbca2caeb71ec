"""Audio piece by piece is the audio as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from utility.audio.io import AUDIO_EXTENSIONS, load_channels, resample, save_audio
from utility.audio.piecewise import Resampler, read_pieces, wav_writer
from utility.errors import DataError

NOISE = np.random.default_rng(0).normal(0, 0.1, (20011, 2)).astype(np.float32)


@pytest.mark.parametrize("extension", sorted(AUDIO_EXTENSIONS))
def test_every_format_in_pieces(tmp_path: Path, extension: str):
    save_audio(tmp_path / f"a{extension}", NOISE, 16000)
    pieces = list(read_pieces(tmp_path / f"a{extension}", 3001))
    assert {len(piece) for piece in pieces[:-1]} == {3001}
    np.testing.assert_allclose(np.concatenate(pieces), load_channels(tmp_path / f"a{extension}")[0], rtol=0, atol=1e-7)  # MP3 rounds


def test_files_that_are_none(tmp_path: Path):
    save_audio(tmp_path / "empty.wav", np.zeros(0), 16000)
    (tmp_path / "text.wav").write_text("hello")
    for name, sentence in (("empty", "holds no samples"), ("text", "cannot be read"), ("gone", "does not exist")):
        with pytest.raises(DataError, match=rf"{name}\.wav {sentence}"):
            list(read_pieces(tmp_path / f"{name}.wav", 100))


@pytest.mark.parametrize(("source", "target"), [(48000, 16000), (16000, 44100), (8000, 16000), (16000, 16000)])
def test_resampled_in_pieces(source: int, target: int):
    resampler, wave = Resampler(source, target), NOISE[:, 0]
    found = [resampler.feed(wave[start : start + 1777]) for start in range(0, len(wave), 1777)]
    np.testing.assert_array_equal(np.concatenate([*found, resampler.feed(wave[:0], last=True)]), resample(wave, source, target))


def test_what_is_written(tmp_path: Path):
    save_audio(tmp_path / "whole.wav", NOISE, 16000)
    with wav_writer(tmp_path / "new folder/pieces.wav", 16000, 2) as write:
        for start in range(0, len(NOISE), 5000):
            write(NOISE[start : start + 5000])
        assert not (tmp_path / "new folder/pieces.wav").exists()
    assert (tmp_path / "new folder/pieces.wav").read_bytes() == (tmp_path / "whole.wav").read_bytes()
    with pytest.raises(KeyError), wav_writer(tmp_path / "new folder/failed.wav", 16000, 2) as write:
        write(NOISE)
        raise KeyError
    assert [path.name for path in (tmp_path / "new folder").iterdir()] == ["pieces.wav"]
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot write .*file/a\.wav: "), wav_writer(tmp_path / "file/a.wav", 16000, 2):
        pass
    with pytest.raises(DataError, match=r"cannot write .*file/a\.wav: "):
        save_audio(tmp_path / "file/a.wav", NOISE, 16000)
    with pytest.raises(DataError, match=r"cannot write .*x\.wav"), wav_writer(tmp_path / "new folder/x.wav", 0, 2):
        pass
