"""The rebuilt loader: every batch is a function of (seed, split, epoch, position), whatever the task's loader draws from."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, WeightedRandomSampler
from torch.utils.data.distributed import DistributedSampler

from utility.errors import DataError, ToolkitError, UnknownNameError
from utility.training.loading import Place, open_pass, usable_cores
from utility.training.seeding import Stream


class Noisy(Dataset):
    """Items that draw from all three global generators, as S3PRL's datasets do."""

    def __init__(self, size: int = 23):
        self.size = size

    def __getitem__(self, index: int) -> tuple[int, float, float, float]:
        return index, random.random(), float(np.random.rand()), torch.rand(1).item()

    def __len__(self) -> int:
        return self.size


class NoisyStream(IterableDataset):
    def __iter__(self) -> Iterator[tuple[int, float]]:
        for index in range(23):
            yield index, random.random()


def collate(items: list) -> tuple[list, float]:
    return items, random.random()


def place(epoch: int = 0, skip: int = 0, seed: int = 1337, **kwargs) -> Place:
    return Place(seed, Stream.FORWARD, "train", epoch, skip, **kwargs)


def shuffled(workers: int = 0) -> DataLoader:
    return DataLoader(Noisy(), batch_size=4, shuffle=True, num_workers=workers, collate_fn=collate)


def read(get, where: Place) -> list:
    torch.rand(random.randint(1, 5))  # the state that the global generators happen to be in must not matter
    return list(open_pass(get, where).batches)


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("skip", [0, 2, 6])
def test_skipping_gives_the_rest_of_the_same_epoch(workers, skip):
    assert read(lambda: shuffled(workers), place(3, skip)) == read(shuffled, place(3))[skip:]


def test_epochs_seeds_and_splits_differ():
    first = read(shuffled, place(0))
    assert read(shuffled, place(1)) != first
    assert read(shuffled, place(0, seed=1)) != first
    assert read(shuffled, Place(1337, Stream.FORWARD, "dev")) != first
    assert read(shuffled, Place(1337, Stream.EVALUATION, "train")) != first


def test_an_item_drawn_twice_is_augmented_twice():
    get = lambda: DataLoader(Noisy(), batch_size=8, sampler=WeightedRandomSampler([1.0, *[0.0] * 22], 8), collate_fn=collate)  # noqa: E731
    (items, _), *_ = read(get, place())
    assert {item[0] for item in items} == {0}
    assert len({item[1] for item in items}) == 8
    assert read(get, place())[0][0] == items


@pytest.mark.parametrize(
    "get",
    [
        lambda: DataLoader(Noisy(), batch_size=4, sampler=RandomSampler(range(23), generator=GENERATOR), collate_fn=collate),
        lambda: DataLoader(Noisy(), batch_sampler=BatchSampler(RandomSampler(range(23)), 4, False), collate_fn=collate),
        lambda: DataLoader(Noisy(), batch_size=None, shuffle=True),
        lambda: DataLoader(Noisy(), batch_size=5, shuffle=True, drop_last=True, collate_fn=collate, generator=GENERATOR),
    ],
    ids=["own-generator", "batch-sampler", "unbatched", "drop-last"],
)
def test_samplers_of_all_kinds_repeat_exactly(get):
    whole = read(get, place(2))
    assert read(get, place(2, 1)) == whole[1:]
    assert read(get, place(3)) != whole


GENERATOR = torch.Generator()


def test_an_iterable_dataset_is_fast_forwarded():
    get = lambda: DataLoader(NoisyStream(), batch_size=4, collate_fn=collate)  # noqa: E731
    whole = read(get, place(1))
    assert [i for items, _ in whole for i, _ in items] == list(range(23))
    assert [items for items, _ in read(get, place(1, 4))] == [items for items, _ in whole[4:]]


class Bulk(Noisy):
    """Reads a whole batch of indices at once."""

    def __getitem__(self, indices: list[int]) -> list[tuple]:
        return [super(Bulk, self).__getitem__(index) for index in indices]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_sampler_of_whole_batches_repeats_exactly(workers):
    def get() -> DataLoader:
        data = Bulk()
        return DataLoader(data, batch_size=None, sampler=BatchSampler(RandomSampler(data), 4, drop_last=False), num_workers=workers)

    whole = read(get, place(1))
    assert sorted(item[0] for batch in whole for item in batch) == list(range(23))
    assert read(get, place(1, 2)) == whole[2:]
    assert read(get, place(2)) != whole


class Doubling(DataLoader):
    """A loader whose own ``__iter__`` changes what comes out of it."""

    def __iter__(self) -> Iterator[list[float]]:
        for items, _ in super().__iter__():
            yield [2 * value + 1000 for _, value, *_ in items]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_with_its_own_way_of_reading_keeps_it(workers):
    get = lambda: Doubling(Noisy(), batch_size=4, shuffle=True, collate_fn=collate, num_workers=workers)  # noqa: E731
    whole = read(get, place(1))
    assert len(whole) == 6
    assert all(value >= 1000 for batch in whole for value in batch)
    assert read(get, place(1, 2)) == whole[2:]
    assert read(get, place(1, rank=1, world=2)) == whole[1::2]


class SizedStream(NoisyStream):
    def __len__(self) -> int:
        return 23


@pytest.mark.parametrize("dataset", [NoisyStream(), SizedStream()])
@pytest.mark.parametrize(("world", "rounds"), [(1, 6), (2, 3), (4, 1), (5, 1)])
def test_ranks_share_an_iterable_dataset_evenly_in_training(dataset, world, rounds):
    """Of 6 batches; all ranks end their pass together, and after a resume as well."""
    get = lambda: DataLoader(dataset, batch_size=4, collate_fn=collate)  # noqa: E731
    whole = [items for items, _ in read(get, place())]
    for rank in range(world):
        assert [items for items, _ in read(get, place(rank=rank, world=world))] == whole[rank::world][:rounds]
        assert [items for items, _ in read(get, place(rank=rank, world=world, skip=1))] == whole[rank::world][1:rounds]
        expected = open_pass(get, place(rank=rank, world=world)).expected
        assert expected == (rounds if isinstance(dataset, SizedStream) else None)


def test_fewer_batches_of_an_iterable_dataset_than_ranks_are_repeated():
    get = lambda: DataLoader(SizedStream(), batch_size=12, collate_fn=collate)  # noqa: E731
    dealt = [read(get, place(rank=rank, world=3)) for rank in range(3)]
    assert [len(mine) for mine in dealt] == [1, 1, 1]
    assert dealt[2] == dealt[0] != dealt[1]
    assert open_pass(get, place(rank=2, world=3)).expected == 1


def test_evaluation_deals_every_batch_of_an_iterable_dataset_once():
    get = lambda: DataLoader(SizedStream(), batch_size=4, collate_fn=collate)  # noqa: E731
    passes = [open_pass(get, place(rank=rank, world=4, even=False)) for rank in range(4)]
    assert [opened.expected for opened in passes] == [len(list(opened.batches)) for opened in passes] == [2, 2, 1, 1]


def test_a_plain_list_of_batches_is_a_loader_too():
    batches = [[1], [2], [3]]
    opened = open_pass(lambda: batches, place(skip=1))
    assert (list(opened.batches), opened.total, opened.expected) == ([[2], [3]], 3, 2)


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_the_batches_evenly_in_training(world):
    whole = read(shuffled, place())
    dealt = [read(shuffled, place(rank=rank, world=world)) for rank in range(world)]
    assert {len(mine) for mine in dealt} == {len(whole) // world}
    assert [dealt[i % world][i // world] for i in range(len(whole) // world * world)] == whole[: len(whole) // world * world]


def test_fewer_batches_than_ranks_are_repeated():
    get = lambda: DataLoader(Noisy(3), batch_size=4, collate_fn=collate)  # noqa: E731
    assert read(get, place(rank=1, world=2)) == read(get, place(rank=0, world=2))


@pytest.mark.parametrize("even", [True, False])
def test_no_batch_is_no_batch_for_every_rank(even):
    for rank in (0, 1):
        opened = open_pass(lambda: DataLoader(Noisy(0), batch_size=4), place(rank=rank, world=2, even=even))
        assert (list(opened.batches), opened.expected, opened.total) == ([], 0, 0)


def test_evaluation_deals_every_batch_once():
    whole = read(shuffled, place())
    dealt = [read(shuffled, place(rank=rank, world=4, even=False)) for rank in range(4)]
    assert sorted(str(b) for mine in dealt for b in mine) == sorted(map(str, whole))


def test_a_distributed_sampler_is_left_to_deal_by_itself_and_told_the_epoch():
    def get(rank: int) -> DataLoader:
        return DataLoader(Noisy(), batch_size=4, sampler=DistributedSampler(range(23), 2, rank), collate_fn=collate)

    epochs = [[i for items, _ in read(lambda: get(0), place(epoch, rank=0, world=2)) for i, *_ in items] for epoch in (0, 1)]
    other = [i for items, _ in read(lambda: get(1), place(0, rank=1, world=2)) for i, *_ in items]
    assert epochs[0] != epochs[1]
    assert set(epochs[0]) | set(other) == set(range(23))


@pytest.mark.parametrize(("ratio", "count"), [(1.0, 6), (0.5, 3), (0.01, 1)])
def test_a_ratio_takes_the_first_batches(ratio, count):
    opened = open_pass(shuffled, place(ratio=ratio))
    assert (len(list(opened.batches)), opened.total, opened.expected) == (count, 6, count)


def test_a_config_that_asks_for_more_workers_than_there_are_cores():
    """No warning (it would be an error here), and as many workers as there are cores."""
    opened = open_pass(lambda: shuffled(usable_cores() + 40), place())
    assert opened.batches.loader.num_workers == usable_cores()


def test_no_collision_between_neighbouring_positions():
    seen = set()
    for epoch in range(3):
        for seed in range(3):
            for batch, _ in read(lambda: DataLoader(Noisy(), batch_size=4, collate_fn=collate), place(epoch, seed=seed)):
                seen |= {item[1] for item in batch}
    assert len(seen) == 3 * 3 * 23


class Waves(Dataset):
    def __getitem__(self, index: int) -> tuple[np.ndarray, str]:
        return np.random.rand(index + 1), f"name {index}"

    def __len__(self) -> int:
        return 5


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", [list, tuple])
def test_waveforms_travel_as_they_are(workers, kind):
    get = lambda: DataLoader(Waves(), batch_size=2, num_workers=workers, collate_fn=lambda items: kind(zip(*items, strict=True)))  # noqa: E731
    batches = read(get, place())
    assert [type(batch) for batch in batches] == [kind] * 3
    assert [len(wav) for wavs, _ in batches for wav in wavs] == [1, 2, 3, 4, 5]
    assert [name for _, names in batches for name in names] == [f"name {i}" for i in range(5)]
    one_by_one = read(lambda: DataLoader(Waves(), batch_size=None), place())
    for wav, (reference, _) in zip([wav for wavs, _ in batches for wav in wavs], one_by_one, strict=True):
        np.testing.assert_array_equal(np.asarray(wav, dtype=np.float32), np.asarray(reference, dtype=np.float32))


class OwnGenerator:
    """A batch sampler with a generator of its own, as S3PRL's users write them."""

    def __init__(self, generator):
        self.generator_of_mine = generator

    def __len__(self) -> int:
        return 5

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(5):
            draw = self.generator_of_mine
            yield [int(draw.randrange(23) if isinstance(draw, random.Random) else draw.random() * 23)]


@pytest.mark.parametrize("make", [lambda: random.Random(0), lambda: np.random.default_rng(0), lambda: np.random.RandomState(0)])
def test_a_sampler_with_its_own_generator_repeats_itself(make):
    def loader(sampler=OwnGenerator(make())):  # noqa: B008 - one sampler for all epochs, as in an expert that keeps its loader
        return DataLoader(Noisy(), batch_sampler=sampler, collate_fn=collate)

    first = read(loader, place(0))
    assert read(loader, place(1)) != first
    assert read(loader, place(0)) == first


def look_at_the_dataset(worker: int) -> None:
    assert torch.utils.data.get_worker_info().dataset.size == 23


def test_a_worker_start_sees_the_dataset_that_the_task_made():
    get = lambda: DataLoader(Noisy(), batch_size=4, num_workers=1, collate_fn=collate, worker_init_fn=look_at_the_dataset)  # noqa: E731
    assert len(read(get, place())) == 6


class Faulty(Noisy):
    def __getitem__(self, index: int):
        if index == 7:
            raise UnknownNameError("label", "foo", ["bar"])
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_users_error_keeps_its_sentence(workers):
    with pytest.raises(ToolkitError, match=r"^unknown label 'foo'; valid: bar$"):
        read(lambda: DataLoader(Faulty(), batch_size=4, num_workers=workers, collate_fn=collate), place())


def doubled(wavs: list[torch.Tensor]) -> dict:
    return {"hidden_states": [wav * 2 for wav in wavs]}


def test_an_upstream_may_work_in_the_workers():
    get = lambda: DataLoader(Waves(), batch_size=2, num_workers=2, collate_fn=lambda items: tuple(zip(*items, strict=True)))  # noqa: E731
    plain = read(get, place())
    extracted = list(open_pass(get, place(), doubled).batches)
    for (wavs, names), batch in zip(plain, extracted, strict=True):
        assert batch[1] == names
        assert [len(item) for item in batch[0]] == [len(wav) for wav in wavs]
        assert all(torch.equal(a * 2, b) for a, b in zip(wavs, batch.states["hidden_states"], strict=True))


def no_room(storage: torch.UntypedStorage) -> None:
    raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1_0>: No space left on device (28)")


def add_strings(batch: tuple) -> tuple:
    return [str(wav) for wav in batch[0]], {"labels": [torch.zeros(1)]}


@pytest.mark.parametrize("change", [tuple, add_strings])
def test_full_shared_memory_is_said_and_not_waited_for(change, monkeypatch):
    monkeypatch.setattr(torch.UntypedStorage, "share_memory_", no_room)
    monkeypatch.setattr(torch.UntypedStorage, "_share_filename_cpu_", no_room)
    monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", no_room)
    get = lambda: DataLoader(Waves(), num_workers=1, timeout=20, collate_fn=lambda items: change(tuple(zip(*items, strict=True))))  # noqa: E731
    with pytest.raises(DataError, match=r"^shared memory \(/dev/shm\) has no room"):
        read(get, place())
