"""test_expdirs.sh and report.sh: which checkpoints are evaluated, and which one is reported."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from downstream.sv_voxceleb1 import evaluate_states
from downstream.sv_voxceleb1.report import main as report

ENVIRONMENT = {**os.environ, "PYTHON": sys.executable}
SCORES = {100: (0.3, 0.1), 200: (0.1, 0.4), 300: (0.2, 0.15)}


def write_result(folder: Path, step: int, split: str, eer: float, **more: object) -> None:
    place = folder / f"results/states-{step}"
    place.mkdir(parents=True, exist_ok=True)
    scores = {"EER": {"value": eer}, "minDCF": {"value": 2 * eer}}
    (place / f"{split}.json").write_text(json.dumps({"scores": scores, **more}))
    (place / f"{split}_predict.txt").write_text(f"a_b {step}\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three evaluated checkpoints, one of which the trainer has removed since."""
    for step, (test, dev) in SCORES.items():
        if step > 100:
            (tmp_path / f"states-{step}.ckpt").touch()
        write_result(tmp_path, step, "test", test)
        write_result(tmp_path, step, "dev", dev)
    return tmp_path


def test_report(folder: Path, capsys: pytest.CaptureFixture):
    assert report([str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["states-100", "states-300", "states-200"]
    assert lines[2] == "states-200 test-EER: 0.100000 minDCF: 0.2000 dev-EER: 0.400000"
    assert lines[3].startswith("3 checkpoints are evaluated")
    assert lines[4] == "chosen on dev: test-EER 0.300000 of states-100, whose dev-EER is 0.100000"
    assert lines[5] == "chosen on test, as SUPERB does: test-EER 0.100000 of states-200"
    link = folder / "test_predict.txt"
    assert link.is_symlink()
    assert link.read_text() == "a_b 200\n"


def test_report_without_dev(folder: Path, capsys: pytest.CaptureFixture):
    for path in folder.rglob("dev.json"):
        path.unlink()
    assert report([str(folder)]) == 0
    assert "chosen on dev: none" in capsys.readouterr().out


@pytest.mark.parametrize(("given", "heard"), [({}, True), ({"hold_out_dev": False}, True), ({"hold_out_dev": True}, False)])
def test_the_report_says_whether_the_speakers_of_dev_were_trained_on(folder: Path, capsys: pytest.CaptureFixture, given: dict, heard: bool):
    write_result(folder, 100, "test", 0.3, config={"downstream_expert": {"datarc": given}})
    assert report([str(folder)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("chosen on dev: test-EER 0.3")]
    assert line.endswith("; the speakers of dev were trained on (hold_out_dev: false)") == heard


def test_report_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert report([str(tmp_path)]) == 2
    assert "has no result of a states-*.ckpt yet" in capsys.readouterr().err


def test_the_report_of_a_folder_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert report([str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err == f"there is no experiment folder {tmp_path / 'nowhere'}\n"


def test_copies_of_results_are_no_results(folder: Path, capsys: pytest.CaptureFixture):
    (folder / "results/states-200").rename(folder / "results/states-200.bak")
    assert report([str(folder)]) == 0
    assert "states-200" not in capsys.readouterr().out


@pytest.mark.parametrize(("text", "fault"), [('{"scores', "is damaged"), ('{"scores": {"acc": {"value": 1}}}', "has no EER")])
def test_the_report_of_other_results(folder: Path, capsys: pytest.CaptureFixture, text: str, fault: str):
    (folder / "results/states-300/test.json").write_text(text)
    assert report([str(folder)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{folder / 'results/states-300/test.json'} {fault}" in line


def test_the_link_follows_the_results(folder: Path):
    assert report([str(folder)]) == 0
    write_result(folder, 400, "test", 0.05)
    assert report([str(folder)]) == 0
    assert (folder / "test_predict.txt").read_text() == "a_b 400\n"


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file can be made."""

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    for method in ("write_text", "symlink_to", "replace", "unlink"):
        monkeypatch.setattr(Path, method, refuse)


def test_the_report_of_a_folder_that_is_only_read(folder: Path, read_only: None, capsys: pytest.CaptureFixture):
    """It is printed, and what could not be written is named."""
    assert report([str(folder)]) == 2
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "chosen on test, as SUPERB does: test-EER 0.100000 of states-200"
    assert said.err == f"Read-only file system: {folder / 'test_predict.txt'}\n"


def test_nothing_is_written_where_nothing_is_new(folder: Path, request: pytest.FixtureRequest):
    assert report([str(folder)]) == 0
    request.getfixturevalue("read_only")
    assert report([str(folder)]) == 0


def test_the_result_of_an_evaluation_that_cannot_be_kept(folder: Path, read_only: None, capsys: pytest.CaptureFixture, monkeypatch):
    def evaluated(command: list[str], **_: object) -> subprocess.CompletedProcess:
        return subprocess.CompletedProcess(command, 0, "sv-voxceleb1/test-EER: 0.2\n")

    monkeypatch.setattr(subprocess, "run", evaluated)
    (folder / "states-400.ckpt").touch()
    assert evaluate_states.main([str(folder)]) == 2
    said = capsys.readouterr()
    assert said.out == f"{folder / 'states-400.ckpt'}: sv-voxceleb1/test-EER: 0.2\n"
    assert said.err == f"Read-only file system: {folder / 'states-400.result'}\n"


class Evaluations(list):
    """Stands in for run_downstream.py: notes what is evaluated and writes a result."""

    def __init__(self, fails: tuple[str, ...] = ()):
        self.fails = fails

    def __call__(self, checkpoint: Path, split: str, options: list[str]) -> int:
        self.append((checkpoint.stem, split, *options))
        if split in self.fails or checkpoint.stem in self.fails:
            return 2
        write_result(checkpoint.parent, int(checkpoint.stem[7:]), split, 0.2)
        return 0


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch):
    def start(folder: Path, *words: str, fails: tuple[str, ...] = ()) -> tuple[int, Evaluations]:
        done = Evaluations(fails)
        monkeypatch.setattr(evaluate_states, "evaluate", done)
        return evaluate_states.main([str(folder), *words]), done

    return start


def test_only_new_checkpoints_are_evaluated(folder: Path, run):
    assert run(folder) == (0, [])
    (folder / "states-400.ckpt").touch()
    (folder / "states-500.ckpt").touch()
    status, done = run(folder, "--", "--device", "cpu")
    assert status == 0
    assert done == [(f"states-{step}", split, "--device", "cpu") for step in (400, 500) for split in ("test", "dev")]
    assert run(folder) == (0, [])


def test_a_checkpoint_that_was_written_again_is_evaluated_again(folder: Path, run):
    newer = (folder / "results/states-300/test.json").stat().st_mtime_ns + 10**9
    os.utime(folder / "states-300.ckpt", ns=(newer, newer))
    assert run(folder)[1] == [("states-300", "test"), ("states-300", "dev")]


def test_trials_of_dev_may_be_missing(folder: Path, run):
    (folder / "states-400.ckpt").touch()
    (folder / "states-500.ckpt").touch()
    status, done = run(folder, fails=("dev",))
    assert status == 0
    assert done == [("states-400", "test"), ("states-400", "dev"), ("states-500", "test")]


def test_a_failure_on_the_test_trials_is_told(folder: Path, run, caplog):
    (folder / "states-400.ckpt").touch()
    assert run(folder, fails=("states-400",))[0] == 1
    assert "states-400.ckpt could not be evaluated on test (exit status 2)" in caplog.text


def test_folders(tmp_path: Path, run, capsys: pytest.CaptureFixture):
    assert run(tmp_path) == (0, [])
    assert run(tmp_path / "nowhere")[0] == 2
    assert "there is no experiment folder" in capsys.readouterr().err


def test_scripts_from_another_folder(repo: Path, folder: Path):
    scripts = repo / "downstream/sv_voxceleb1"
    for script, said in (("report.sh", "chosen on test"), ("test_expdirs.sh", "")):
        done = subprocess.run([scripts / script, folder.name], cwd=folder.parent, env=ENVIRONMENT, capture_output=True, text=True)
        assert (done.returncode, said in done.stdout) == (0, True), done.stderr


def test_the_printed_loop(repo: Path, folder: Path):
    """./run_while.sh "./downstream/sv_voxceleb1/test_expdirs.sh FOLDER; sleep 1800;" goes on until it is stopped."""
    command = f"./downstream/sv_voxceleb1/test_expdirs.sh {folder}; sleep 1800;"
    environment = {**ENVIRONMENT, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    process = subprocess.Popen([repo / "run_while.sh", command], cwd=repo, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(1200):
            if (folder / "test_predict.txt").is_symlink() or process.poll() is not None:
                break
            time.sleep(0.05)
        assert (folder / "test_predict.txt").is_symlink()
        assert process.poll() is None
    finally:
        process.terminate()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert f"trial 1: {command}" in said
