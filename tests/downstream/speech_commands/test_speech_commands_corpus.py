"""Which clips belong to which split; reading them; wrong corpora."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from downstream.speech_commands.corpus import (
    CLASSES,
    LABELS,
    NOISES,
    RANDOM,
    SILENCE,
    Clip,
    archive_clips,
    development_clips,
    part_of,
    percentage,
)
from downstream.speech_commands.dataset import SpeechCommandsDataset, read_clip
from tests.downstream.speech_commands.layouts import write_clips
from utility.errors import DataError
from utility.training.sampling import balanced_weights

TRAIN, VALID, TEST = "0a7e91e7_nohash_0.wav", "7456a633_nohash_0.wav", "e03eed45_nohash_0.wav"


def short(clip: Clip) -> str:
    path = Path(clip.path)
    return f"{path.parent.name}/{path.name}"


@pytest.fixture
def recorded(golden, tmp_path: Path) -> tuple[dict, Path]:
    folder = golden("tasks/ks/split_labels_weights")
    params = json.loads((folder / "params.json").read_text())
    for kind in ("train", "test"):
        write_clips(tmp_path / kind, (f"{d}/{f}" for d, files in params[f"{kind}_dirs"].items() for f in files if f.endswith(".wav")), 2)
    (tmp_path / "train/yes/notes.txt").write_text("no audio")
    return json.loads((folder / "outputs.json").read_text()), tmp_path


@pytest.mark.parametrize(("part", "key"), [("train", "train"), ("valid", "valid")])
def test_recorded_split(recorded, part: str, key: str):
    expected, root = recorded
    clips = development_clips(root / "train", part)
    weights = balanced_weights([clip.label for clip in clips])
    found = {
        short(clip): {"class": CLASSES[clip.label], "label": clip.label, "sample_weight": weight}
        for clip, weight in zip(clips, weights, strict=True)
    }
    assert found == expected[f"{key}_dataset"]
    assert len(clips) == expected[f"{key}_size"]
    assert list(found) == sorted(found)


def test_recorded_hash(recorded):
    expected, _ = recorded
    assert list(CLASSES) == expected["classes"]
    assert expected["percentage_hash"]
    for name, value in expected["percentage_hash"].items():
        file = name.split("/")[1]
        assert percentage(file.split("_nohash_")[0]) == value
        assert part_of(file) == ("valid" if value < 10 else "test" if value < 20 else "train")


def test_recorded_test_folders(recorded):
    expected, root = recorded
    with pytest.raises(DataError, match=r"bed is none of the 12 classes.*it must be the unpacked test archive"):
        archive_clips(root / "test")
    (root / "test/bed/deadbeef_nohash_0.wav").unlink()
    found = {short(clip): {"class": CLASSES[clip.label], "label": clip.label} for clip in archive_clips(root / "test")}
    assert found == {name: value for name, value in expected["test_dataset"].items() if not name.startswith("bed/")}


def test_exhaustive_dev_cuts_noises_into_seconds(tmp_path: Path):
    write_clips(tmp_path, [f"yes/{VALID}", f"yes/{TRAIN}"])
    write_clips(tmp_path, [f"{NOISES}/a.wav"], samples=40000)
    clips = development_clips(tmp_path, "valid", exhaustive=True)
    assert [(short(clip), clip.second) for clip in clips] == [(f"{NOISES}/a.wav", 0), (f"{NOISES}/a.wav", 1), (f"yes/{VALID}", None)]
    assert [len(read_clip(clip)) for clip in clips] == [16000, 16000, 1600]


def test_words_of_version_two_are_unknown(tmp_path: Path):
    write_clips(tmp_path, [f"{word}/{TRAIN}" for word in ("backward", "forward", "learn", "go")])
    (tmp_path / "testing_list.txt").write_text("go/x.wav\n")
    write_clips(tmp_path, [f".hidden/{TRAIN}", f"go/._{TRAIN}"])
    assert Counter(CLASSES[clip.label] for clip in development_clips(tmp_path, "train")) == {"_unknown_": 3, "go": 1}


@pytest.mark.parametrize("files", [[], [f"yes/{TEST}", f"yes/{VALID}"], [f"{NOISES}/a.wav"], [f"{TRAIN}"]])
def test_corpus_without_training_clips(tmp_path: Path, files: list[str]):
    write_clips(tmp_path, files)
    with pytest.raises(DataError, match=r"speech_commands_root: .* has no clip of the train part"):
        development_clips(tmp_path, "train")


def test_missing_folders(tmp_path: Path):
    with pytest.raises(DataError, match=r"datarc\.speech_commands_root: folder .*nowhere does not exist"):
        development_clips(tmp_path / "nowhere", "train")
    with pytest.raises(DataError, match=r"datarc\.speech_commands_test_root: folder .*nowhere does not exist"):
        archive_clips(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"speech_commands_test_root: .* has no clip as"):
        archive_clips(tmp_path)


@pytest.mark.parametrize("case", ["ks_word", "resample_and_mixdown"])
def test_recorded_effects(golden, tmp_path: Path, case: str):
    folder = golden(f"tasks/ks/sox_effects_{case}")
    rate = json.loads((folder / "params.json").read_text())["sample_rate"]
    soundfile.write(tmp_path / "clip.wav", np.load(folder / "inputs.npz")["wav"], rate)
    expected = np.load(folder / "outputs.npz")["ks" if "resample" in case else "ks_and_qbe_dtw"][0]
    wav = read_clip(Clip(str(tmp_path / "clip.wav"), 0))
    assert wav.shape == expected.shape
    np.testing.assert_allclose(wav, expected, rtol=0, atol=3e-3 if "resample" in case else 2e-5)


@pytest.mark.parametrize("rate", [16000, 8000])
def test_random_second_of_a_noise(tmp_path: Path, rate: int):
    path = tmp_path / NOISES / "ramp.wav"
    path.parent.mkdir()
    soundfile.write(path, np.linspace(0, 0.9, 3 * rate), rate)
    clip, firsts = Clip(str(path), LABELS[SILENCE], RANDOM), []
    for seed in range(20):
        random.seed(seed)
        wav = read_clip(clip)
        assert len(wav) == 16000
        firsts.append(float(wav[100]))
    random.seed(0)
    assert read_clip(clip)[100] == firsts[0]
    assert len(set(firsts)) == 20
    assert max(firsts) - min(firsts) > 0.2


def test_short_noises_and_clips_stay_short(tmp_path: Path):
    write_clips(tmp_path, [f"{NOISES}/short.wav"], samples=5000)
    assert len(read_clip(Clip(str(tmp_path / NOISES / "short.wav"), 11, RANDOM))) == 5000


def test_item(tmp_path: Path):
    write_clips(tmp_path, [f"yes/{TRAIN}"])
    dataset = SpeechCommandsDataset(development_clips(tmp_path, "train"))
    wavs, labels, names = dataset.collate_fn([dataset[0]])
    assert wavs[0].dtype.is_floating_point
    assert wavs[0].mean().item() == pytest.approx(0.5 * 10 ** (-3 / 20), abs=1e-4)
    assert (labels, names) == ([0], [f"yes-{TRAIN}"])


def test_broken_file_is_named(tmp_path: Path):
    (tmp_path / "yes").mkdir()
    (tmp_path / "yes" / TRAIN).write_bytes(b"RIFF nonsense")
    with pytest.raises(DataError, match=TRAIN):
        SpeechCommandsDataset(development_clips(tmp_path, "train"))[0]
