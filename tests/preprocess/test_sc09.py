"""SC09: synthetic, and out of Speech Commands; piano pieces."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from downstream.blocks import sc09 as tasks
from preprocess.prepare_sc09_from_speech_commands import DIGITS, LISTS, main, prepare
from preprocess.synthesis import sc09, youtubemix
from preprocess.synthesis.corpora import synthesize
from utility.errors import DataError


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    pytest.importorskip("espeakng_loader")
    return synthesize("sc09", tmp_path_factory.mktemp("synthetic"), "tiny") / "sc09"


def test_the_synthetic_corpus_has_the_official_layout(corpus):
    assert sorted(p.name for p in corpus.iterdir()) == sorted([*DIGITS, "testing_list.txt", "validation_list.txt"])
    listed = [set((corpus / f"{part}_list.txt").read_text().split()) for part in ("validation", "testing")]
    files = {p.relative_to(corpus).as_posix() for p in corpus.rglob("*.wav")}
    assert listed[0] | listed[1] < files
    assert not listed[0] & listed[1]
    for digit in DIGITS:
        assert all(any(line.startswith(f"{digit}/") for line in part) for part in listed)
    assert {soundfile.info(corpus / name).samplerate for name in files} == {16000}


def test_programs_and_tasks_mean_the_same_corpus():
    """Neither may import the other, and so each names the digits and the lists."""
    assert DIGITS == sc09.DIGITS == tasks.DIGITS
    assert set(LISTS) == set(tasks.LISTS.values())


@pytest.fixture
def commands(tmp_path):
    for word in (*DIGITS, "bed"):
        for take in range(3):
            path = tmp_path / "commands" / word / f"{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.zeros(10), 16000)
    for take, part in enumerate(("validation", "testing")):
        lines = "".join(f"{word}/{take}.wav\n" for word in ("bed", *DIGITS))
        (tmp_path / "commands" / f"{part}_list.txt").write_text(lines)
    return tmp_path / "commands"


@pytest.mark.parametrize("copy", [False, True])
def test_it_comes_out_of_speech_commands(commands, tmp_path, copy):
    wanted = {"training": 10, "validation": 10, "testing": 10}
    out = tmp_path / "sc09"
    assert prepare(commands, out, copy) == wanted
    assert prepare(commands, out, copy) == wanted  # once more
    assert sorted(p.name for p in out.iterdir()) == sorted([*DIGITS, "testing_list.txt", "validation_list.txt"])
    assert (out / "zero").is_symlink() != copy
    assert (out / "testing_list.txt").read_text().split() == [f"{digit}/1.wav" for digit in DIGITS]


def test_a_byte_order_mark_hides_no_recording(commands, tmp_path):
    listed = commands / "testing_list.txt"
    listed.write_bytes(b"\xef\xbb\xbf" + listed.read_bytes().removeprefix(b"bed/1.wav\n").replace(b"\n", b"\r\n"))
    assert prepare(commands, tmp_path / "sc09") == {"training": 10, "validation": 10, "testing": 10}


def test_what_is_no_speech_commands_is_refused(commands, tmp_path, capsys):
    (commands / "validation_list.txt").unlink()
    assert main([str(commands), str(tmp_path / "out")]) == 2
    assert "validation_list.txt missing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_listed_recordings_that_are_missing_are_said(commands, tmp_path, capsys):
    (commands / "two" / "1.wav").unlink()
    assert main([str(commands), str(tmp_path / "out")]) == 2
    assert "testing_list.txt names 1 recordings that are not there, such as two/1.wav" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_copy_that_fails_is_said(commands, tmp_path, capsys):
    (commands / "two" / "lost.wav").symlink_to("nowhere")
    assert main([str(commands), str(tmp_path / "out"), "--copy"]) == 2
    assert "two/lost.wav cannot be copied to" in capsys.readouterr().err


def test_a_recording_that_is_listed_twice_counts_once(commands, tmp_path):
    (commands / "testing_list.txt").write_text((commands / "testing_list.txt").read_text() * 2)
    assert prepare(commands, tmp_path / "sc09") == {"training": 10, "validation": 10, "testing": 10}


def test_what_counts_as_a_recording(commands, tmp_path):
    (commands / "six" / "2.wav").rename(commands / "six" / "2.WAV")
    (commands / "six" / "._2.wav").touch()
    assert prepare(commands, tmp_path / "sc09") == {"training": 10, "validation": 10, "testing": 10}


@pytest.mark.parametrize("out", ["file", "x" * 300])
def test_a_place_that_cannot_be_a_folder(commands, tmp_path, capsys, out):
    (tmp_path / "file").touch()
    assert main([str(commands), str(tmp_path / out)]) == 2
    assert str(tmp_path / out) in capsys.readouterr().err


@pytest.mark.parametrize("place", [".", "zero/sc09", "../commands"])
@pytest.mark.parametrize("copy", [["--copy"], []])
def test_the_corpus_is_not_written_into_itself(commands, capsys, place, copy):
    before = sorted(commands.rglob("*"))
    assert main([str(commands), str(commands / place), *copy]) == 2
    assert "is part of the copy of Speech Commands" in capsys.readouterr().err
    assert sorted(commands.rglob("*")) == before


def test_what_is_in_the_way_is_left_alone(commands, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "zero").write_text("mine")
    with pytest.raises(DataError, match="exists already"):
        prepare(commands, tmp_path / "out")
    assert (tmp_path / "out" / "zero").read_text() == "mine"


def test_pieces_are_notes_of_their_key():
    first, again, other = youtubemix.piece(0, 0), youtubemix.piece(0, 0), youtubemix.piece(0, 1)
    assert first.shape == (160000,)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    note = youtubemix.struck(69, 1.0)
    spectrum = np.abs(np.fft.rfft(note))
    assert abs(spectrum.argmax() - 440) <= 1  # Hz, of a second
    assert np.abs(note[-1600:]).max() < 0.2 * np.abs(note).max()
