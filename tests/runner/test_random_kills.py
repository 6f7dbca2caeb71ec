"""Trainings that are killed at random moments, again and again, until they are complete."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.compare import assert_same_run

# Long enough for several kills in each run; a checkpoint after every second update.
LONG = {"runner": {"total_steps": 61, "eval_step": 7, "save_step": 2, "log_step": 5}}


def with_workers(count: int) -> dict:
    """The long run with loader workers."""
    return {**LONG, "downstream_expert": {"datarc": {"num_workers": count}}}


@dataclass
class Kills:
    """What has happened so far: number of kills, and the steps from which the next process went on."""

    count: int = 0
    resumed: list[int] = field(default_factory=list)
    runs: int = 0


def kill_until_complete(toy, draw: random.Random, kills: Kills, longest: float, most: int) -> None:
    """Starts the training and kills it after a random time, until a process ends by itself; after ``most`` kills it is left alone."""
    here = 0
    while True:
        process = toy.start()
        if here < most:
            time.sleep(draw.uniform(0, longest))
        else:
            process.wait()
        process.kill()
        status = process.wait()
        if status != -signal.SIGKILL:
            assert status == 0, process.err
            kills.runs += 1
            return
        here += 1
        kills.count += 1
        kills.resumed.append(toy.steps[-1] if toy.steps else 0)


def half_a_run(make_toy: Callable, changes: dict) -> float:
    """Seconds, now and here: within them a kill can fall anywhere in a run, however busy the machine is."""
    begin = time.monotonic()
    make_toy(**changes).finish()
    return 0.5 * (time.monotonic() - begin)


def kill_runs(make_toy: Callable, changes: dict, other: dict, seed: int, wanted: int, distinct: int) -> None:
    """Whole runs until there were ``wanted`` kills and ``distinct`` steps to resume from; each must equal an undisturbed run.

    Args:
        changes: config of the undisturbed run.
        other: config of the runs that are killed.
    """
    draw, kills, undisturbed = random.Random(seed), Kills(), make_toy(**changes)
    undisturbed.finish()
    longest = half_a_run(make_toy, other)
    while kills.count < wanted or len(set(kills.resumed)) < distinct:
        assert kills.runs < wanted, f"only {kills}"
        toy = make_toy(**other)
        kill_until_complete(toy, draw, kills, longest, wanted)
        assert_same_run(toy.folder, undisturbed.folder)
    print(f"{kills.count} kills in {kills.runs} runs, {len(set(kills.resumed))} distinct steps to resume from")


def test_twenty_kills_at_random_moments(make_toy):
    kill_runs(make_toy, LONG, LONG, seed=1, wanted=20, distinct=5)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_more_kills_with_and_without_workers(make_toy, workers):
    kill_runs(make_toy, LONG, with_workers(workers), seed=2 + workers, wanted=30, distinct=5)


@pytest.mark.slow
def test_signals_of_all_kinds_at_random_moments(make_toy, uninterrupted):
    """SIGTERM, SIGINT and SIGKILL, also in quick succession."""
    draw, expected, longest = random.Random(5), uninterrupted(**LONG), half_a_run(make_toy, LONG)
    ended: set[int] = set()
    wanted, runs = {-signal.SIGKILL, 143, 130}, 0
    while runs < 6 or not (wanted <= ended or runs == 30):
        toy, runs = make_toy(**LONG), runs + 1
        for _ in range(6):
            process = toy.start()
            time.sleep(draw.uniform(0, longest))
            for number in draw.choices([signal.SIGTERM, signal.SIGINT, signal.SIGKILL], k=draw.choice((1, 1, 2))):
                process.kill(number)
            ended.add(process.wait())
        toy.finish()
        assert_same_run(toy.folder, expected)
    assert wanted <= ended <= wanted | {-signal.SIGTERM, -signal.SIGINT, 0}


@pytest.mark.slow
def test_random_kills_of_real_processes_under_the_loop(repo, make_toy, uninterrupted, tmp_path):
    """./run_while.sh with two loader workers; whatever trains is killed from outside at random moments."""
    draw = random.Random(6)
    toy = make_toy(**with_workers(2))
    marker = f"TOY_MARKER={tmp_path.name}"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "RUN_WHILE_MIN_WAIT": "0", "RUN_WHILE_MAX_WAIT": "0", "TOY_MARKER": tmp_path.name}
    words = ["./run_while.sh", "python3", "run_downstream.py", *toy.argv]
    loop = subprocess.Popen(words, cwd=repo, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for _ in range(4):
        wanted = max(toy.steps, default=0) + draw.randrange(4, 12)
        processes.wait_until(lambda wanted=wanted: loop.poll() is not None or max(toy.steps, default=0) >= wanted, "progress", 120)
        trainers = [pid for pid in processes.with_variable(marker) if is_trainer(pid)]
        if trainers:
            os.kill(min(trainers), signal.SIGKILL)
    out, _ = loop.communicate(timeout=300)
    assert loop.returncode == 0, out
    assert out.count("ended with status 137") >= 3
    assert_same_run(toy.folder, uninterrupted(**LONG))
    assert processes.with_variable(marker) == []


def is_trainer(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"run_downstream.py" in words[1:2]
