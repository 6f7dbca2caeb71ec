"""Which recordings belong together, and what is said of those that do not."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from downstream.blocks.enhancement.dataset import PairDataset, load_pair
from downstream.blocks.enhancement.pairs import PairedFiles, pair_folders, pair_lists
from downstream.blocks.enhancement.splits import cut_clips, cut_speakers, draw
from utility.audio.io import save_audio
from utility.errors import ConfigError, DataError, UnknownNameError


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return folder


def test_equal_names_belong_together(tmp_path):
    noisy, clean = touch(tmp_path / "noisy", "b.wav", "a.wav", "notes.txt"), touch(tmp_path / "clean", "a.wav", "b.wav", ".hidden.wav")
    assert pair_folders(noisy, clean) == [PairedFiles(n, f"{noisy}/{n}.wav", f"{clean}/{n}.wav") for n in ("a", "b")]


def test_without_equal_names_the_order_counts_and_is_announced(tmp_path, caplog):
    noisy, clean = touch(tmp_path / "noisy", "n2.flac", "n1.flac"), touch(tmp_path / "clean", "c1.wav", "c2.wav")
    with caplog.at_level(logging.WARNING):
        found = pair_folders(noisy, clean)
    assert [(Path(p.noisy).name, Path(p.clean).name) for p in found] == [("n1.flac", "c1.wav"), ("n2.flac", "c2.wav")]
    assert "paired by their sorted order" in caplog.text


@pytest.mark.parametrize(
    ("noisy", "clean", "extension", "sentence"),
    [
        (["a.wav", "b.wav"], ["a.wav"], None, "1 of .*noisy .such as b. have no counterpart"),
        (["a.wav", "b.wav"], ["a.wav", "c.wav"], None, "such as b.*such as c"),
        (["x.wav", "y.wav"], ["a.wav"], None, "holds 2 files and .* 1, and no name is in both"),
        (["a.wav", "b.flac"], ["a.wav"], None, "several formats .1 .*wav, 1 .*flac"),
        (["a.flac"], ["a.flac"], ".wav", "holds no file that ends in .wav; its audio files end in .flac"),
        ([], ["a.wav"], None, "holds no file that ends in .wav"),
    ],
)
def test_what_does_not_pair_is_refused(tmp_path, noisy, clean, extension, sentence):
    with pytest.raises(DataError, match=sentence):
        pair_folders(touch(tmp_path / "noisy", *noisy), touch(tmp_path / "clean", *clean), extension)
    with pytest.raises(DataError, match="does not exist"):
        pair_folders(tmp_path / "nowhere", tmp_path / "clean")
    with pytest.raises(DataError, match=r"are both to come from .*noisy: they need a folder each"):
        pair_folders(tmp_path / "noisy", tmp_path / "clean/../noisy")


def test_an_extension_without_its_dot(tmp_path):
    assert [pair.name for pair in pair_folders(touch(tmp_path / "noisy", "a.wav"), touch(tmp_path / "clean", "a.wav"), "wav")] == ["a"]


def test_kaldi_lists(tmp_path):
    folder = touch(tmp_path / "audio", "a.wav", "b.wav")
    lists = [tmp_path / name for name in ("noisy.scp", "clean.scp")]
    for path in lists:
        path.write_text(f"u2 {folder}/b.wav\nu1  {folder}/a.wav\n\n")
    assert [pair.name for pair in pair_lists(*lists)] == ["u1", "u2"]
    for text, sentence in [
        ("u1 cat x.wav |\n", "line 1 .* is a command"),
        ("u1\n", "names no file"),
        (f"u1 {folder}/a.wav\nu1 {folder}/b.wav\n", "line 2 names 'u1' a second time"),
        (f"u1 {folder}/a.wav\n", "1 of .*noisy.scp .such as u2. have no counterpart"),
        (f"u1 {folder}/c.wav\nu2 {folder}/a.wav\n", "2 recordings, 1 of which do not exist, such as .*c.wav"),
        ("", "names no recording"),
    ]:
        lists[1].write_text(text)
        with pytest.raises(DataError, match=sentence):
            pair_lists(*lists)


def named(*names: str) -> list[PairedFiles]:
    return [PairedFiles(name, name, name) for name in names]


def test_validation_by_speaker():
    pairs = named(*(f"p{speaker}_{clip:03}" for speaker in range(220, 230) for clip in range(4)))
    training, validation = cut_speakers(pairs, None, 1, ["p226"])
    assert {p.name[:4] for p in validation} == {"p226"}
    assert len(training) == 36
    training, validation = cut_speakers(pairs, 6, 1)
    assert len(validation) == 6
    held = {p.name[:4] for p in validation}
    assert len(held) == 2
    assert not held & {p.name[:4] for p in training}
    assert cut_speakers(pairs, 6, 1) == (training, validation)
    assert cut_speakers(pairs, 0.15, 1) == (training, validation)
    with_field = [*pairs, *named("p287_001", "p287_002")]
    assert {p.name[:4] for p in cut_speakers(with_field, None, 5)[1]} == {"p226", "p287"}
    with pytest.raises(UnknownNameError, match="p2266"):
        cut_speakers(pairs, None, 1, ["p2266"])
    with pytest.raises(ConfigError, match="do not tell who speaks"):
        cut_speakers(named("1", "2", "3"), None, 1)
    with pytest.raises(DataError, match="none to train on"):
        cut_speakers(pairs, None, 1, [f"p{n}" for n in range(220, 230)])


def test_impossible_parts():
    with pytest.raises(DataError, match="num_test_samples is 4, but there are only 3"):
        draw([1, 2, 3], 4, 0, "num_test_samples")
    for none in (0, 0.3):
        with pytest.raises(DataError, match=f"num_test_samples {none} of 3 recordings is none"):
            draw([1, 2, 3], none, 0, "num_test_samples")
    assert sorted(draw([1, 2, 3], 1.0, 0)) == [1, 2, 3]
    with pytest.raises(DataError, match="takes 3 of 3"):
        cut_clips([1, 2, 3], 3, 0)


@pytest.fixture
def pair(tmp_path) -> PairedFiles:
    torch.manual_seed(0)
    clean = 0.1 * torch.randn(16000)
    for name, wav in (("clean", clean), ("noisy", clean + 0.01 * torch.randn(16000))):
        save_audio(tmp_path / f"{name}.wav", wav.numpy(), 16000, "FLOAT")
    return PairedFiles("one", str(tmp_path / "noisy.wav"), str(tmp_path / "clean.wav"))


def test_waveforms_of_a_pair(pair, tmp_path):
    noisy, clean = load_pair(pair, 16000, 400)
    assert noisy.shape == clean.shape == (16000,)
    assert 15 < -10 * torch.log10((noisy - clean).square().sum() / clean.square().sum()) < 25
    assert len(load_pair(pair, 8000)[0]) == 8000
    crops = PairDataset([pair], 16000, longest=1000)
    first, second = crops[0], crops[0]
    assert len(first[0]) == len(first[1]) == 1000
    assert not torch.equal(first[0], second[0])
    place = (noisy.unfold(0, 1000, 1) == first[0]).all(1).nonzero().item()
    assert torch.equal(first[1], clean[place : place + 1000])


def test_waveforms_that_are_refused(pair, tmp_path):
    with pytest.raises(DataError, match=r"at 16000 Hz, below the 48000 Hz of the task"):
        load_pair(pair, 48000)
    with pytest.raises(DataError, match="16000 samples at 16000 Hz, fewer than a window of 16001"):
        load_pair(pair, 16000, 16001)
    save_audio(tmp_path / "clean.wav", torch.zeros(16000).numpy(), 16000)
    with pytest.raises(DataError, match=r"clean recording .*clean\.wav is silent"):
        load_pair(pair, 16000)
    save_audio(tmp_path / "clean.wav", torch.ones(13000).numpy(), 16000)
    with pytest.raises(DataError, match=r"1\.00 s and .* 0\.81 s: they are no pair"):
        load_pair(pair, 16000)
