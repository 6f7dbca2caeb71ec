"""What is read of a corpus, and how it becomes batches, against recorded items of the public code."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from downstream.audio_generation.data import corpora
from downstream.audio_generation.data.batches import IGNORED, Framing
from downstream.audio_generation.data.chunks import ChunkDataset, Chunking, ChunkOrder
from downstream.audio_generation.data.corpora import SPLITS, Corpus
from downstream.audio_generation.data.dataset import CodeDataset
from downstream.audio_generation.quantise import Quantiser
from downstream.blocks.sc09 import DIGITS, sc09_files
from tests.downstream.audio_generation import layouts
from tests.downstream.sc09_classifier import layouts as digits
from utility.errors import ConfigError, DataError, UnknownNameError

MUSIC = {"_name_": "qautoaudio", "sample_len": 800, "train_percentage": 0.88}
CASES = {
    "sc09_mulaw": ({"_name_": "sc09"}, Quantiser("mu-law"), {"powers": True}),
    "sc09_linear_pad": ({"_name_": "sc09"}, Quantiser("linear"), {"pad_len": 15, "powers": True}),
    "music_drop": (MUSIC | {"drop_last": True}, Quantiser("linear"), {}),
    "music_keep": (MUSIC, Quantiser("mu-law"), {"context_len": 100}),
}


@pytest.mark.parametrize("name", CASES)
def test_items_and_batches_are_those_recorded(golden, name):
    fields, quantiser, framing = CASES[name]
    corpus = Corpus.of({**fields, "path": str(golden("generation/dataset") / f"{name.split('_')[0]}_tree" / "data")}, "datarc")
    frame = Framing(quantiser.zero, **framing)
    with np.load(golden(f"generation/dataset/{name}") / "expected.npz") as expected:
        for split in SPLITS:
            dataset = CodeDataset(corpus.read(split), quantiser, 16000)
            assert len(dataset) == sum(key.startswith(f"{split}_") and key.endswith("_x") and "batch" not in key for key in expected)
            for number, (_, codes) in enumerate(dataset):
                x, y = frame.part(codes, 0, len(codes))
                np.testing.assert_array_equal(x, expected[f"{split}_{number}_x"])
                np.testing.assert_array_equal(y[frame.context_len :], expected[f"{split}_{number}_y"][:, 0])
            if f"{split}_batch_x" in expected:
                x, y = frame.batch([dataset[number][1] for number in range(3)])
                np.testing.assert_array_equal(x, expected[f"{split}_batch_x"])
                np.testing.assert_array_equal(y, expected[f"{split}_batch_y"][..., 0])


def test_chunks_of_truncated_backpropagation_are_those_recorded(golden):
    folder = golden("generation/nll/samplernn_tbptt")
    with np.load(folder / "inputs.npz") as inputs, np.load(folder / "expected.npz") as expected:
        codes = [torch.from_numpy(row[:, 0]) for row in inputs["y"]]
        chunking, frame = Chunking(64, 16), Framing(128, 15)
        x, y = frame.batch(codes[:2])
        starts = chunking.starts(y.size(1))
        assert len(starts) == expected["chunk_reset"].tolist().index(True, 1)
        for number, start in enumerate(starts):
            inputs_of, targets = chunking.window(x, y, start)
            alone = frame.window(codes[:2], start, start + chunking.chunk_len)
            assert [part.tolist() for part in alone] == [inputs_of.tolist(), targets.tolist()]
            assert max(part.untyped_storage().nbytes() for part in alone) <= 2 * 8 * (64 + 15)  # what goes through shared memory
            np.testing.assert_array_equal(inputs_of, expected[f"chunk{number}_x"])
            np.testing.assert_array_equal(targets, expected[f"chunk{number}_y"][..., 0])


def test_a_context_is_read_and_not_scored():
    x, y = Framing(128, context_len=2).batch([torch.arange(5), torch.arange(3)])
    assert x.tolist() == [[128, 0, 1, 2, 3], [128, 0, 1, 128, 128]]
    assert y.tolist() == [[IGNORED, IGNORED, 2, 3, 4], [IGNORED, IGNORED, 2, IGNORED, IGNORED]]


def test_batches_are_padded_to_what_the_network_takes():
    x, y = Framing(128, multiple=16).batch([torch.arange(20)])
    assert x.shape == y.shape == (1, 32)
    assert (y[0, 20:] == IGNORED).all()
    x, y = Framing(128, powers=True, multiple=16).batch([torch.zeros(9000, dtype=torch.int64)])
    assert x.shape == (1, 16000)


def test_another_rate_gives_parts_of_the_same_length(tmp_path):
    rng = np.random.default_rng(0)
    for name, rate in (("1.wav", 16000), ("2.wav", 44100), ("10.flac", 8000)):
        soundfile.write(tmp_path / name, rng.uniform(-1, 1, 2 * rate).astype(np.float32), rate)
    corpus = Corpus("qautoaudio", str(tmp_path), sample_len=10000, train_percentage=1.0)
    assert [(c.path.name, c.start, c.frames) for c in corpus.read("train")] == [
        (name, start, min(10000, 32000 - start)) for name in ("1.wav", "2.wav", "10.flac") for start in range(0, 32000, 10000)
    ]
    dataset = CodeDataset(corpus.read("train"), Quantiser(), 16000)
    assert [len(codes) for _, codes in dataset] == [10000, 10000, 10000, 2000] * 3


@pytest.mark.parametrize(("files", "sizes"), [(241, (212, 14, 15)), (4328, (3808, 260, 260))], ids=["youtubemix", "beethoven"])
def test_the_official_splits_of_music(monkeypatch, files, sizes):
    paths = [Path(f"{number}.wav") for number in range(files)]
    monkeypatch.setattr(corpora, "find_audio", lambda root: sorted(paths))
    parts = [corpora.READERS["qautoaudio"](Corpus("qautoaudio", "."), Path(), split) for split in SPLITS]
    assert tuple(map(len, parts)) == sizes
    assert [path for part in parts for path in part] == paths


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        Corpus("sc09", str(tmp_path / "none")).read("train")
    with pytest.raises(DataError, match="none of the folders zero"):
        Corpus("sc09", str(tmp_path)).read("train")
    (tmp_path / "zero").mkdir()
    with pytest.raises(DataError, match=r"validation_list\.txt does not exist; SC09 has it beside"):
        Corpus("sc09", str(tmp_path)).read("train")
    with pytest.raises(DataError, match="no recording of at least 16000 samples"):
        Corpus("qautoaudio", str(tmp_path), drop_last=True).read("test")
    with pytest.raises(UnknownNameError, match="did you mean 'sc09'"):
        Corpus.of({"_name_": "sc9", "path": "x"}, "datarc")
    with pytest.raises(ConfigError, match="unknown field 'sample_length'; did you mean 'sample_len'"):
        Corpus.of({"_name_": "sc09", "path": "x", "sample_length": 1}, "datarc")


def music(folder, lengths):
    for number, length in enumerate(lengths):
        soundfile.write(folder / f"{number}.wav", np.zeros(length), 16000)
    return Corpus("qautoaudio", str(folder), drop_last=True, sample_len=100)


def test_too_few_files_for_a_split_are_said_with_their_numbers(tmp_path):
    corpus = music(tmp_path, [100] * 6)
    few = r"of its 6 files datarc\.train_percentage 0\.88 gives train 5, val 0, test 1$"
    with pytest.raises(DataError, match=rf"holds no recording for the split 'val': {few}"):
        replace(corpus, drop_last=False).read("val")
    with pytest.raises(DataError, match=rf"holds no recording of at least 101 samples .* for the split 'train': {few}"):
        replace(corpus, sample_len=101).read("train")


@pytest.mark.parametrize("drop_last", [False, True])
def test_a_recording_without_samples_is_named_by_the_split_that_reads_it(tmp_path, drop_last):
    corpus = replace(music(tmp_path, [100] * 8 + [0, 100]), drop_last=drop_last)
    assert len(corpus.read("train")) == 8
    with pytest.raises(DataError, match=r"^audio file .*8\.wav holds no samples$"):
        corpus.read("val")


def test_lists_of_other_systems(tmp_path):
    root = layouts.sc09(tmp_path)
    names = [f"{digit}/0.wav" for digit in DIGITS]
    (root / "validation_list.txt").write_bytes(b"\xef\xbb\xbf" + "".join(f"{name}\r\n" for name in (*names, "bed/0.wav")).encode())
    read = Corpus("sc09", str(root)).read
    assert {chunk.path.relative_to(root).as_posix() for chunk in read("val")} == set(names)
    assert not {chunk.path for chunk in read("train")} & {root / name for name in names}
    (root / "validation_list.txt").write_text("zero/0.wav\nnine/70.wav\n")
    with pytest.raises(DataError, match=r"validation_list\.txt names 1 recordings that are not there, such as nine/70\.wav"):
        read("val")
    (root / "validation_list.txt").write_bytes("zero/0.wav".encode("utf-16"))
    with pytest.raises(DataError, match=r"datarc\.path: list .* is no UTF-8 text: line 1"):
        read("train")


@pytest.mark.parametrize("folders", [False, True])
def test_sc09_is_what_its_classifier_reads(tmp_path, folders):
    root = digits.tones(tmp_path, train=11, folders=folders)
    (root / "train" if folders else root).joinpath("zero", "._train0.wav").write_bytes(b"of another system")
    for split, part in (("train", "train"), ("val", "dev"), ("test", "test")):
        paths = list(dict.fromkeys(chunk.path for chunk in Corpus("sc09", str(root)).read(split)))
        assert paths == sorted(paths)
        assert set(paths) == set(sc09_files(root, part, "path"))
    if folders:
        shutil.rmtree(root / "valid")
        with pytest.raises(DataError, match="has no recording of a digit for the split 'val'"):
            Corpus("sc09", str(root)).read("val")


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_groups_go_chunk_by_chunk_and_each_process_has_its_own(ranks):
    torch.manual_seed(0)
    lengths, chunking = [300, 100, 250, 64, 129, 10, 320], Chunking(64, 16, drop_tail=False)
    batches = list(ChunkOrder(lengths, chunking, 2, shuffle=True, ranks=ranks))
    seen = []
    for rank in range(ranks):
        group, last = None, None
        for batch in batches[rank::ranks]:
            items, (chunk,) = [i for i, _ in batch], {c for _, c in batch}
            assert (chunk == 0 and items != group) or (items == group and chunk == last + 1)
            group, last = items, chunk
            seen += [(i, chunk) for i in items]
    assert len(seen) == len(set(seen))
    whole = {(i, chunk) for i, length in enumerate(lengths) for chunk in range(-(-length // 64))}
    assert ranks > 1 or whole <= set(seen)


def test_fewer_groups_than_processes_are_shared():
    """A process without a batch would leave the others waiting."""
    batches = list(ChunkOrder([64, 128, 128], Chunking(64, 16, drop_tail=False), 3, shuffle=False, ranks=2))
    assert batches == [[(0, 0), (1, 0), (2, 0)]] * 2 + [[(0, 1), (1, 1), (2, 1)]] * 2


def test_a_chunk_behind_the_end_is_not_scored():
    chunking, frame = Chunking(64, 16, drop_tail=False), Framing(128, 15)

    class Stored(CodeDataset):
        def __init__(self):
            super().__init__([None] * 2, Quantiser(), 16000)

        def __getitem__(self, index):
            return torch.zeros(70), torch.arange(70)

    dataset = ChunkDataset(Stored(), frame, chunking)
    wavs, x, y, begins = dataset.collate([dataset[0, 1], dataset[1, 1]])
    assert (x.shape, y.shape, begins) == ((2, 21), (2, 6), False)
    assert [len(wav) for wav in wavs] == [6, 6]
    wavs, x, y, _ = dataset.collate([dataset[0, 2], dataset[1, 2]])
    assert (x.shape, y.tolist()) == ((2, 16), [[IGNORED]] * 2)
    assert [len(wav) for wav in wavs] == [1, 1]
