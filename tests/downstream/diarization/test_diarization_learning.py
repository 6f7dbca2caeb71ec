"""Does diarization learn? On synthetic conversations of unseen speakers, and on real ones, beside answers that hear nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from run_downstream import main
from tests.downstream.diarization.layouts import kaldi_folders, override, real_folder
from tests.downstream.diarization.to_beat import Constant, constant
from tests.downstream.learning import evaluated, train, train_here
from tests.downstream.seeds import SEEDS
from utility.metrics.rttm import read_rttm

CONFIG, BEST = "downstream/diarization/spectral.yaml", "best-states-dev"
FEW = (
    "config.runner.total_steps=25,,config.runner.eval_step=25,,config.runner.save_step=25,,config.runner.log_step=25,,"
    "config.runner.tensorboard=False,,config.scheduler.num_warmup_steps=5,,config.optimizer.lr=5.0e-3,,"
    "config.downstream_expert.loaderrc.num_workers=0,,config.downstream_expert.modelrc.rnn_layers=1,,"
    "config.downstream_expert.modelrc.hidden_size=48"
)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six mixtures of three training speakers, four of each other part."""
    return kaldi_folders(3, tmp_path_factory.mktemp("few"))


@pytest.fixture(scope="module")
def learnt(repo: Path, few: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short training on few mixtures."""
    return train_here(repo, tmp_path_factory.mktemp("run"), "diarization", CONFIG, f"{FEW},,{override(few)}")


def test_few_mixtures_few_updates(few: Path, learnt: Path):
    """Pauses and overlap of unseen speakers are found, which beats every constant answer."""
    beaten, found = constant(few / "test"), evaluated(learnt, "test", BEST)["scores"]["der"]["value"]
    print(beaten.beside("test", found))
    assert found < beaten.best


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Constant]:
    """The corpus that a newcomer writes, and what constant answers reach on it."""
    folders = kaldi_folders("small", tmp_path_factory.mktemp("small"), jobs=None)
    return folders, constant(folders / "test")


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_conversations_of_unseen_speakers(repo: Path, small, tmp_path: Path, seed: int):
    """Measured with seed 1: 0.171, where one speaker all the time has 0.512. On real speech it is worse than that (0.419 and 0.335)."""
    folders, beaten = small
    folder = train(repo, tmp_path, "diarization", CONFIG, override(folders), seed)
    scores = evaluated(folder, "test", BEST)["scores"]
    found, on_test = (scores[name]["value"] for name in ("der", "der_best"))
    print(f"{beaten.beside(f'seed {seed}', found)}; with the choice on test {on_test:.3f}")
    assert on_test <= found < beaten.best / 2
    check_real(repo, folder, tmp_path)


def librimix(shared: Path, out: Path) -> Path:
    """The real mixtures as a Kaldi folder; a file and its RTTM have one number, and other names."""
    folder = shared / "data/librimix_diar/train/libri_speech_mix"
    files = sorted((folder / "rttm").glob("*.rttm"))
    audio = {next(iter(read_rttm(path))): folder / f"flac/{path.stem}.flac" for path in files}
    return real_folder(audio, files, out)


def check_real(repo: Path, folder: Path, place: Path) -> None:
    """What a model of synthetic speech makes of real mixtures and of a real meeting of two."""
    shared = repo.parent / "shared"
    if not shared.is_dir():
        return
    meeting = shared / "data/ami_snippets"
    sets = {
        "librimix": librimix(shared, place / "librimix"),
        "meeting": real_folder({"dev00": meeting / "dev00.wav"}, [meeting / "debug.development.rttm"], place / "meeting"),
    }
    for name, data in sets.items():
        changed = f"config.downstream_expert.loaderrc.test_dir={data}"
        assert main(["-m", "evaluate", "-t", "test", "-e", str(folder / f"{BEST}.ckpt"), "--device", "cpu", "-o", changed]) == 0
        found = json.loads((folder / f"results/{BEST}/test.json").read_text())["scores"]["der"]["value"]
        beaten = constant(data)
        print(beaten.beside(name, found))
        assert found < 1


def test_real_mixtures_and_their_turns(repo: Path, shared: Path, learnt: Path, tmp_path: Path):
    """An evaluation on real recordings against their RTTM: all are scored, and the scores are what their seconds say."""
    data = librimix(shared, tmp_path / "librimix")
    changed = f"config.downstream_expert.loaderrc.test_dir={data},,args.expname=librimix"
    assert main(["-m", "evaluate", "-t", "test", "-e", str(learnt / f"{BEST}.ckpt"), "--device", "cpu", "-o", changed]) == 0
    result = json.loads((learnt / f"results/{BEST}/test.json").read_text())
    print(constant(data).beside("librimix", result["scores"]["der"]["value"]))
    assert len(list((learnt / f"results/{BEST}/scoring/predictions").iterdir())) == 32
    assert 0 < result["scores"]["der_best"]["value"] <= result["scores"]["der"]["value"] < 1.5
