"""The parts of the feature store: entries as files and as batches, fingerprints, the bounded folder, and which splits repeat themselves."""

from __future__ import annotations

import errno
import logging
import os
import random
import signal
import time
import zlib
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from utility.training.feature_store import Entry, Shelf, batch_of, repeats, samples_digest, shelf
from utility.training.feature_store.presence import Presence, living
from utility.training.loading import Place
from utility.training.seeding import Stream

FORKS = get_context("fork")


def states(frames: int, seed: int = 0) -> dict[str, Any]:
    """What an upstream with all kinds of members gives for one utterance."""
    generator = torch.Generator().manual_seed(seed)
    layers = tuple(torch.randn(1, frames, 3, generator=generator) for _ in range(3))
    return {
        "hidden_states": layers,
        "last_hidden_state": layers[-1],
        "named": {"first": layers[0], "odd": torch.zeros(frames, 1, 3)},
        "codes": torch.arange(frames)[None],
        "mask": torch.ones(1, frames, dtype=torch.bool),
        "half": layers[1].bfloat16(),
        "lengths": torch.tensor([frames]),
        "_names": ("a", "b"),
        "object": object(),
    }


def written(entry: Entry, path: Path) -> Path:
    path.write_bytes(b"".join(entry.blocks()))
    return path


def batched(entries: list[Entry], *keys: str, layer: int | None = None) -> dict[str, Any]:
    return batch_of(entries, keys, "cpu", ("hidden_states", layer))


# ---- entries


def test_an_entry_comes_back_as_it_was(tmp_path):
    given = states(5)
    entry = Entry.of(given, torch.float32)
    assert len(entry.tensors) == 7  # each once
    for one in (entry, Entry.read(written(entry, tmp_path / "entry"))):
        back = batched([one], *given)
        assert list(back) == [key for key in given if key != "object"]
        assert list(back["named"]) == ["first"]  # the other has no utterance in front
        assert back["_names"] == ("a", "b")
        assert isinstance(back["hidden_states"], tuple)
        pairs = [*zip(back["hidden_states"], given["hidden_states"], strict=True)]
        pairs += [(back[key], given[key]) for key in ("codes", "mask", "half", "lengths", "last_hidden_state")]
        for ours, theirs in pairs:
            assert ours.dtype == theirs.dtype
            assert torch.equal(ours, theirs)


def test_a_batch_has_zeros_behind_each_item(tmp_path):
    entries = [Entry.read(written(Entry.of(states(n, n), torch.float32), tmp_path / str(n))) for n in (4, 7, 1)]
    batch = batched(entries, "hidden_states", "lengths", "none")
    assert set(batch) == {"hidden_states", "lengths"}
    assert batch["lengths"].tolist() == [4, 7, 1]
    for number, layer in enumerate(batch["hidden_states"]):
        assert layer.shape == (3, 7, 3)
        for row, n in zip(layer, (4, 7, 1), strict=True):
            assert torch.equal(row[:n], states(n, n)["hidden_states"][number][0])
            assert not row[n:].any()


@pytest.mark.parametrize("layer", [1, -2, 7])
def test_only_the_layer_that_is_wanted_is_read(layer):
    found = batched([Entry.of(states(4), torch.float32)], "hidden_states", layer=layer)["hidden_states"]
    if layer == 7:
        assert all(isinstance(one, Tensor) for one in found)  # the Featurizer says what is wrong with it
    else:
        assert [one is None for one in found] == [True, False, True]
        assert torch.equal(found[layer], states(4)["hidden_states"][layer])


def test_half_precision_rounds_but_never_overflows(tmp_path):
    large = torch.tensor([[[1.0001, 7e4]]])
    entry = Entry.read(written(Entry.of({"small": large / 2, "large": large}, torch.float16), tmp_path / "entry"))
    assert [tensor.dtype for tensor in entry.tensors] == [torch.float16, torch.float32]
    back = batched([entry], "small", "large")
    assert torch.equal(back["small"], (large / 2).half().float())
    assert torch.equal(back["large"], large)


def test_no_part_of_a_file_is_taken_for_an_entry(tmp_path):
    whole = b"".join(Entry.of(states(2), torch.float32).blocks())
    path = tmp_path / "entry"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"."):
            Entry.read(path)
    draw = random.Random(0)
    for _ in range(300):  # damage ends in the error of damage, or in an entry
        place = draw.randrange(len(whole) // 2)
        path.write_bytes(whole[:place] + bytes([draw.randrange(256)]) + whole[place + 1 :])
        try:
            Entry.read(path)
        except ValueError:
            continue


def resealed(content: bytes) -> bytes:
    """An entry's file whose header's checksum is right again."""
    header = content[16 : 16 + int.from_bytes(content[8:12], "little")]
    return content[:12] + zlib.crc32(header).to_bytes(4, "little") + content[16:]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (b'{"at": 0}', b'{"at": 9}'),
        (b'{"at": 0}', b'{"at":-1}'),
        (b'{"at": 0}', b'{"aT": 0}'),
        (b'"tuple"', b'"sheep"'),
        (b'"as": "bfloat16"', b'"as": "blfoat16"'),
        (b'"type": "float32"', b'"type": "float34"'),
        (b'"shape": [1, 2, 3]', b'"shape": [9, 2, 3]'),
    ],
)
def test_an_entry_whose_header_was_altered_is_computed_again(tmp_path, right, wrong):
    """It ended in a traceback when the batch was made."""
    whole = b"".join(Entry.of(states(2), torch.float32).blocks())
    altered = whole.replace(right, wrong, 1)
    assert altered != whole and len(altered) == len(whole)
    (tmp_path / "entry").write_bytes(altered)
    with pytest.raises(ValueError, match="is damaged"):
        Entry.read(tmp_path / "entry")
    (tmp_path / "entry").write_bytes(resealed(altered))
    with pytest.raises(ValueError, match=r"."):
        Entry.read(tmp_path / "entry")


# ---- fingerprints


def entry_of(number: int) -> Entry:
    return Entry.of({"hidden_states": [torch.full((1, 100, 10), float(number))]}, torch.float32)


SIZE = sum(len(block) for block in entry_of(0).blocks())


def opened(folder: Path, entries: float = 100, upstream: str = "upstream") -> Shelf:
    return Shelf(folder, upstream, SIZE * entries, {"name": upstream})


def digest(number: int) -> str:
    return samples_digest(torch.tensor([float(number)]))


def there(folder: Path) -> list[int]:
    """Numbers of the entries that can be read."""
    reader = opened(folder)
    try:
        return [number for number in range(50) if value_of(reader, number) == number]
    finally:
        reader.close()


def value_of(reader: Shelf, number: int) -> float | None:
    entry = reader.find(digest(number))
    return None if entry is None else entry.tensors[0][0, 0, 0].item()


def present(folder: Path) -> list[int]:
    """Numbers of the entries, without using them."""
    return [number for number in range(50) if list(folder.glob(f"*/*/{digest(number)}{shelf.SUFFIX}"))]


def files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*/*/*") if path.is_file()]


def put(folder: Path, *numbers: int, **settings: Any) -> None:
    """What a run that has ended since has written."""
    writer = opened(folder, **settings)
    for number in numbers:
        writer.put(digest(number), entry_of(number))
    writer.close()


def test_what_is_put_is_found_by_others(tmp_path):
    put(tmp_path, 1, 2, 3)
    assert there(tmp_path) == [1, 2, 3]
    assert opened(tmp_path, upstream="other").find(digest(1)) is None
    assert (tmp_path / "upstream" / "about.json").read_text() == '{\n "name": "upstream"\n}'


@pytest.fixture
def another_run(tmp_path) -> Iterator[Callable[..., None]]:
    """``another_run(numbers...)``: a process that lives on after it has found or written these entries."""
    processes, pipes = [], []

    def use(pipe: Any, numbers: tuple[int, ...]) -> None:
        own = opened(tmp_path)
        for number in numbers:
            if own.find(digest(number)) is None:
                own.put(digest(number), entry_of(number))
        pipe.send("done")
        signal.pause()

    def start(*numbers: int) -> None:
        ours, theirs = FORKS.Pipe()
        processes.append(FORKS.Process(target=use, args=(theirs, numbers)))
        processes[-1].start()
        pipes.append(ours)
        assert ours.recv() == "done"

    def stop() -> None:
        for process in processes:
            process.kill()
            process.join()
        processes.clear()

    start.stop = stop
    yield start
    stop()


def aged(folder: Path) -> None:
    """All entries have last been used an hour ago, the higher numbers later."""
    then = time.time() - 3600
    order = {f"{digest(number)}{shelf.SUFFIX}": number for number in range(50)}
    for path in files(folder):
        os.utime(path, (then + order[path.name],) * 2)


def test_the_longest_unused_go_first_and_those_of_live_runs_stay(tmp_path, another_run, caplog):
    put(tmp_path, *range(8))
    aged(tmp_path)
    another_run(0, 1, 20)
    writer = opened(tmp_path, entries=10)
    for number in (30, 31, 32, 33):
        writer.put(digest(number), entry_of(number))
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 10 * SIZE
    assert present(tmp_path) == [0, 1, 6, 7, 20, 30, 31, 32, 33]  # 2 to 5 went at once, so that not every write has to remove something
    for number in range(34, 50):
        writer.put(digest(number), entry_of(number))
    assert present(tmp_path) == [0, 1, 20, *range(30, 37)]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "is full" in caplog.text
    another_run.stop()
    writer.close()
    aged(tmp_path)
    put(tmp_path, 40, entries=5)
    assert 40 in present(tmp_path)
    assert len(present(tmp_path)) <= 5


def test_a_killed_run_uses_nothing_and_leaves_nothing(tmp_path, another_run):
    another_run(1)
    (path,) = files(tmp_path)
    (run,) = (tmp_path / "runs").iterdir()
    half = path.with_name(f"{shelf.TEMPORARY}{run.name}-0")
    half.write_bytes(b"half")
    opened(tmp_path).close()
    assert half.exists()  # its writer lives
    another_run.stop()
    put(tmp_path, 2)
    assert not half.exists()
    assert list((tmp_path / "runs").iterdir()) == []
    assert int((tmp_path / "bytes").read_text()) == 2 * SIZE


def test_presence_ends_with_the_object_and_is_not_inherited(tmp_path):
    mine = Presence(tmp_path)
    child = FORKS.Process(target=mine.leave)  # a loader worker that ends
    child.start()
    child.join()
    assert living(tmp_path).names == {mine.name}
    assert living(tmp_path).since == mine.path.stat().st_mtime
    mine.leave()
    assert living(tmp_path).names == frozenset()


@pytest.mark.parametrize("lost", [1, 100, SIZE - 1])
def test_a_truncated_entry_is_written_anew(tmp_path, lost):
    put(tmp_path, 1)
    (path,) = files(tmp_path)
    os.truncate(path, SIZE - lost)
    own = opened(tmp_path)
    assert own.find(digest(1)) is None
    own.put(digest(1), entry_of(1))
    assert there(tmp_path) == [1]


def test_a_full_disk_is_said_once_and_leaves_nothing_half(tmp_path, monkeypatch, caplog):
    put(tmp_path, 1)
    own = opened(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for number in (2, 3):
        own.put(digest(number), entry_of(number))
    monkeypatch.undo()
    assert [record.getMessage() for record in caplog.records] == [
        f"the feature store {tmp_path} takes nothing more (No space left on device); the run goes on without storing"
    ]
    assert there(tmp_path) == [1]
    assert len(files(tmp_path)) == 1
    put(tmp_path, 2)
    assert int((tmp_path / "bytes").read_text()) == 2 * SIZE


def test_several_writers_stay_within_the_bound(tmp_path):
    def write(first: int) -> None:
        own = opened(tmp_path, entries=9.5)
        for number in range(first, first + 8):
            own.put(digest(number), entry_of(number))

    writers = [FORKS.Process(target=write, args=(first,)) for first in (0, 8, 4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert 1 <= len(files(tmp_path)) <= 9
    assert there(tmp_path) and len(there(tmp_path)) == len(files(tmp_path))


# ---- what repeats itself


class Waves(torch.utils.data.Dataset):
    def __init__(self, crop: bool = False):
        self.crop = crop

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Tensor:
        wav = torch.arange(400.0) + index
        return wav[(start := random.randrange(100)) : start + 300] if self.crop else wav


class Endless(IterableDataset):
    def __iter__(self) -> Iterator[Tensor]:
        yield torch.zeros(4)


def tuples(items: list[Tensor]) -> tuple[list[Tensor], list[int]]:
    return items, [0] * len(items)


def scaled(items: list[Tensor]) -> tuple[list[Tensor], list[int]]:
    return [item * random.random() for item in items], [0]


@pytest.mark.parametrize(
    ("dataset", "options", "answer"),
    [
        (Waves(), {"batch_size": 2, "shuffle": True}, True),
        (Waves(), {"batch_size": 5, "num_workers": 2}, True),
        (Waves(), {"batch_size": 2, "collate_fn": scaled}, False),
        (Waves(crop=True), {"batch_size": 2}, False),
        (Waves(crop=True), {"batch_size": 12, "shuffle": True}, False),
        (Endless(), {"batch_size": 2}, False),
    ],
)
def test_crops_and_augmentation_do_not_repeat(dataset, options, answer):
    place = Place(7, Stream.FORWARD, "train")
    assert repeats(lambda epoch: DataLoader(dataset, **{"collate_fn": tuples, **options}), place) is answer


def test_epochs_of_other_items_do_not_repeat():
    place = Place(7, Stream.FORWARD, "train")
    parts = [range(12), range(3)]
    loaders = [[Waves()[index] for index in part] for part in parts]
    assert not repeats(lambda epoch: DataLoader(loaders[epoch], batch_size=2, collate_fn=tuples), place)
    assert not repeats(lambda epoch: [([torch.zeros(3)],)], place)
