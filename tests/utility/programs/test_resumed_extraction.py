"""extract_features.py goes on where it was killed, and never mixes the features of two settings in one folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from filelock import FileLock

from tests.upstream.frames import tiny
from utility import extract_features
from utility.experiment.extraction import LINES, LOCK, SETTINGS, feature_folder
from utility.experiment.killpoints import VARIABLE

COUNT = 4


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A corpus in ``wavs``, and two checkpoints of APC."""
    folder = tmp_path_factory.mktemp("extraction")
    noise = np.random.default_rng(0).normal(0, 0.1, (COUNT, 3000))
    (folder / "wavs/sub").mkdir(parents=True)
    for index, wav in enumerate(noise):
        soundfile.write(folder / f"wavs/{'sub/' if index % 2 else ''}{index}.wav", wav, 16000)
    content = tiny.content("apc")
    tiny.saved(content, folder / "a.pt")
    content["model"]["postnet.bias"] = content["model"]["postnet.bias"] + 1
    tiny.saved(content, folder / "b.pt")
    return folder


@pytest.fixture
def words(place: Path, tmp_path: Path) -> list[str]:
    """The command line of an extraction into ``tmp_path/o``."""
    return words_for(place / "a.pt", place / "wavs", tmp_path / "o")


def words_for(ckpt: Path, wavs: Path, output: Path) -> list[str]:
    return ["apc_local", "-k", str(ckpt), "--files", str(wavs), "--output_dir", str(output), "--device", "cpu"]


def features(folder: Path) -> dict[str, list[torch.Tensor]]:
    return {path.relative_to(folder).as_posix(): torch.load(path) for path in sorted(folder.rglob("*.pt"))}


def assert_same(ours: Path, theirs: Path) -> None:
    one, other = features(ours), features(theirs)
    assert list(one) == list(other) and len(one) == COUNT
    assert all(torch.equal(a, b) for name in one for a, b in zip(one[name], other[name], strict=True))


def outcome(words: list[str], capsys) -> tuple[int, str, str]:
    status = extract_features.main(words)
    return status, *capsys.readouterr()


@pytest.mark.parametrize("point", ["extraction.written:2", "extraction.renamed:3"])
def test_a_killed_extraction_goes_on(point, place, words, repo, tmp_path, capsys):
    command = [sys.executable, "utility/extract_features.py", *words]
    done = subprocess.run(command, cwd=repo, env={**os.environ, VARIABLE: point}, capture_output=True, text=True, timeout=120)
    assert done.returncode == -9, done.stderr
    whole = features(tmp_path / "o")  # each can be read
    assert len(whole) == (1 if "written" in point else 3)
    times = {name: (tmp_path / "o" / name).stat().st_mtime_ns for name in whole}
    with (tmp_path / "o" / LINES).open("a") as lines:
        lines.write('{"name": "3.p')  # what a kill in mid-line leaves
    status, out, err = outcome(words, capsys)
    kept = 1 if "written" in point else 2  # the third has its name, but no line yet
    assert status == 0 and f"{kept} of {COUNT} files have their features already" in err
    assert sum((tmp_path / "o" / name).stat().st_mtime_ns == time for name, time in times.items()) == kept
    status, again, err = outcome(words, capsys)
    assert status == 0 and again == out and f"{COUNT} of {COUNT} files have" in err
    assert not list((tmp_path / "o").rglob("*tmp*"))
    assert extract_features.main(words_for(place / "a.pt", place / "wavs", tmp_path / "whole")) == 0
    assert_same(tmp_path / "o", tmp_path / "whole")


def others(place: Path) -> list[tuple[Callable[[list[str]], list[str]], str]]:
    return [
        (lambda words: [*words, "--layer", "1"], "(layers None, not [1])"),
        (lambda words: [str(place / "b.pt") if word == str(place / "a.pt") else word for word in words], "ckpt"),
        (lambda words: ["fbank", *words[3:]], "upstream 'apc_local', not 'fbank'"),
        (lambda words: [*words, "--batch_independent", "True"], None),  # the same features in other words
    ]


def test_another_setting_is_refused_with_what_to_do(place, words, tmp_path, capsys):
    assert extract_features.main(words) == 0
    before = (tmp_path / "o" / LINES).read_text()
    for change, sentence in others(place):
        status, _, err = outcome(change(words), capsys)
        assert status == (2 if sentence else 0)
        if sentence:
            (line,) = err.splitlines()
            assert sentence in line and "give another --output_dir, or delete the folder" in line
    assert (tmp_path / "o" / LINES).read_text() == before


def test_a_moved_checkpoint_is_the_same(place, words, tmp_path, capsys):
    assert extract_features.main(words) == 0
    (tmp_path / "moved.pt").write_bytes((place / "a.pt").read_bytes())
    status, _, err = outcome(words_for(tmp_path / "moved.pt", place / "wavs", tmp_path / "o"), capsys)
    assert status == 0 and f"{COUNT} of {COUNT} files" in err


def test_a_damaged_feature_file_and_a_changed_recording_are_done_again(place, tmp_path, capsys):
    wavs = tmp_path / "wavs"
    wavs.mkdir()
    for name in ("x", "y"):
        soundfile.write(wavs / f"{name}.wav", np.random.default_rng(1).normal(0, 0.1, 3000), 16000)
    words = words_for(place / "a.pt", wavs, tmp_path / "o")
    assert extract_features.main(words) == 0
    os.truncate(tmp_path / "o/x.pt", 10)
    soundfile.write(wavs / "y.wav", np.random.default_rng(2).normal(0, 0.1, 5000), 16000)
    assert extract_features.main(words) == 0
    assert "have their features already" not in capsys.readouterr().err
    assert torch.load(tmp_path / "o/y.pt")[0].shape[0] > torch.load(tmp_path / "o/x.pt")[0].shape[0]


def test_recordings_of_the_same_names_elsewhere_are_refused(place, tmp_path, capsys):
    for folder, samples in (("one", 3000), ("two", 4000)):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "x.wav", np.zeros(samples), 16000)
    assert extract_features.main(words_for(place / "a.pt", tmp_path / "one", tmp_path / "o")) == 0
    status, _, err = outcome(words_for(place / "a.pt", tmp_path / "two", tmp_path / "o"), capsys)
    assert status == 2 and f"x.pt holds the features of {tmp_path / 'one/x.wav'}, not of" in err


def test_bad_recordings_are_named_and_the_others_are_there(place, tmp_path, capsys):
    wavs = tmp_path / "wavs"
    wavs.mkdir()
    (wavs / "a.wav").write_bytes(b"no audio")
    soundfile.write(wavs / "b.wav", np.zeros(10), 16000)
    soundfile.write(wavs / "c.wav", np.random.default_rng(0).normal(0, 0.1, 3000), 16000)
    status, out, err = outcome(words_for(place / "a.pt", wavs, tmp_path / "o"), capsys)
    assert status == 2 and out == f"{tmp_path / 'o/c.pt'}\n"
    first, second, last = err.splitlines()
    assert str(wavs / "a.wav") in first and str(wavs / "b.wav") in second and "item 0" not in second
    assert last == "2 of 3 files have no features, for the reasons above"


def test_a_folder_in_use_and_features_of_unknown_origin_are_refused(words, tmp_path, capsys):
    (tmp_path / "o").mkdir()
    with FileLock(tmp_path / "o" / LOCK):
        status, _, err = outcome(words, capsys)
    assert status == 2 and f"another process extracts into {tmp_path / 'o'}" in err
    (tmp_path / "o/0.pt").touch()
    status, _, err = outcome(words, capsys)
    assert status == 2 and "0.pt is there already, and without" in err
    (tmp_path / "o/0.pt").unlink()
    assert extract_features.main(words) == 0
    (tmp_path / "o" / SETTINGS).write_text("{")
    capsys.readouterr()
    status, _, err = outcome(words, capsys)
    assert status == 2 and "extraction.json is damaged" in err


def test_a_wrong_layer_leaves_no_settings_behind(words, tmp_path):
    assert extract_features.main([*words, "--layer", "9"]) == 2
    assert extract_features.main(words) == 0
    assert json.loads((tmp_path / "o" / SETTINGS).read_text())["layers"] is None


def test_a_recording_of_the_same_size_that_was_written_later_is_done_again(tmp_path):
    audio, target = tmp_path / "a.wav", tmp_path / "o/a.pt"
    audio.write_bytes(b"one")
    with feature_folder(tmp_path / "o", {"identity": "x", "layers": None}, [target]) as folder:
        folder.add(target, audio, lambda path: path.write_bytes(b"features"))
    with feature_folder(tmp_path / "o", {"identity": "x", "layers": None}, [target]) as folder:
        assert folder.holds(target, audio)
        audio.write_bytes(b"two")
        os.utime(audio, ns=(0, 1))
        assert not folder.holds(target, audio)
