"""The lines of log.log, also after a training that goes back to an older checkpoint."""

from __future__ import annotations

from pathlib import Path

from downstream.blocks.score_log import log_probe, log_score


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


def test_lines_of_probes(tmp_path: Path):
    assert log_probe(tmp_path, "libri_phone", "dev", 10, 0.5, best=True) == "best|libri_phone/dev-|step:10|acc:0.5"
    for split, step in (("test", 10), ("dev", 20), ("test", 20), ("dev", 20)):
        log_probe(tmp_path, "libri_phone", split, step, 0.25)
    lines = (tmp_path / "log.log").read_text().splitlines()
    assert [line.rpartition("/")[2] for line in lines] == ["dev-|step:10|acc:0.5", *(f"{s}-|step:{n}|acc:0.25" for s, n in rest())]


def rest() -> list[tuple[str, int]]:
    """What is left after step 20 of dev was logged twice."""
    return [("test", 10), ("test", 20), ("dev", 20)]
