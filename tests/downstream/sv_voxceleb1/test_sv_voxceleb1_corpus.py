"""Which recordings are trained on, which trials there are, reading them; wrong corpora."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from downstream.blocks.voxceleb import read_trials, scan, speakers_of
from downstream.sv_voxceleb1 import audio
from downstream.sv_voxceleb1.audio import EFFECTS, is_longer, long_enough, read
from downstream.sv_voxceleb1.dataset import TrainingDataset, TrialDataset, name_of, training_set, trials_of
from tests.downstream.sv_voxceleb1.layouts import write_tones
from utility.audio.effects import apply_effects
from utility.audio.io import save_audio
from utility.errors import DataError
from utility.training import loading

FIELDS = ("datarc.file_path", "datarc.test_meta_data")
PATHS = ("id2/v/00001.wav", "id1/b/00001.wav", "id1/a/00002.wav", "id1/a/00001.wav")


@pytest.fixture
def wavs(tmp_path: Path) -> Path:
    """``dev/wav`` of three speakers, one of them with nothing that is long enough."""
    folder = tmp_path / "vox/dev/wav"
    write_tones(folder, PATHS)
    write_tones(folder, ["id0/v/00001.wav"], seconds=1.9)
    (folder / "id1/a/notes.txt").write_text("no audio")
    (folder / "id1/a/._00001.wav").write_bytes(b"")
    return folder


def kept(folder: Path, least: int, cache: Path) -> list[str]:
    return [recording.path for recording in long_enough(folder, list(scan(folder)), least, cache)]


@pytest.mark.parametrize("case", ["ks_word", "speech", "speech2"])
def test_recorded_effects(golden, tmp_path: Path, case: str):
    folder = golden(f"tasks/ks/sox_effects_{case}")
    rate = json.loads((folder / "params.json").read_text())["sample_rate"]
    soundfile.write(tmp_path / "clip.wav", np.load(folder / "inputs.npz")["wav"], rate)
    expected = np.load(folder / "outputs.npz")["sv"][0]
    assert len(read(tmp_path / "clip.wav")) == len(expected)
    np.testing.assert_allclose(read(tmp_path / "clip.wav"), expected, rtol=0, atol=2e-5)


@settings(max_examples=30, deadline=None)
@given(
    parts=st.lists(st.tuples(st.sampled_from([0.0, 0.0005, 0.002, 0.5]), st.integers(100, 20000)), min_size=1, max_size=8),
    least=st.integers(2000, 40000),
    rate=st.sampled_from([16000, 16000, 22050]),
)
def test_the_beginning_of_a_file_gives_the_same_answer(tmp_path_factory, parts: list, least: int, rate: int):
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("clip") / "clip.wav"
    wav = np.concatenate([level * rng.uniform(-1, 1, samples) for level, samples in parts]).astype(np.float32)
    save_audio(path, wav, rate)
    assert is_longer(path, least) == (len(read(path)) > least)


def test_most_files_are_read_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_tones(tmp_path, ["long.wav"], seconds=30)
    write_tones(tmp_path, ["short.wav"], seconds=1)
    monkeypatch.setattr(audio, "read", None)
    assert is_longer(tmp_path / "long.wav", 32000)
    assert not is_longer(tmp_path / "short.wav", 32000)


def test_recordings_in_the_order_of_their_paths(wavs: Path):
    assert [recording.path for recording in scan(wavs)] == ["id0/v/00001.wav", *sorted(PATHS)]
    assert speakers_of(wavs) == ["id0", "id1", "id2"]
    assert name_of("id1/a/00001.wav") == "id1-a-00001"


def test_short_recordings_are_left_out_and_their_speaker_keeps_its_index(wavs: Path, tmp_path: Path, caplog):
    found = training_set(str(tmp_path / "vox"), 32000, tmp_path / "cache", frozenset(), "file_path")
    assert [recording.path for recording in found.recordings] == sorted(PATHS)
    assert found.speakers == ["id0", "id1", "id2"]
    assert "1 of 5 recordings have at most 32000 samples" in caplog.text
    wav, name, speaker = TrainingDataset(found, None)[3]
    assert (len(wav), name, speaker) == (40000, "id2-v-00001", 2)


def test_the_limit_is_exclusive(wavs: Path, tmp_path: Path):
    samples = len(apply_effects(np.zeros(0, np.float32), 16000, EFFECTS)[0]) + len(read(wavs / PATHS[0]))
    assert kept(wavs, samples - 1, tmp_path / "a") == sorted(PATHS)
    assert kept(wavs, samples, tmp_path / "b") == []


def test_answers_are_remembered_until_a_file_or_a_setting_changes(wavs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cache, asked = tmp_path / "run/cache", []
    monkeypatch.setattr(audio, "is_longer", lambda path, least: bool(asked.append(Path(path).relative_to(wavs).as_posix()) or True))
    everything = ["id0/v/00001.wav", *sorted(PATHS)]

    def questions(least: int = 32000) -> list[str]:
        asked.clear()
        kept(wavs, least, cache)
        return list(asked)

    assert questions() == everything
    assert questions() == []
    os.utime(wavs / PATHS[0], ns=(1, 1))
    write_tones(wavs, ["id9/v/00001.wav"])
    assert questions() == [PATHS[0], "id9/v/00001.wav"]
    (wavs / PATHS[1]).unlink()
    assert questions() == []
    assert PATHS[1] not in kept(wavs, 32000, cache)
    assert len(questions(16000)) == 5
    monkeypatch.setattr(audio, "EFFECTS", EFFECTS[:3])
    assert len(questions(16000)) == 5


@pytest.mark.parametrize("cut", [1, 30])
def test_an_interrupted_cache_is_completed(wavs: Path, tmp_path: Path, cut: int):
    cache = tmp_path / "cache"
    kept(wavs, 32000, cache)
    whole = cache.read_bytes()
    cache.write_bytes(whole[:-cut])
    assert kept(wavs, 32000, cache) == sorted(PATHS)
    assert cache.read_bytes() == whole


@pytest.mark.parametrize("line", ["nonsense\n", "[1, 2]\n", "7\n", "\xff\n"])
def test_a_damaged_cache_is_made_anew(wavs: Path, tmp_path: Path, line: str):
    cache = tmp_path / "cache"
    kept(wavs, 32000, cache)
    whole = cache.read_bytes()
    cache.write_bytes(whole + line.encode("latin-1"))
    assert kept(wavs, 32000, cache) == sorted(PATHS)
    assert cache.read_bytes() == whole


def test_several_processes_give_the_same_answers(wavs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(audio, "_WORTH_PROCESSES", 1)
    monkeypatch.setattr(audio, "_CHUNK", 2)
    monkeypatch.setattr(loading, "usable_cores", lambda: 2)
    assert kept(wavs, 32000, tmp_path / "several") == sorted(PATHS)
    (wavs / PATHS[3]).write_bytes(b"RIFF nonsense")
    with pytest.raises(DataError, match=r"id1/a/00001\.wav cannot be read"):
        kept(wavs, 32000, tmp_path / "damaged")


def test_random_stretches(wavs: Path, tmp_path: Path):
    found = training_set(str(tmp_path / "vox"), 32000, tmp_path / "cache", frozenset(), "file_path")
    save_audio(wavs / PATHS[0], np.linspace(0.1, 0.9, 40000).astype(np.float32), 16000)
    dataset, firsts = TrainingDataset(found, 32000), set()
    for seed in range(10):
        random.seed(seed)
        wav = dataset[3][0]
        assert len(wav) == 32000
        firsts.add(round(wav[0].item(), 4))
    assert len(firsts) == 10
    random.seed(0)
    assert round(dataset[3][0][0].item(), 4) in firsts


def test_silent_recordings_of_trials_are_filled_up(tmp_path: Path):
    write_tones(tmp_path / "test/wav", ["id1/a/1.wav"])
    save_audio(tmp_path / "test/wav/id1/a/2.wav", np.zeros(16000, np.float32), 16000)
    (tmp_path / "list").write_text("1 id1/a/1.wav id1/a/2.wav\n\n")
    trials = trials_of(str(tmp_path), "test", str(tmp_path / "list"), FIELDS)
    (tone, name, samples), (silence, _, none) = (TrialDataset(trials, 3000)[item] for item in (0, 1))
    assert (len(tone), name, samples) == (40000, "id1-a-1", 40000)
    assert (len(silence), none) == (3000, 0)


def test_each_recording_of_the_trials_is_there_once(tmp_path: Path):
    write_tones(tmp_path / "test/wav", PATHS)
    lines = [f"1 {PATHS[3]} {PATHS[2]}", f"0 {PATHS[3]} {PATHS[0]}", f"1 {PATHS[2]} {PATHS[3]}", f"1 {PATHS[0]} {PATHS[0]}"]
    (tmp_path / "list").write_text("\r\n".join(lines))
    trials = trials_of(str(tmp_path), "test", str(tmp_path / "list"), FIELDS)
    assert trials.paths == [PATHS[3], PATHS[2], PATHS[0]]
    assert (trials.first.tolist(), trials.second.tolist()) == ([0, 0, 1, 2], [1, 2, 0, 2])
    assert trials.targets.tolist() == [True, False, True, True]
    assert trials.pair_names[1] == "id1-a-00001_id2-v-00001"


def test_the_official_trials_are_read(shared: Path):
    trials = read_trials(shared / "data/task_lists/sv_voxceleb1/voxceleb1_test_v2.txt", "test_meta_data")
    assert len(trials) == 37720
    assert sum(trial.target for trial in trials) == 18860
    assert len({path for trial in trials for path in trial[1:]}) == 4715
    assert len({path[:7] for trial in trials for path in trial[1:]}) == 40


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"datarc.test_meta_data: trial list .*list does not exist; .*fetch_lists"),
        ("\n \n", "trial list .* holds no trial"),
        ("1 a b\n2 a b\n", r"line 2 is '2 a b' and should be '1\|0"),
        ("1 a\n", "line 1 is '1 a'"),
        (f"1 {PATHS[0]} {PATHS[1]}\n0 {PATHS[0]} id3/x/1.wav\n", r"trial 2 .* names id3/x/1\.wav, which is not in .*1 of its 3 recordings"),
    ],
)
def test_wrong_lists(tmp_path: Path, content: str | None, sentence: str):
    write_tones(tmp_path / "test/wav", PATHS)
    if content is not None:
        (tmp_path / "list").write_text(content)
    with pytest.raises(DataError, match=sentence):
        trials_of(str(tmp_path), "test", str(tmp_path / "list"), FIELDS)


@pytest.mark.parametrize(
    ("files", "least", "without", "sentence"),
    [
        ((), 0, (), r"file_path: folder .*dev/wav does not exist"),
        (("id1/1.wav",), 0, (), "holds no <speaker>/<video>/<utterance>.wav"),
        (("id1/a/1.wav",), 0, ("id1",), "of another speaker"),
        (PATHS, 50000, (), "has 0 recordings of more than 50000 samples"),
        (PATHS[1:], 32000, (), "has 3 recordings .* of less than two speakers"),
    ],
)
def test_wrong_corpora(tmp_path: Path, files: tuple, least: int, without: tuple, sentence: str):
    write_tones(tmp_path / "dev/wav", files)
    with pytest.raises(DataError, match=sentence):
        training_set(str(tmp_path), least, tmp_path / "cache", frozenset(without), "file_path")
