"""Runs with a feature store: the same numbers, an upstream that is called once an utterance, and nothing that a disk can do to a run."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from downstream.stored import Settings, StoredUpstream
from tests.support.compare import assert_same_run, metrics_of
from tests.support.faults import FOLDER, NTH
from tests.upstream.conv_transformer.cases import ENTRIES, made
from upstream.featurizer import Featurizer
from utility.errors import DataError
from utility.experiment.killpoints import VARIABLE
from utility.training.feature_store import Entry
from utility.training.loading import Place
from utility.training.seeding import Stream

PLUGINS = Path(__file__).resolve().parent / "plugins"
SIZES = {"train": 5, "dev": 3, "test": 2}
ALL = sum(SIZES.values())
SHORT = {"total_steps": 5, "eval_step": 2, "save_step": 2}  # three updates an epoch, and a half
FULL = "tests.support.faults:full_disk_at_change"


@pytest.fixture(scope="module")
def stored(make_toy) -> Callable[..., Any]:
    """``stored(store, *flags, dtype=, gb=, batch_size=, **changes)``: an experiment on waveforms that do not change.

    Without a store if ``store`` is None.
    """

    def make(store: Path | None, *flags: str, dtype: str | None = None, gb: float | None = None, batch_size: int = 1, **changes: Any):
        words = ["-u", str(PLUGINS / "stored_upstream"), "-d", str(PLUGINS / "stored_task"), *flags]
        runner = {**SHORT, "feature_store_dtype": dtype, "feature_store_gb": gb, **changes.pop("runner", {})}
        data = {"datarc": {"batch_size": batch_size, "sizes": SIZES}}
        words += ["--feature_store", str(store)] if store else []
        return make_toy("toy_task", *words, **{"runner": runner, "specaug": None, "downstream_expert": data, **changes})

    return make


@pytest.fixture
def store(tmp_path) -> Path:
    return tmp_path / "store"


def entries(store: Path) -> list[Path]:
    return sorted(store.glob("*/*/*.states"))


def temporary(store: Path) -> list[Path]:
    return list(store.rglob(".tmp-*"))


def calls(toy, expected: int, **settings: Any) -> None:
    """Trains, and checks how many waveforms the upstream got."""
    note = toy.place / "calls"
    process = toy.run(**settings, environment={"STORE_CALLS": str(note)})
    assert process.status == 0, process.err
    assert len(note.read_text().splitlines() if note.exists() else []) == expected


@pytest.fixture(scope="module")
def plain(stored) -> Path:
    """The folder of the run without a store, utterance by utterance."""
    toy = stored(None)
    toy.finish()
    return toy.folder


@pytest.fixture(scope="module")
def halved(stored, tmp_path_factory) -> Path:
    """The folder of an undisturbed run with a store in half precision."""
    toy = stored(tmp_path_factory.mktemp("halved"), dtype="fp16")
    toy.finish()
    return toy.folder


def test_a_run_with_the_store_equals_one_without_to_the_last_bit(stored, store, plain):
    """Both extract utterance by utterance; the second time everything is read."""
    for expected in (ALL, 0):
        toy = stored(store)
        calls(toy, expected)
        assert_same_run(toy.folder, plain)
    assert len(entries(store)) == ALL
    assert not temporary(store)


def test_batches_of_several_give_the_same_within_rounding(stored, store):
    """The lengths are such that S3PRL's rule keeps a frame of padding in all but the longest of a batch."""
    logs = []
    for place in (None, store):
        toy = stored(place, batch_size=3)
        toy.finish()
        logs.append([line["value"] for line in metrics_of(toy.folder) if "value" in line] or metrics_of(toy.folder))
    numbers = [[value for line in log for value in line.values() if isinstance(value, float)] for log in logs]
    assert numbers[0]
    assert numbers[1] == pytest.approx(numbers[0], rel=1e-4, abs=1e-5)


def test_other_layers_learning_rates_and_tasks_settings_reuse_it_and_other_upstreams_do_not(stored, store):
    calls(stored(store), ALL)
    calls(stored(None, "-l", "1", runner={"feature_store": str(store)}), 0)
    other = {"optimizer": {"lr": 0.1}, "batch_size": 3}
    calls(stored(store, "-s", "last_hidden_state", "--upstream_feature_normalize", "--seed", "5", **other), 0)
    for flags in (["-k", "1"], ["-g", "0.5"]):
        calls(stored(store, *flags), ALL)
    calls(stored(store, dtype="fp16"), ALL)
    assert len(entries(store)) == 4 * ALL


@pytest.mark.parametrize("point", ["store.before_rename:9", "evaluate.middle:6"])
def test_a_killed_run_resumes_equal(stored, store, halved, point):
    """With half precision, so that a state that was read and one that was computed could differ."""
    toy = stored(store, dtype="fp16")
    assert toy.run(environment={VARIABLE: point}).status == -signal.SIGKILL
    assert len(temporary(store)) == point.startswith("store.")
    toy.finish()
    assert_same_run(toy.folder, halved)
    assert len(entries(store)) == ALL
    assert not temporary(store)


def test_a_store_that_is_lost_or_damaged_in_between_changes_nothing(stored, store, plain, tmp_path):
    toy = stored(store)
    assert toy.run(environment={VARIABLE: "evaluate.middle:7"}).status == -signal.SIGKILL
    for number, path in enumerate(entries(store)):
        path.write_bytes(path.read_bytes()[: 70 * number]) if number % 3 else path.unlink()
    toy.finish()
    assert_same_run(toy.folder, plain)
    shutil.rmtree(store)
    words = ["-m", "evaluate", "-e", str(toy.folder), "-u", str(PLUGINS / "stored_upstream"), "-d", str(PLUGINS / "stored_task")]
    for place, more in ((store, []), (tmp_path / "new", ["--feature_store", str(tmp_path / "new")])):  # the checkpoint knows of the first
        process = toy.server.run([*words, *more], toy.place)
        assert process.status == 0, process.err
        assert len(entries(place)) == SIZES["test"]


def test_two_runs_at_once(stored, store, plain):
    toys = [stored(store), stored(store)]
    for process in [toy.start() for toy in toys]:
        assert process.wait() == 0, process.err
    for toy in toys:
        assert_same_run(toy.folder, plain)
    assert len(entries(store)) == ALL
    assert all(Entry.read(path).keys for path in entries(store))
    assert not temporary(store)
    assert list((store / "runs").iterdir()) == []


def test_two_ranks_share_it(stored, store):
    folders = []
    for place in (None, store):
        toy = stored(place)
        toy.finish_ranks()
        folders.append(toy.folder)
    assert_same_run(*folders)
    assert len(entries(store)) == ALL


@pytest.mark.parametrize("nth", [1, 20])
def test_a_full_disk_is_one_warning(stored, store, plain, nth):
    toy = stored(store)
    store.mkdir()
    process = toy.run(before=FULL, environment={NTH: str(nth), FOLDER: str(store)})
    assert process.status == 0, process.err
    assert process.err.count(f"the feature store {store} takes nothing more (No space left on device)") == 1
    assert_same_run(toy.folder, plain)
    assert len(entries(store)) < ALL


def test_a_store_that_is_too_small_takes_what_fits(stored, store, plain):
    toy = stored(store, gb=1e-5)
    process = toy.finish()
    assert process.err.count(f"the feature store {store} is full (1e-05 GB, all in use by running trainings)") == 1
    assert_same_run(toy.folder, plain)
    assert 0 < sum(path.stat().st_size for path in entries(store)) <= 1e4


def test_waveforms_that_change_are_not_stored(make_toy, store):
    """The toy task draws its training items anew in every epoch; those of evaluation are the same each time."""
    data = {"datarc": {"sizes": {**SIZES, "train": 8}}}
    toy = make_toy("toy_task", "--feature_store", str(store), runner=SHORT, downstream_expert=data)
    process = toy.finish()
    assert process.err.count("the waveforms of 'train' are not the same in every epoch") == 1
    assert "computes each utterance alone" in process.err
    assert len(entries(store)) == SIZES["dev"] + SIZES["test"]


def test_a_trained_upstream_is_refused(stored, store):
    process = stored(store, "-f").run()
    assert process.status == 2
    sentence = f"--feature_store {store} keeps the states of a frozen upstream and cannot be used with -f, which trains it"
    assert process.err.strip().splitlines() == [f"run_downstream.py: error: {sentence}"]
    assert not store.exists()


def test_a_folder_that_cannot_be_made_is_refused(stored, tmp_path):
    (tmp_path / "file").write_text("")
    process = stored(tmp_path / "file" / "store").run()
    assert process.status == 2
    assert process.err.strip().endswith("error: cannot make the feature store " + str(tmp_path / "file" / "store") + ": Not a directory")


def test_an_upstream_without_weights_leaves_it_off(stored, store):
    process = stored(store, "-u", "waveform").finish()
    assert process.err.count("the feature store is left off") == 1
    assert entries(store) == []


def test_wrong_settings_are_refused(stored, store):
    process = stored(store, dtype="fp8", gb=0).run()
    assert process.status == 2
    for fault in ("dtype is 'fp8' and should be fp32 or fp16", "gb is 0 and should be a number above 0"):
        assert f"runner.feature_store_{fault}" in process.err


# ---- a real upstream

CASE = "wav2vec2_deepposconv"


def waves(*lengths: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [0.1 * torch.randn(n, generator=generator) + 0.02 for n in lengths]


@pytest.fixture
def real(golden, store) -> Callable[[str], tuple[StoredUpstream, Featurizer]]:
    """``real(dtype)``: a wav2vec 2.0 in its batch-independent mode behind the store, and its featurizer."""

    def make(dtype: str) -> tuple[StoredUpstream, Featurizer]:
        upstream = made(CASE, golden(f"upstreams/{CASE}"), batch_independent=True)
        settings = Settings(store, 1e9, ENTRIES[CASE], dtype, None, "cpu")
        return StoredUpstream(upstream, settings), Featurizer(upstream)

    return make


@pytest.mark.parametrize(("dtype", "tolerance"), [("fp32", 1e-5), ("fp16", 5e-3)])
def test_the_features_of_a_batch_are_those_of_the_batch_independent_mode(real, dtype, tolerance):
    batch = waves(6100, 2600, 4520, 2600, 800)
    for rule in ("round", "ceil", "own"):
        behind, featurizer = real(dtype)
        featurizer.length_rule = rule
        with torch.no_grad():
            expected = featurizer(batch, behind.upstream(batch))
            alone = featurizer(batch[:1], behind.upstream(batch[:1]))
            for _ in range(2):
                torch.testing.assert_close(featurizer(batch, behind.states(batch, featurizer, True)), expected, rtol=0, atol=tolerance)
            if dtype == "fp32":
                assert torch.equal(featurizer(batch[:1], behind.states(batch[:1], featurizer, True))[0], alone[0])


def test_another_layer_of_another_run_is_read_and_no_other_with_it(real, store, monkeypatch):
    batch = waves(2600, 800)
    behind, featurizer = real("fp32")
    behind.states(batch, featurizer, False)
    behind, featurizer = real("fp32")
    monkeypatch.setattr(type(behind.upstream), "forward", None)
    featurizer.layer_selection = 1
    states = behind.states(batch, featurizer, False)["hidden_states"]
    assert [state is None for state in states] == [number != 1 for number in range(len(states))]
    assert len(entries(store)) == 2


def test_a_few_random_items_among_whole_utterances_are_not_stored_epoch_after_epoch(real, store):
    behind, featurizer = real("fp32")
    items = waves(900, 910, 920, 930)
    loader = DataLoader(items, batch_size=1, collate_fn=lambda wavs: (wavs,))
    for epoch, (batch, expected) in enumerate([(items[:1], 1), (items[:3], 1), (items[1:4:2], 2), (items[3:], 3)]):
        behind.look_at(Place(1, Stream.FORWARD, "train", epoch), lambda epoch: loader)
        behind.states(batch, featurizer, True)
        assert len(entries(store)) == expected


def test_what_is_wrong_with_a_waveform_is_said_of_its_place_in_the_batch(real, store):
    behind, featurizer = real("fp32")
    with pytest.raises(DataError, match=r"item 1 of the batch: 20 samples are too short"):
        behind.states(waves(2600, 20, 2600), featurizer, True)
    with pytest.raises(DataError, match="the batch has no item"):
        behind.states([], featurizer, True)


def test_random_numbers_of_a_run_do_not_depend_on_what_is_stored(real):
    behind, featurizer = real("fp32")
    torch.manual_seed(5)
    expected = torch.rand(3)
    for _ in range(2):
        torch.manual_seed(5)
        behind.states(waves(900), featurizer, True)
        assert torch.equal(torch.rand(3), expected)
