"""get_best_dev.py and get_best_score.py against the recorded output of S3PRL and the logs that trip it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from utility import get_best_dev, get_best_score

NONE = "The best dev score None at step None, accoupanied by this test score None"


def cases() -> list[tuple[str, int | None]]:
    """One id per recorded run; the file is in the repository's own core of golden data."""
    recorded = Path(__file__).resolve().parents[2] / "golden/tasks/logs/get_best_dev/outputs.json"
    return [(entry["name"], entry["stop_step"]) for entry in json.loads(recorded.read_text())]


def build(tmp_path: Path, item: dict) -> Path:
    folder = tmp_path / item["dir"]
    folder.mkdir(parents=True)
    for name in item["ckpts"]:
        (folder / name).touch()
    (folder / "log.log").write_text(item["log"])
    return Path(item["dir"]) / "log.log"


SANE = {
    "no_checkpoint": (
        "The last ckpt: None\nThe best dev score 0.6733382663822645 at step 100, accoupanied by this test score 0.6743589170009541\n"
    ),
    "blank_line": "The last ckpt: exp6/states-5.ckpt\nThe best dev score 0.25 at step 5, accoupanied by this test score None\n",
    "dot_in_path": "The last ckpt: a.b/c/states-5.ckpt\nThe best dev score 0.25 at step 5, accoupanied by this test score None\n",
    "phone_style_log": "The last ckpt: exp8/states-5.ckpt\nThe best dev score 0.25 at step 5, accoupanied by this test score None\n",
}


@pytest.mark.parametrize(("name", "stop"), cases())
def test_prints_what_s3prl_prints_and_survives_where_it_crashes(name, stop, golden, tmp_path, monkeypatch, capsys):
    folder = golden("tasks/logs/get_best_dev")
    item = next(item for item in json.loads((folder / "params.json").read_text())["items"] if item["name"] == name)
    wanted = next(o for o in json.loads((folder / "outputs.json").read_text()) if (o["name"], o["stop_step"]) == (name, stop))
    log = build(tmp_path, item)
    monkeypatch.chdir(tmp_path)
    assert get_best_dev.main([str(log)] + ([str(stop)] if stop is not None else [])) == 0
    assert capsys.readouterr().out == (SANE[name] if wanted["error"] else wanted["stdout"])


def best(text: str, stop: int = get_best_dev.NO_LIMIT) -> str:
    return get_best_dev.sentence(*get_best_dev.best_dev(get_best_dev.parse_lines(text.splitlines()), stop))


def test_lines_that_are_no_utf8_are_passed_over(tmp_path):
    (tmp_path / "log.log").write_bytes(b"said: caf\xe9\nnew best on dev at step 5: 0.5\ntest at step 5: 0.25\n")
    best_line, test_line = get_best_dev.best_dev(get_best_dev.read_log(tmp_path))
    assert (best_line.value, test_line.value) == ("0.5", "0.25")


@pytest.mark.parametrize(("task", "wanted"), [("phone_linear", "0.5714285969734192"), ("speech_commands", "0.5714285714285714")])
def test_reads_the_logs_that_the_experts_write(task, wanted, golden, capsys):
    log = golden(f"tasks/logs/log_records/outputs_files/{task}/log.log")
    assert get_best_dev.main([str(log.parent)]) == 0
    assert f"The best dev score {wanted} at step 20, accoupanied by this test score 0.857142" in capsys.readouterr().out


def test_evaluate_mode_lines_do_not_count():
    trained = "dev at step 5: 0.5\nNew best on dev at step 5: 0.5\ntest at step 5: 0.4\n"
    assert best(trained + "dev at step 0: 0.9\nNew best on dev at step 0: 0.9\ntest at step 0: 0.9\n") == best(trained)
    assert best("best|libri_phone/dev-|step:0|acc:0.9\n") == NONE


def test_a_line_beyond_the_stop_step_is_not_used():
    assert best("New best on dev at step 100: 0.5\ntest at step 100: 0.4\n", stop=99) == NONE


def test_a_step_logged_again_after_a_resume_keeps_its_own_test_score():
    log = "New best on dev at step 300: 0.9\ntest at step 300: 0.8\ndev at step 300: 0.7\ntest at step 300: 0.1\n"
    assert best(log).endswith("0.9 at step 300, accoupanied by this test score 0.8")


def test_a_run_killed_between_dev_and_test_takes_the_test_score_of_the_resumed_run():
    log = "New best on dev at step 300: 0.9\ntest at step 200: 0.5\nNew best on dev at step 300: 0.9\ntest at step 300: 0.8\n"
    assert best(log).endswith("0.9 at step 300, accoupanied by this test score 0.8")


def test_units_behind_the_value_are_not_the_value():
    log = "New best on dev at step 3: 0.25 (acc), 0.31 (f1)\ntest at step 3: 0.2 (acc), 0.3 (f1)\n"
    assert best(log).endswith("score 0.25 at step 3, accoupanied by this test score 0.2")


def test_a_test_score_logged_before_dev_is_pointed_out(tmp_path, capsys):
    (tmp_path / "log.log").write_text("test at step 5: 0.5\nNew best on dev at step 5: 0.25\n")
    get_best_dev.main([str(tmp_path)])
    assert "list dev before test" in capsys.readouterr().err


def test_a_missing_log_is_one_sentence(tmp_path, capsys):
    assert get_best_dev.main([str(tmp_path / "log.log")]) == 2
    assert capsys.readouterr() == ("", f"there is no log file {tmp_path / 'log.log'}\n")


SCORES = "dev at step 1: 0.3\ntest at step 1: 0.2\ndev at step 2: 0.1\ntest at step 2: 0.6\nother at step 2: 7\n"


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], "The best dev score 0.3 at step 1, accoupanied by this test score 0.2"),
        (["dev", "test", "-"], "The best dev score 0.1 at step 2, accoupanied by this test score 0.6"),
        (["test", "dev"], "The best dev score 0.6 at step 2, accoupanied by this test score 0.1"),
        (["dev", "other", "-"], "The best dev score 0.1 at step 2, accoupanied by this test score 7"),
        (["nothing"], NONE),
    ],
)
def test_get_best_score_compares_by_itself(arguments, wanted, tmp_path, capsys):
    log = tmp_path / "log.log"
    log.write_text(SCORES)
    assert get_best_score.main([str(log), *arguments]) == 0
    assert capsys.readouterr().out == wanted + "\n"


def test_get_best_score_names_a_score_that_is_no_number(tmp_path, capsys):
    (tmp_path / "log.log").write_text("dev at step 1: high\n")
    assert get_best_score.main([str(tmp_path)]) == 2
    assert "'high' of dev at step 1" in capsys.readouterr().err


@pytest.mark.parametrize("program", ["get_best_dev.py", "get_best_score.py"])
def test_runs_as_printed_from_the_repository(program, repo, tmp_path, run_program):
    (tmp_path / "log.log").write_text("New best on dev at step 5: 0.25\ntest at step 5: 0.5\n")
    done = run_program(f"utility/{program}", tmp_path / "log.log")
    assert done.stdout.endswith("The best dev score 0.25 at step 5, accoupanied by this test score 0.5\n")
