"""Kaldi folders: what is read, and what is refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from downstream.diarization.dataset import DiarizationDataset, Framing
from downstream.diarization.kaldi import read_kaldi_folder, read_samples
from utility.audio.io import save_audio
from utility.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two recordings of a second; in the first, two speakers."""
    for name in "ab":
        save_audio(tmp_path / f"audio/{name}.wav", np.full(16000, 0.25), 16000)
    (tmp_path / "wav.scp").write_text("".join(f"{name} {tmp_path}/audio/{name}.wav\n" for name in "ab"))
    (tmp_path / "reco2dur").write_text("a 1.0\nb 1.0\n")
    (tmp_path / "segments").write_text("a-1 a 0.1 0.5\na-2 a 0.4 0.9\na-3 a 0.6 1.01\n")
    (tmp_path / "utt2spk").write_text("a-1 zoe\na-2 abe\na-3 zoe\n")
    return tmp_path


def replace(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


def empty(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text("")


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def test_a_folder_is_read(folder: Path):
    first, second = read_kaldi_folder(folder, most_speakers=2)
    assert first.speakers == ("abe", "zoe")
    assert {name: turns.tolist() for name, turns in first.by_speaker.items()} == {"abe": [[0.4, 0.9]], "zoe": [[0.1, 0.5], [0.6, 1.01]]}
    assert (second.name, second.speakers, len(second.turns)) == ("b", (), 0)
    labels = Framing(16000, 1600, 10, 2).labels(first, 0, 10)
    assert labels.T.astype(int).tolist() == [[0, 0, 0, 0, 1, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1, 0, 1, 1, 1, 1]]


def test_marks_before_the_first_line_and_windows_ends_do_not_count(folder: Path):
    before = read_kaldi_folder(folder)
    for name in ("wav.scp", "reco2dur", "segments", "utt2spk"):
        (folder / name).write_bytes(("\ufeff" + (folder / name).read_text().replace("\n", "\r\n")).encode())
    assert [(each.name, each.source, each.speakers) for each in read_kaldi_folder(folder)] == [
        (each.name, each.source, each.speakers) for each in before
    ]


def test_audio_beside_the_lists(folder: Path):
    (folder / "wav.scp").unlink()
    (folder / "audio").rename(folder / "wav")
    assert read_kaldi_folder(folder)[0].source == str(folder / "wav/a.wav")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (replace("segments", "0.4 0.9", "0.4 1.9"), r"'a-2' \(line 2 of .*segments\) ends at 1.9 s, beyond the end of 'a', which has 1 s"),
        (replace("segments", "0.4 0.9", "0.9 0.4"), "'a-2' .* does not end after its start"),
        (replace("segments", "0.4 0.9", "x 0.9"), "line 2 of .*segments has 'x' where a number of seconds belongs"),
        (replace("segments", "a-2 a 0.4", "a-2 0.4"), "line 2 of .*segments has 3 fields, not 4"),
        (replace("segments", "a-2 a ", "a-2 c "), "is about 'c', which .*reco2dur does not have"),
        (replace("utt2spk", "a-2 abe\n", ""), "utt2spk has no speaker for the segment 'a-2'"),
        (replace("utt2spk", "a-3 zoe", "a-3 eve"), r"'a' of .* has 3 speakers, more than num_speakers \(2\)"),
        (replace("reco2dur", "b 1.0", "b/c 1.0"), "line 2 of .*reco2dur names the recording 'b/c'; an id is .*, without '/'"),
        (replace("reco2dur", "a 1.0", "a nan"), "line 1 of .*reco2dur has 'nan'"),
        (replace("wav.scp", "b ", "c "), "1 recordings of .*reco2dur have no audio in wav.scp, 'b' among them"),
        (remove("audio/b.wav"), "names 2 audio files, 1 of which do not exist, such as /.*/audio/b.wav"),
        (lambda folder: (folder / "wav.scp").write_text("a none.wav\nb /b.wav\n"), r"2 of which do .*, such as none.wav \(below /.*\)"),
        (replace("wav.scp", "a.wav", "a.wav sox - |"), "line 1 of .*wav.scp is a command .*not run unless datarc.allow_pipes is true"),
        (lambda folder: (folder / "wav.scp").write_text("a -\nb -\n"), "line 1 of .*wav.scp reads standard input"),
        (empty("segments"), "segments names no segment"),
        (empty("reco2dur"), "reco2dur names no recording"),
        (remove("utt2spk"), "there is no file .*utt2spk"),
        (remove("reco2dur"), "there is no file .*reco2dur"),
        (remove("wav.scp"), r"has neither wav.scp nor audio in wav/"),
    ],
)
def test_what_is_refused(folder: Path, change: Callable[[Path], None], says: str):
    change(folder)
    with pytest.raises(DataError, match=f"^test_dir: .*{says}"):
        read_kaldi_folder(folder, "test_dir", most_speakers=2)


def test_no_folder(tmp_path: Path):
    with pytest.raises(DataError, match=r"does not exist; preprocess/prepare_diarization.py makes it"):
        read_kaldi_folder(tmp_path / "none")


def test_audio_that_is_not_what_the_lists_say(folder: Path):
    recording = read_kaldi_folder(folder)[0]
    assert len(read_samples(recording, 16000, 8000, 8400)) == 8400  # 25 ms too long: rounded durations
    with pytest.raises(DataError, match=r"recording 'a': .*a.wav ends after 1 s, reco2dur says 1 s"):
        read_samples(recording, 16000, 8000, 16000)
    (folder / "audio/a.wav").unlink()
    with pytest.raises(DataError, match=r"recording 'a': .* does not exist"):
        read_samples(recording, 16000, 0, 100)


def test_commands_that_are_allowed(folder: Path):
    (folder / "wav.scp").write_text(f"a cat {folder}/audio/a.wav |\nb false |\n")
    first, second = read_kaldi_folder(folder, pipes=True)
    assert np.allclose(read_samples(first, 16000, 100, 1000), 0.25, atol=1e-4)
    assert len(read_samples(first, 8000, 0, 8000)) == 8000
    with pytest.raises(DataError, match=r"recording 'b': the command 'false' ends with status 1"):
        read_samples(second, 16000, 0, 1)
    (folder / "wav.scp").write_text("a echo hello |\nb echo hello |\n")
    with pytest.raises(DataError, match="writes no audio"):
        read_samples(read_kaldi_folder(folder, pipes=True)[0], 16000, 0, 1)


def test_other_sample_rates(folder: Path):
    save_audio(folder / "audio/a.wav", np.sin(np.arange(44100) / 10), 44100)
    dataset = DiarizationDataset(read_kaldi_folder(folder), Framing(16000, 160, 60, 2), whole=True)
    assert [len(wav) for wav, *_ in dataset[0]] == [9600, 6400]


def test_a_last_chunk_of_one_frame(folder: Path):
    """10 ms, of which no upstream makes a frame, are prolonged by silence."""
    dataset = DiarizationDataset(read_kaldi_folder(folder), Framing(16000, 160, 99, 2))
    wav, labels, place = dataset[1][0]
    assert (len(wav), len(labels), place) == (480, 1, ("a", 99))
    assert not wav[160:].any()
