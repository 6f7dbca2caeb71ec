"""The lines of log.log, also after a training that goes back to an older checkpoint."""

from __future__ import annotations

from pathlib import Path

from downstream.blocks.score_log import log_score


def run(folder: Path, steps: range) -> None:
    for step in steps:
        log_score(folder, "train", step, step / 10)
        if step % 2 == 0:
            log_score(folder, "dev", step, step / 20, best=step % 4 == 0)
            log_score(folder, "test", step, step / 30)


def test_lines(tmp_path: Path):
    log_score(tmp_path, "dev", 7, 0.25, best=True)
    assert (tmp_path / "log.log").read_text() == "dev at step 7: 0.25\nNew best on dev at step 7: 0.25\n"


def test_repeated_steps_leave_the_log_of_one_run(tmp_path: Path):
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    straight.mkdir()
    resumed.mkdir()
    run(straight, range(1, 13))
    for steps in (range(1, 9), range(5, 9), range(8, 13)):
        run(resumed, steps)
    log_score(straight, "train", 13, 1.0)
    log_score(resumed, "train", 13, 1.0)
    assert (resumed / "log.log").read_text() == (straight / "log.log").read_text()


def test_evaluations_of_two_splits_stand_together(tmp_path: Path):
    for split, score in (("dev", 0.1), ("test", 0.2), ("dev", 0.3)):
        log_score(tmp_path, split, 0, score)
    assert (tmp_path / "log.log").read_text() == "test at step 0: 0.2\ndev at step 0: 0.3\n"


def test_foreign_lines_stay(tmp_path: Path):
    (tmp_path / "log.log").write_text("a note\ndev at step 9: 0.5\n")
    log_score(tmp_path, "dev", 3, 0.5)
    assert (tmp_path / "log.log").read_text() == "a note\ndev at step 3: 0.5\n"
