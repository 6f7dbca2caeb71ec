"""``-t samples``: metrics of folders of recordings, caches, thresholds."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock

from downstream.audio_generation.mturk import prepare_sc09
from downstream.blocks.sc09 import DIGITS
from downstream.interfaces import Outcome, RunContext
from downstream.sc09_classifier.expert import DownstreamExpert
from downstream.sc09_classifier.outputs import LOCK, NOTE, Cache, classify
from downstream.sc09_classifier.samples import sample_files
from run_downstream import main
from tests.downstream.sc09_classifier.layouts import DATARC, MODELRC, TINY, stepped, tone, tones
from utility.audio.io import save_audio
from utility.errors import DataError
from utility.experiment.arrays import read_table, write_array
from utility.metrics.generation import BINS, Outputs, TrainingBins, measure, tune_thresholds

METRICS = {"fid", "is", "is_released", "mis", "am", "ndb"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 clips to train on, so that there are enough for 50 bins."""
    return tones(tmp_path_factory.mktemp("corpus") / "sc09", train=6, held_out=2)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Outputs for the corpus, which the tests share."""
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty hums of two digits only."""
    folder = tmp_path_factory.mktemp("samples") / "40-mine"
    rng = np.random.default_rng(3)
    for number in range(1, 41):
        save_audio(folder / f"gen_{number}.wav", tone(number % 2, rng), 16000)
    return folder


def make(expdir: Path, corpus: Path | None, **samples: Any) -> DownstreamExpert:
    datarc = {"batch_size": 8, **({"path": str(corpus)} if corpus else {})}
    torch.manual_seed(0)
    sections = {"datarc": datarc, "modelrc": TINY, "samples": samples}
    return DownstreamExpert(1, 1, sections, str(expdir)).eval()


def run(expert: DownstreamExpert) -> Outcome:
    return expert.run("samples", RunContext(lambda wavs: wavs, expert.expdir / "results/x", "cpu", 0))


def values(outcome: Outcome) -> dict[str, float]:
    return {name: score.value for name, score in outcome.scores.items()}


def test_the_corpus_against_itself(corpus: Path, cache: str, tmp_path: Path):
    outcome = run(make(tmp_path, corpus, cache_dir=cache))
    found = values(outcome)
    assert set(found) == {f"{split}_{name}" for split in ("train", "test") for name in METRICS}
    assert (found["train_fid"], found["train_ndb"]) == (pytest.approx(0, abs=1e-6), 0)
    assert found["test_fid"] > 0
    assert outcome.scores["test_is"].higher_is_better
    assert not outcome.scores["test_am"].higher_is_better
    assert {path.name for path in Path(cache).iterdir()} == {
        *(f"{split}_{what}.npy" for split in ("train", "test") for what in ("probs", "activations")),
        "train_centres.npy",
        NOTE,
        LOCK,
    }


def test_a_folder_equals_its_numbers(corpus: Path, cache: str, generated: Path, tmp_path: Path):
    expert = make(tmp_path, corpus, dir=str(generated), save_probs=True, cache_dir=cache)
    outcome = run(expert)
    training = classify(expert.model, expert.features, expert.corpus_of("train"), 7)
    samples = classify(expert.model, expert.features, sample_files(generated), 7)
    assert values(outcome) == pytest.approx(measure(training, samples), rel=1e-4)
    assert outcome.variant == "40-mine"
    assert run(make(tmp_path, corpus, dir=str(generated), name="other", cache_dir=cache)).variant == "other"
    np.testing.assert_allclose(np.load(Path(cache) / "40-mine-resnext-probs.npy"), samples.probabilities, atol=1e-6)
    assert [path.name for path in sample_files(generated)][8:11] == ["gen_9.wav", "gen_10.wav", "gen_11.wav"]


def test_thresholds(corpus: Path, cache: str, generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    expert = make(tmp_path, corpus, dir=str(generated), threshold=True, cache_dir=cache)
    found = values(run(expert))
    training, samples = (
        classify(expert.model, expert.features, files, 7) for files in (expert.corpus_of("train"), sample_files(generated))
    )
    tuned = tune_thresholds(samples, len(expert.corpus_of("test")))
    for name, row in (("tuned", tuned.best), ("released", tuned.released)):
        expected = measure(training, samples[tuned.kept(row)])
        assert {key: found[f"{name}_{key}"] for key in METRICS} == pytest.approx(expected, rel=1e-4)
        assert (found[f"{name}_lower"], found[f"{name}_upper"]) == pytest.approx(tuple(tuned.grid[row, :2]))
    assert "released: 11 of 20 samples, from 0.40 to 0.95" in capsys.readouterr().err


def test_two_generations_in_one_folder_are_said(corpus: Path, cache: str, generated: Path, tmp_path: Path, caplog):
    mixed = shutil.copytree(generated, tmp_path / "mixed")
    run(make(tmp_path, corpus, dir=str(mixed), threshold=True, cache_dir=cache))
    assert "series of recordings" not in caplog.text
    shutil.copy(mixed / "gen_1.wav", mixed / "other_gen_1.wav")
    run(make(tmp_path, corpus, dir=str(mixed), threshold=True, cache_dir=cache))
    assert "mixed holds 2 series of recordings (gen_*, other_gen_*)" in caplog.text


def test_the_cache_is_read_and_made_anew_for_other_weights(corpus: Path, cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = values(run(make(tmp_path, corpus, cache_dir=cache)))
    monkeypatch.setattr("downstream.sc09_classifier.expert.classify", lambda *_: pytest.fail("the cache is not read"))
    assert values(run(make(tmp_path, corpus, cache_dir=cache))) == before
    monkeypatch.undo()
    copied = shutil.copytree(cache, tmp_path / "cache")
    other = make(tmp_path, corpus, cache_dir=str(copied))
    with torch.no_grad():
        other.model.classifier.weight.mul_(2)
    assert values(run(other))["test_is"] != before["test_is"]


def test_what_another_process_is_writing_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cache, ours = Cache(tmp_path), Outputs(np.full((2, 10), 0.1), np.zeros((2, 3)))
    cache.put("train", ours, "mine-")
    assert cache.get("train", "mine-") is not None

    def meanwhile(path: Path) -> np.ndarray:
        monkeypatch.undo()
        cache.put("train", Outputs(ours.probabilities, ours.activations + 1), "other-")
        return read_table(path)

    monkeypatch.setattr("downstream.sc09_classifier.outputs.read_table", meanwhile)
    assert cache.get("train", "mine-") is None


def test_what_is_in_the_way_of_a_cache_is_said_before_the_work(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr("downstream.sc09_classifier.expert.classify", lambda *_: pytest.fail("the work has begun"))
    with pytest.raises(FileExistsError):
        run(make(tmp_path, corpus, cache_dir=str(tmp_path / "file")))


def test_two_processes_write_a_cache_one_after_the_other(tmp_path: Path):
    first, second = (Outputs(np.full((2, 10), 0.1), np.full((2, 3), value)) for value in (1.0, 2.0))
    with ThreadPoolExecutor(1) as pool:
        with FileLock(tmp_path / LOCK):
            waiting = pool.submit(Cache(tmp_path).put, "train", second, "second-")
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.3)
            assert not (tmp_path / NOTE).exists()
        waiting.result(timeout=10)
    Cache(tmp_path).put("train", first, "first-")
    assert Cache(tmp_path).get("train", "second-") is None
    assert (Cache(tmp_path).get("train", "first-").activations == 1).all()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_recording_that_cannot_be_read_is_one_sentence(corpus: Path, cache: str, tmp_path: Path, workers: int):
    folder = tmp_path / "samples"
    save_audio(folder / "0.wav", tone(0, np.random.default_rng(0)), 16000)
    (folder / "1.wav").write_bytes(b"RIFF")
    expert = make(tmp_path, corpus)
    with pytest.raises(DataError, match=r"^audio file .*1\.wav cannot be read: [^\n]*$"):
        classify(expert.model, expert.features, sample_files(folder), 2, workers)


def test_a_cache_of_other_weights_is_not_taken_without_the_corpus(corpus: Path, cache: str, tmp_path: Path):
    """The experiment's two best checkpoints share a cache."""
    before = values(run(make(tmp_path, corpus, cache_dir=cache)))
    assert values(run(make(tmp_path, tmp_path / "moved", cache_dir=cache))) == before
    other = make(tmp_path, tmp_path / "moved", cache_dir=cache)
    with torch.no_grad():
        other.model.classifier.weight.mul_(2)
    with pytest.raises(DataError, match="moved does not exist"):
        run(other)


def test_a_cache_that_a_kill_left_half_written_is_made_anew(corpus: Path, cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = values(run(make(tmp_path, corpus, cache_dir=cache)))
    copied, written = shutil.copytree(cache, tmp_path / "cache"), []
    other = make(tmp_path, corpus, cache_dir=str(copied))
    with torch.no_grad():
        other.model.classifier.weight.mul_(2)

    def killed(path: Path, values: np.ndarray) -> Path:
        if written:
            raise KeyboardInterrupt
        written.append(path)
        return write_array(path, values)

    with monkeypatch.context() as kill, pytest.raises(KeyboardInterrupt):
        kill.setattr("downstream.sc09_classifier.outputs.write_array", killed)
        run(other)
    assert values(run(make(tmp_path, corpus, cache_dir=str(copied)))) == pytest.approx(before, rel=1e-6)


def random_cache(folder: Path) -> Path:
    """The four files, as their authors would publish them, with nothing beside them that says what they are."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for split in ("train", "test"):
        np.save(folder / f"{split}_probs.npy", rng.dirichlet(np.ones(10), 60).astype(np.float32))
        np.save(folder / f"{split}_activations.npy", rng.standard_normal((60, 256)).astype(np.float32))
    return folder


def test_a_downloaded_cache_needs_no_corpus(generated: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    random_cache(tmp_path / "cache")
    expert = make(tmp_path, None, dir=str(generated), threshold=True)
    assert set(values(run(expert))) >= {f"tuned_{name}" for name in METRICS}
    assert "are taken as they are" in caplog.text


def test_the_clusters_are_kept(generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """For a downloaded cache too; the scores with kept ones are the same numbers."""
    cache = random_cache(tmp_path / "cache")
    first = values(run(make(tmp_path, None, dir=str(generated))))
    with monkeypatch.context() as patched:
        patched.setattr(TrainingBins, "of", lambda *_: pytest.fail("the clusters are looked for again"))
        assert values(run(make(tmp_path, None, dir=str(generated)))) == first
    activations = np.load(cache / "train_activations.npy")
    for training in (activations, activations + 1):
        np.testing.assert_array_equal(Cache(cache).bins(training).centres, TrainingBins.of(training).centres)


def test_clusters_that_a_kill_left_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cache, activations = Cache(tmp_path), np.random.default_rng(0).standard_normal((60, 3))
    bins = cache.bins(activations)

    def killed(path: Path, values: np.ndarray) -> None:
        write_array(path, values)
        raise KeyboardInterrupt

    with monkeypatch.context() as kill, pytest.raises(KeyboardInterrupt):
        kill.setattr("downstream.sc09_classifier.outputs.write_array", killed)
        cache.bins(activations + 1)
    np.testing.assert_array_equal(cache.bins(activations).centres, bins.centres)


@pytest.mark.parametrize("values_of", [lambda kept: kept[:, :2], lambda kept: kept[:7]])
def test_clusters_of_another_shape_are_made_anew(tmp_path: Path, values_of):
    cache, activations = Cache(tmp_path), np.random.default_rng(0).standard_normal((60, 3))
    bins = cache.bins(activations)
    np.save(tmp_path / "train_centres.npy", values_of(bins.centres))
    np.testing.assert_array_equal(cache.bins(activations).centres, bins.centres)


def test_damaged_clusters_are_said(tmp_path: Path):
    cache, activations = Cache(tmp_path), np.random.default_rng(0).standard_normal((60, 3))
    cache.bins(activations)
    (tmp_path / "train_centres.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match=r"train_centres\.npy is damaged"):
        cache.bins(activations)


def test_a_cache_that_cannot_be_written_still_measures(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / LOCK).mkdir()
    bins = Cache(tmp_path).bins(np.random.default_rng(0).standard_normal((60, 3)))
    assert bins.centres.shape == (BINS, 3)
    assert "the clusters of the training set are not kept" in caplog.text


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda cache: (cache / "train_probs.npy").write_bytes(b"no array"), "train_probs.npy is damaged"),
        (lambda cache: np.save(cache / "train_probs.npy", np.zeros(3)), "is no table of floating-point numbers"),
        (
            lambda cache: np.save(cache / "train_probs.npy", np.array([{}], dtype=object), allow_pickle=True),
            "is damaged or no array of numbers",
        ),
        (lambda cache: np.save(cache / "train_probs.npy", np.zeros((3, 10))), "do not belong to the same recordings"),
        (lambda cache: (cache / NOTE).write_text("{"), "is damaged; remove it"),
        (lambda cache: (cache / NOTE).write_text('["train"]'), "is damaged; remove it"),
        (lambda cache: (cache / NOTE).write_text('{"train": 3}'), "is damaged; remove it"),
    ],
)
def test_a_damaged_cache_is_said(tmp_path: Path, spoil, message: str):
    spoil(random_cache(tmp_path / "cache"))
    with pytest.raises(DataError, match=message):
        run(make(tmp_path, None))


def test_folders_that_are_none(tmp_path: Path):
    random_cache(tmp_path / "cache")
    with pytest.raises(DataError, match="there is no folder"):
        run(make(tmp_path, None, dir=str(tmp_path / "nowhere")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no wav files"):
        run(make(tmp_path, None, dir=str(tmp_path / "empty")))
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(DataError, match="does not exist"):
        run(make(tmp_path, tmp_path / "nowhere"))


def test_class_folders(tmp_path: Path):
    """A folder called train or test has one folder for each digit."""
    for digit in DIGITS:
        save_audio(tmp_path / "test" / digit / "a.wav", np.zeros(100), 16000)
    assert [path.parent.name for path in sample_files(tmp_path / "test")] == list(DIGITS)


def test_outputs_do_not_depend_on_batches_or_workers(corpus: Path, tmp_path: Path):
    expert = make(tmp_path, corpus)
    files = expert.corpus_of("test")
    one, other = (classify(expert.model, expert.features, files, size, workers) for size, workers in ((1, 0), (20, 1)))
    assert isinstance(one, Outputs)
    np.testing.assert_allclose(one.activations, other.activations, atol=1e-4)


def test_printed_commands(corpus: Path, generated: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    """Train, measure, choose for the listening test: over the command line."""
    runner = "config.runner.total_steps=2,,config.runner.eval_step=2,,config.runner.save_step=2,,config.runner.tensorboard=False"
    override = f"{runner},,{DATARC}.path={corpus},,{DATARC}.batch_size=20,,{DATARC}.num_workers=0,,{MODELRC}"
    words = ["-u", "waveform", "-d", "sc09_classifier", "-c", str(stepped(tmp_path)), "-p", str(tmp_path / "exp"), "--device", "cpu"]
    assert main(["-m", "train", *words, "-o", override]) == 0
    section = "config.downstream_expert.samples"
    evaluate = ["-m", "evaluate", "-t", "samples", "-e", str(tmp_path / "exp/dev-least-loss.ckpt"), "--device", "cpu"]
    assert main([*evaluate, "-o", f"{section}.dir={generated},,{section}.threshold=True,,{section}.save_probs=True"]) == 0
    assert main(evaluate) == 0
    results = tmp_path / "exp/results/dev-least-loss"
    assert "tuned_fid" in json.loads((results / "samples-40-mine.json").read_text())["scores"]
    assert "test_fid" in json.loads((results / "samples.json").read_text())["scores"]
    capsys.readouterr()
    prepare = ["--methods", "mine", "--cache_dir", str(tmp_path / "exp/cache"), "--sample_dir", str(generated.parent), "--n_samples", "40"]
    assert prepare_sc09.main([*prepare, "--target_dir", str(tmp_path / "target")]) == 2  # two digits are not ten
    assert "are taken for" in capsys.readouterr().err
