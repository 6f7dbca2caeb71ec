"""run_while.sh around small stand-ins for run_downstream.py: when it refuses, repeats, waits, cleans up and stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from utility.experiment.train_command import Training, find_trainings, stops_on_success, to_shell
from utility.run_while import job_processes, newest_states

TRAINER = """
import os, signal, subprocess, sys, time
from pathlib import Path
count = Path("count")
trial = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(trial))
print("out", trial)
folder = Path("result/downstream/X")
folder.mkdir(parents=True, exist_ok=True)
{body}
"""


@pytest.fixture
def start(repo, tmp_path):
    """``start(body, *words)``: run_while.sh in ``tmp_path`` with a run_downstream.py of this body; ended after the test."""
    started: list[subprocess.Popen] = []

    def _start(body: str, *words: str, **variables: str) -> subprocess.Popen:
        (tmp_path / "run_downstream.py").write_text(TRAINER.format(body=body))
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "RUN_WHILE_MIN_WAIT": "0", "RUN_WHILE_MAX_WAIT": "0", **variables}
        process = subprocess.Popen(
            [repo / "run_while.sh", *words],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        started.append(process)
        return process

    yield _start
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def wait_for(condition, what: str) -> None:
    """Polls until the condition holds; the limit only keeps a broken run from hanging the tests."""
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"never happened: {what}")


TRAIN = ["python3", "run_downstream.py", "-a", "-m", "train", "-n", "X", "-u", "fbank", "-d", "example"]


def test_a_training_is_repeated_until_it_is_complete(start):
    status, out, err = finish(start("sys.exit(0 if trial == 3 else 1)", *TRAIN))
    assert (status, out) == (0, "out 1\nout 2\nout 3\n")
    assert [f"[run_while] trial {n}: " in err for n in (1, 2, 3, 4)] == [True, True, True, False]


def test_a_training_below_a_wrapper_is_repeated_until_it_is_complete(start, tmp_path):
    (tmp_path / "uv").write_text('#!/bin/sh\nshift\nexec python3 "$@"\n')
    (tmp_path / "uv").chmod(0o755)
    words = ["nice", "-n", "1", "./uv", "run", *TRAIN[1:]]
    assert finish(start("sys.exit(0 if trial == 2 else 1)", *words))[:2] == (0, "out 1\nout 2\n")


def test_the_quoted_form_is_the_same(start):
    assert finish(start("sys.exit(0 if trial == 2 else 1)", " ".join(TRAIN)))[:2] == (0, "out 1\nout 2\n")


@pytest.mark.parametrize("word", ["config.x=\"['dev', 'test']\"", "a;b", "$HOME", "it's"])
def test_words_reach_the_program_as_they_were_typed(start, word):
    assert finish(start("print(sys.argv[-1])", *TRAIN, "-o", word))[:2] == (0, f"out 1\n{word}\n")


def test_a_mistake_in_the_command_ends_the_loop(start):
    status, out, err = finish(start("sys.exit(2)", *TRAIN))
    assert (status, out) == (2, "out 1\n")
    assert "a mistake in the command" in err


@pytest.mark.parametrize(
    "words",
    [
        [word for word in TRAIN if word != "-a"],
        ["python3 run_downstream.py -n X -u fbank -d example; sleep 1"],
        ["torchrun", "--nproc_per_node", "2", "run_downstream.py", "-m", "train", "-n", "X"],
        ["python3", "-m", "torch.distributed.launch", "--nproc_per_node", "2", "run_downstream.py", "--mode=train", "-p", "a"],
        ["./run_downstream.py", "-o", "config.a=1", "-m", "train", "-n", "X"],
        ["nohup", "./run_downstream.py", "-m", "train", "-n", "X"],
        ["nice", "-n", "10", "./run_downstream.py", "-n", "X", "-u", "fbank", "-d", "example"],
        ["uv run run_downstream.py -m train -n X"],
        ["srun", "-N", "1", "./run_downstream.py", "-m", "train", "-n", "X"],
    ],
)
def test_a_training_that_would_start_anew_each_time_is_refused(start, words, tmp_path):
    status, out, err = finish(start("", *words))
    assert (status, out) == (2, "")
    assert err == "[run_while] a training in a loop needs -a (--auto_resume), or each attempt would start it from the beginning\n"
    assert not (tmp_path / "count").exists()


@pytest.mark.parametrize("words", [["python3 run_downstream.py -m evaluate -e X; true"], ["./x.sh", "folder"]])
def test_anything_else_is_repeated_for_ever(start, words, tmp_path):
    script = tmp_path / "x.sh"
    script.write_text("#!/bin/sh\npython3 run_downstream.py $1\n")
    script.chmod(0o755)
    process = start("", *words)
    wait_for(lambda: (tmp_path / "count").exists() and int((tmp_path / "count").read_text() or 0) > 4, "five trials")
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 143


def waits(err: str) -> list[str]:
    return [line.rpartition("follows in ")[2] for line in err.splitlines() if "follows in " in line]


def test_the_wait_doubles_until_there_is_progress(start):
    body = "(folder / f'states-{trial}.ckpt').touch() if trial in (1, 5) else None; sys.exit(0 if trial == 7 else 1)"
    err = finish(start(body, *TRAIN, RUN_WHILE_MIN_WAIT="0.01", RUN_WHILE_MAX_WAIT="0.05"))[2]
    assert waits(err) == ["0.01 s", "0.02 s", "0.04 s", "0.05 s", "0.01 s", "0.02 s"]


def test_a_bad_wait_is_one_sentence(start):
    status, _, err = finish(start("", *TRAIN, RUN_WHILE_MIN_WAIT="soon"))
    assert (status, err) == (2, "[run_while] RUN_WHILE_MIN_WAIT must be a number of seconds, not 'soon'\n")


ORPHAN = """
def alive(pid):
    status = Path("/proc", pid, "status")
    return status.exists() and "zombie" not in status.read_text()

if trial == 2:
    print("alive" if any(map(alive, Path("orphans").read_text().split())) else "gone")
for session in (True, False):
    worker = subprocess.Popen([sys.executable, "worker.py"], start_new_session=session, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    worker.stdout.readline()
    open("orphans", "a").write(f"{worker.pid}\\n")
sys.stdout.flush()
os._exit(0 if trial == 2 else 1)
"""


def test_workers_left_behind_are_ended_before_the_next_attempt_and_nobody_elses(start, tmp_path):
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env={**os.environ, "RUN_WHILE_JOB": "0" * 32})
    try:
        (tmp_path / "worker.py").write_text("import time; print('ready', flush=True); time.sleep(600)")
        status, out, err = finish(start(ORPHAN, *TRAIN))
        assert bystander.poll() is None
        assert job_processes("0" * 32) == [bystander.pid]
    finally:
        bystander.kill()
        bystander.wait()
    assert (status, out.split()[-1]) == (0, "gone")
    assert err.count("ending 2 left-over process(es)") == 2
    left = [pid for pid in (tmp_path / "orphans").read_text().split() if b"worker.py" in cmdline(pid)]
    assert left == []


def cmdline(pid: str) -> bytes:
    path = Path("/proc", pid, "cmdline")
    return path.read_bytes() if path.exists() else b""


SAVING = """
def save(number, frame):
    time.sleep(0.3)
    open("saved", "a").write(signal.Signals(number).name + "\\n")
    sys.exit(128 + number)
signal.signal(signal.SIGINT, save)
signal.signal(signal.SIGTERM, save)
Path("ready").touch()
while True:
    time.sleep(0.01)
"""


@pytest.mark.parametrize(("number", "wanted"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("words", [TRAIN, [" ".join(TRAIN) + "; sleep 600"]], ids=["words", "line"])
def test_a_signal_reaches_the_command_once_and_ends_the_loop(start, tmp_path, number, wanted, words):
    process = start(SAVING, *words)
    wait_for((tmp_path / "ready").exists, "the trainer runs")
    process.send_signal(number)
    status, out, err = finish(process)
    assert (status, out) == (wanted, "out 1\n")
    assert (tmp_path / "saved").read_text() == number.name + "\n"
    assert "is passed on" in err


def test_a_signal_between_two_attempts_ends_the_loop(start):
    process = start("sys.exit(1)", *TRAIN, RUN_WHILE_MIN_WAIT="600", RUN_WHILE_MAX_WAIT="600")
    while "follows in" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 130


def test_a_trainer_that_is_killed_from_outside_is_started_again(start, tmp_path):
    process = start("print(os.getpid()); os.kill(os.getpid(), 9) if trial == 1 else sys.exit(0)", *TRAIN)
    status, _, err = finish(process)
    assert status == 0
    assert "trial 1 ended with status 137" in err


def test_without_a_command_it_shows_its_help(repo):
    done = subprocess.run([repo / "run_while.sh"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "./run_while.sh COMMAND" in done.stderr


def test_start_up_imports_no_heavy_package(repo):
    code = "import sys, utility.run_while; print([m for m in ('torch', 'numpy', 'yaml') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], cwd=repo, capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("python3 run_downstream.py -a -n X -u U -d D", [Training(True, Path("result/downstream/X"))]),
        ("python3 run_downstream.py -fa -n X -p some/dir", [Training(True, Path("some/dir"))]),
        ("python3 run_downstream.py -m train --auto -e a/states-5.ckpt", [Training(True, Path("a"))]),
        ("CUDA_VISIBLE_DEVICES=0 python3.11 /x/run_downstream.py -m train", [Training(False, None)]),
        ("python3 run_downstream.py -n X > log 2>&1", [Training(False, Path("result/downstream/X"))]),
        ("cd x && python3 run_downstream.py -a -n X", [Training(True, Path("result/downstream/X"))]),
        ("for i in 1 2; do (python3 run_downstream.py -n X); done", [Training(False, Path("result/downstream/X"))]),
        ("python3 run_downstream.py -m evaluate -e X -t test", []),
        ("python3 run_downstream.py -h", []),
        ("cat run_downstream.py", []),
        ("git commit run_downstream.py -m word", []),
        ("nohup ./run_downstream.py -a -n X > log", [Training(True, Path("result/downstream/X"))]),
        ("nice ./run_downstream.py -n X", [Training(False, Path("result/downstream/X"))]),
        ("nice -n 5 nohup run_downstream.py -m train -p a", [Training(False, Path("a"))]),
        ("uv run run_downstream.py -a -u fbank -d example -n X", [Training(True, Path("result/downstream/X"))]),
        ("uv run --with torch ./run_downstream.py -u fbank -d example", [Training(False, None)]),
        ("A=1 srun --gres=gpu:1 ./run_downstream.py -e a/b.ckpt", [Training(False, Path("a"))]),
        ("srun --gres=gpu:1 ./run_downstream.py -m evaluate -e a/b.ckpt", []),
        ("nohup ./run_downstream.py -h", []),
        ("./x.sh a; sleep 1800;", []),
        ("echo 'unclosed", []),
    ],
)
def test_trainings_are_found_in_a_line(line, wanted):
    assert find_trainings(line) == wanted


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("python3 run_downstream.py -a -n X", True),
        ("python3 run_downstream.py -a -n X &> log", True),
        ("cd y && python3 run_downstream.py -a -n X && echo done", True),
        ("python3 run_downstream.py -a -n X; sleep 5", False),
        ("python3 run_downstream.py -a -n X || true", False),
        ("sleep 5", False),
    ],
)
def test_which_lines_can_be_complete(line, wanted):
    assert stops_on_success(line) is wanted


def test_words_become_a_line_that_bash_reads_back():
    assert to_shell(["a b; c"]) == "a b; c"
    assert to_shell(["A=x y", "python3", "f.py", "B=1", "&&", "C=$D", "e"]) == "A='x y' python3 f.py B=1 && C='$D' e"


def test_newest_states_sees_new_and_rewritten_files(tmp_path):
    assert newest_states(tmp_path) is None
    assert newest_states(None) is None
    (tmp_path / "states-9.ckpt").touch()
    first = newest_states(tmp_path)
    os.utime(tmp_path / "states-9.ckpt", ns=(1, first[1] + 5))
    assert newest_states(tmp_path) == ("states-9.ckpt", first[1] + 5)
    (tmp_path / "dev-best.ckpt").touch()
    assert newest_states(tmp_path)[0] == "states-9.ckpt"


def test_a_mistake_that_a_launcher_hides_ends_the_loop(start, tmp_path):
    words = ["python3", "run_downstream.py", "-a", "-m", "train", "-n", "X"]
    body = "Path(os.environ['RUN_WHILE_MISTAKE']).touch()\nsys.exit(1)"
    status, _, err = finish(start(body, *words))
    assert status == 2
    assert "a mistake in the command" in err
    assert (tmp_path / "count").read_text() == "1"
