"""Does speaker verification learn? On synthetic and on real speakers that it never heard, beside what averages alone reach."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from downstream.blocks.voxceleb import scan
from downstream.sv_voxceleb1.audio import read
from downstream.sv_voxceleb1.dataset import trials_of
from run_downstream import main
from tests.downstream.baselines import averages
from tests.downstream.seeds import SEEDS
from tests.downstream.sv_voxceleb1.layouts import Layout, emodb_speakers, fsdd_speakers, lay_out, synthetic, timit_speakers
from utility.experiment.folder import ExperimentFolder
from utility.metrics.verification import verification_scores

CONFIG = "downstream/sv_voxceleb1/configs/fbank.yaml"
CHANCE = 0.5
FEWER = (  # a narrow network on short stretches
    "config.runner.total_steps=60,,config.runner.eval_step=60,,config.runner.save_step=60,,config.runner.log_step=30,,"
    "config.runner.tensorboard=False,,config.scheduler.num_warmup_steps=5,,config.optimizer.lr=4.0e-3,,"
    "config.downstream_expert.datarc.train_batch_size=16,,config.downstream_expert.datarc.max_timestep=16000,,"
    "config.downstream_expert.datarc.num_workers=0,,config.downstream_expert.modelrc.input_dim=48,,"
    "config.downstream_expert.modelrc.module_config.XVector.agg_dim=64"
)


def to_beat(layout: Layout, split: str = "test") -> float:
    """EER of the cosine of log mel energies averaged over time, standardised by the recordings of ``dev/wav``."""
    trials = trials_of(str(layout.root), split, str(layout._asdict()[split]), ("", ""))
    folder = layout.root / "dev/wav"
    seen, _ = averages((read(folder / recording.path), 0) for recording in list(scan(folder))[::3])
    found, _ = averages((read(trials.folder / path), 0) for path in trials.paths)
    vectors = (found - seen.mean(axis=0)) / seen.std(axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return verification_scores(trials.targets, (vectors[trials.first] * vectors[trials.second]).sum(axis=1)).eer


def eers(folder: Path) -> dict[str, list[float]]:
    """The EER of each evaluation of ``log.log``, by split."""
    found: dict[str, list[float]] = {"dev": [], "test": []}
    for line in (folder / "log.log").read_text().splitlines():
        if not line.startswith("New best"):
            found[line.partition(" ")[0]].append(float(line.rpartition(" ")[2]))
    return found


def at_best_dev(folder: Path) -> float:
    """The test EER of the evaluation with the lowest dev EER."""
    found = eers(folder)
    return found["test"][int(np.argmin(found["dev"]))]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Eight speakers to train on, two of dev, two of test."""
    return synthetic(tmp_path_factory.mktemp("few"), 8)


@pytest.fixture(scope="module")
def trained(repo: Path, few: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short training on few speakers."""
    folder = tmp_path_factory.mktemp("run")
    words = ["-m", "train", "-u", "fbank", "-d", "sv_voxceleb1", "-c", str(repo / CONFIG), "-p", str(folder), "--device", "cpu"]
    assert main([*words, "--seed", "1", "-o", f"{FEWER},,{few.override}"]) == 0
    return folder


def test_few_speakers_few_updates(few: Layout, trained: Path):
    """Two unseen speakers are told apart better than by averages or by chance."""
    found, beaten = eers(trained)["test"][-1], to_beat(few)
    print(f"test EER {found:.3f}; cosine of averages {beaten:.3f}, chance {CHANCE}")
    assert found < min(beaten, 0.6 * CHANCE)


def test_checkpoints_are_evaluated_beside_the_training(repo: Path, trained: Path):
    """The printed scripts give the numbers that the training has logged."""
    environment = {**os.environ, "PYTHON": sys.executable}
    said = {}
    for script, words in (("test_expdirs.sh", ["--", "--device", "cpu"]), ("report.sh", [])):
        command = [repo / "downstream/sv_voxceleb1" / script, str(trained), *words]
        with ExperimentFolder(trained).lock():  # as a live trainer holds it
            done = subprocess.run(command, cwd=trained, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said[script] = done.stdout
    logged = {split: values[-1] for split, values in eers(trained).items()}
    assert f"states-60.ckpt: sv-voxceleb1/test-EER: {logged['test']}" in said["test_expdirs.sh"]
    assert f"states-60 test-EER: {logged['test']:.6f}" in said["report.sh"]
    assert f"dev-EER is {logged['dev']:.6f}" in said["report.sh"]
    assert "test-EER" in (trained / "states-60.result").read_text()
    assert (trained / "test_predict.txt").resolve() == (trained / "results/states-60/test_predict.txt").resolve()
    predicted, truth = ((trained / "results/states-60" / f"test_{kind}.txt").read_text().splitlines() for kind in ("predict", "truth"))
    assert [line.split()[0] for line in predicted] == [line.split()[0] for line in truth]


def answer(trained: Path, capsys: pytest.CaptureFixture, *paths: Path) -> list[dict[str, Any]]:
    words = ["-m", "inference", "-t", *map(str, paths), "-e", str(trained / "states-60.ckpt"), "--device", "cpu"]
    assert main(words) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_real_recordings_are_compared(trained: Path, shared: Path, capsys: pytest.CaptureFixture):
    """A file with itself, and with each of a folder at another rate."""
    wavs = sorted((shared / "data/timit_sample/dr1-fvmh0").glob("*.wav"))
    (same,) = answer(trained, capsys, wavs[0], wavs[0])
    assert same["score"] == pytest.approx(1, abs=1e-5)
    assert same["same_speaker"] is True
    assert same["threshold_from"] == "dev trials in training"
    answers = answer(trained, capsys, wavs[0], shared / "data/ljspeech_mini/wavs")
    assert len(answers) == 10
    assert all(found["same_speaker"] == (found["score"] > found["threshold"]) for found in answers)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, float]:
    """The corpus that a newcomer writes, and what averages reach on it."""
    layout = synthetic(tmp_path_factory.mktemp("small"), "small", jobs=None)
    return layout, to_beat(layout)


@pytest.fixture
def train(repo: Path, tmp_path: Path) -> Callable[..., Path]:
    """Trains over the command line as the README prints it; gives the experiment's folder."""

    def run(layout: Layout, seed: int, more: str = "") -> Path:
        words = [sys.executable, str(repo / "run_downstream.py"), "-m", "train", "-u", "fbank", "-d", "sv_voxceleb1"]
        words += ["-c", str(repo / CONFIG), "-n", "speakers", "--seed", str(seed), "--device", "cpu", "-o", layout.override + more]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return tmp_path / "result/downstream/speakers"

    return run


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_unseen_speakers(small, train, seed: int):
    layout, beaten = small
    found = at_best_dev(train(layout, seed))
    print(f"seed {seed}: test EER {found:.3f}; cosine of averages {beaten:.3f}, chance {CHANCE}")
    assert found < 0.1
    assert found <= min(beaten, CHANCE) / 2


# Speakers of one corpus are told apart among themselves, so that recording conditions do not help; the other speakers are trained on, few
# of them of the same corpus. Recordings of EmoDB have two seconds at most. Measured: TIMIT 0.31, EmoDB 0.33; averages have 0.38 and 0.47.
REAL = (
    ",,config.runner.total_steps=150,,config.runner.eval_step=150,,config.runner.save_step=150,,config.downstream_expert.datarc.num_workers=0,,"
    "config.downstream_expert.datarc.vad_config.min_sec=12000,,config.downstream_expert.datarc.max_timestep=20000,,"
    "config.downstream_expert.datarc.hold_out_dev=False"
)
TAKES = 40  # at most, of each speaker
# Whom to test, and who has the trials of dev: women and men.
UNHEARD = {
    "timit": (("dr1-fvmh0", "dr1-mcpm0", "dr2-faem0", "dr2-marc0"), ("dr3-falk0", "dr3-madc0")),
    "emodb": (("03", "08", "10"), ("09", "12")),
}


@pytest.mark.slow
@pytest.mark.parametrize("corpus", UNHEARD)
def test_real_speakers_never_heard(shared: Path, train, tmp_path: Path, corpus: str):
    """Speakers of TIMIT and of EmoDB; the digits of FSDD are trained on only."""
    spoken = {"timit": timit_speakers(shared), "emodb": emodb_speakers(shared), "fsdd": fsdd_speakers(shared, tmp_path / "fsdd")}
    test, dev = ({name: spoken[corpus].pop(name) for name in names} for names in UNHEARD[corpus])
    heard = {f"{name} {who}": wavs[:TAKES] for name, speakers in spoken.items() for who, wavs in speakers.items()}
    layout = lay_out(tmp_path / "corpus", heard, dev, test)
    found, beaten = eers(train(layout, 1, REAL))["test"][-1], to_beat(layout)
    print(f"{corpus}: test EER {found:.3f}; cosine of averages {beaten:.3f}, chance {CHANCE}")
    assert found < beaten
    assert found < 0.8 * CHANCE
