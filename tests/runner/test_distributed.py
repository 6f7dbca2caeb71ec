"""Two processes train and evaluate together: exact resume, one process's scores, and nobody is left behind.

Most tests fork the ranks with the environment that a launcher gives them; those that use the launcher itself are at the end.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from tests.support import processes
from tests.support.compare import assert_same_run, metrics_of, results_of
from utility.experiment.checkpoint import load
from utility.experiment.killpoints import VARIABLE

SIZES = {"train": 26, "dev": 9, "test": 5}
CONFIG = {"runner": {"total_steps": 13}, "downstream_expert": {"datarc": {"sizes": SIZES}}}
TASKS = ["toy_task", "toy_dealt_task"]


@pytest.fixture(scope="module")
def by_two(make_toy):
    """``by_two(task)``: the folder of an undisturbed training by two processes."""
    done: dict[str, Path] = {}

    def folder(task: str) -> Path:
        if task not in done:
            toy = make_toy(task, **CONFIG)
            toy.finish_ranks()
            done[task] = toy.folder
        return done[task]

    return folder


@pytest.mark.parametrize(
    ("task", "rank", "point"),
    [
        ("toy_task", 0, "checkpoint.before_rename:3"),
        ("toy_task", 0, "evaluate.middle:5"),
        ("toy_dealt_task", 0, "evaluate.middle:5"),
        ("toy_dealt_task", 1, "evaluate.middle:3"),
    ],
)
def test_a_killed_rank_ends_all_and_the_run_resumes_equal(make_toy, by_two, task, rank, point):
    toy = make_toy(task, **CONFIG)
    variables = [{}, {}]
    variables[rank] = {VARIABLE: point}
    ranks = toy.run_ranks(environment=variables)
    assert ranks[rank].status == -signal.SIGKILL, ranks[rank].err
    assert ranks[1 - rank].status == 1
    assert ranks[1 - rank].err.endswith(OTHER_ENDED.format(1 - rank))
    toy.finish_ranks()
    assert_same_run(toy.folder, by_two(task))


def test_an_iterable_dataset_resumes_equal_though_its_batches_do_not_divide_by_the_ranks(make_toy):
    """13 batches an epoch: each rank gets six, and both know that it has ended."""
    stream = {"runner": {"total_steps": 9}, "downstream_expert": {"datarc": {"sizes": SIZES, "stream": True}}}
    whole, killed = (make_toy("toy_task", **stream) for _ in range(2))
    whole.finish_ranks()
    assert killed.run_ranks(environment=[{VARIABLE: "checkpoint.before_rename:3"}, {}])[0].status == -signal.SIGKILL
    killed.finish_ranks()
    assert_same_run(killed.folder, whole.folder)
    state = load(whole.folder / "states-9.ckpt")
    assert 6 * state["Epoch"] + state["Consumed"] == 27


@pytest.mark.parametrize("task", TASKS)
def test_two_ranks_train_on_different_data(uninterrupted, by_two, task):
    one, two = load(uninterrupted(task, **CONFIG) / "states-13.ckpt"), load(by_two(task) / "states-13.ckpt")
    assert (one["EpochLength"], two["EpochLength"], two["WorldSize"]) == (13, 6, 2)
    assert not all(value.equal(two["Downstream"][name]) for name, value in one["Downstream"].items() if name.startswith("model"))


def test_an_update_by_two_is_that_of_one_process_with_the_same_batches(repo, make_toy):
    """Two ranks with a batch each, and one process that gathers the mean gradient of both batches."""
    found = []
    for size in (1, 2):
        toy = make_toy()
        periods = {"total_steps": 4, "log_step": 1, "eval_step": 4, "save_step": 1, "max_keep": 9, "tensorboard": False}
        runner = {**periods, "gradient_accumulate_steps": 3 - size, "gradient_clipping": 1e9}  # no norm hides a sum in place of a mean
        optimizer = {"name": "TorchOptim", "torch_optim_name": "SGD", "lr": 0.1}
        config = {"runner": runner, "optimizer": optimizer, "downstream_expert": {"items": 8}}
        (toy.place / "config.yaml").write_text(yaml.safe_dump(config))
        task = str(repo / "tests/runner/plugins/hooked_task")
        argv = ["-u", "mel", "-d", task, "-c", "config.yaml", "-p", str(toy.folder), "--device", "cpu"]
        ranks = toy.run_ranks(argv, size=size)
        assert [rank.status for rank in ranks] == [0] * size, ranks[0].err
        states = [load(toy.folder / f"states-{step}.ckpt")["Downstream"] for step in range(1, 5)]
        norms = [line["grad_norm"] for line in metrics_of(toy.folder) if "grad_norm" in line]
        found.append(([{name: v for name, v in state.items() if torch.is_tensor(v)} for state in states], norms))
    (alone, norms_alone), (together, norms_together) = found
    assert min(norms_alone) > 1e-3
    assert norms_together == pytest.approx(norms_alone, rel=1e-4)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-7)


def copied(make_toy, folder: Path, task: str):
    toy = make_toy(task)
    shutil.copytree(folder, toy.folder, ignore=shutil.ignore_patterns("results"))
    return toy


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("split", ["dev", "test", "one"])  # 5 batches, 3 batches, and fewer batches than processes
def test_two_processes_evaluate_like_one(make_toy, uninterrupted, task, split):
    alone, together = (copied(make_toy, uninterrupted(task, **CONFIG), task) for _ in range(2))
    alone.evaluate(split, "dev-best.ckpt")
    ranks = together.run_ranks(together.evaluation(split, "dev-best.ckpt"))
    assert [rank.status for rank in ranks] == [0, 0], ranks[0].err + ranks[1].err
    assert ranks[1].out == ""
    assert results_of(together.folder) == results_of(alone.folder) != {}
    logs = [next(toy.folder.glob("results/**/log.log"), toy.folder / "log.log").read_bytes() for toy in (alone, together)]
    assert logs[0] == logs[1] != b""


@pytest.mark.parametrize("task", TASKS)
def test_evaluation_in_training_by_two_is_that_of_the_checkpoint_by_one(make_toy, by_two, task):
    toy = copied(make_toy, by_two(task), task)
    for checkpoint in ("dev-best", "states-13"):
        toy.evaluate("dev", f"{checkpoint}.ckpt")
        name = f"{checkpoint}/dev.json"
        assert results_of(toy.folder)[name]["scores"] == results_of(by_two(task))[name]["scores"]


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_the_number_of_processes_must_stay(make_toy, uninterrupted, by_two, before, after):
    toy = copied(make_toy, by_two("toy_task") if before == 2 else uninterrupted(**CONFIG), "toy_task")
    (toy.folder / "states-13.ckpt").unlink()
    files = sorted(path.name for path in toy.folder.iterdir())
    ranks = toy.run_ranks(size=after) if after > 1 else [toy.run()]
    assert [rank.status for rank in ranks] == [2] * after
    sentence = f"error: the run was trained by {before} process(es) and cannot go on with {after}; start it with {before}\n"
    assert ranks[0].err.endswith(sentence)
    assert sorted(path.name for path in toy.folder.iterdir()) == files


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("split", ["train", "dev"])
def test_an_empty_split_is_the_same_sentence_as_with_one_process(make_toy, task, split):
    """A random order of nothing is refused by torch, so that the task's loader decides which sentence it is."""
    sentences = set()
    for size in (1, 2):
        toy = make_toy(task, downstream_expert={"datarc": {"sizes": {**SIZES, split: 0}}})
        ranks = toy.run_ranks(size=size) if size > 1 else [toy.run()]
        assert [rank.status for rank in ranks] == [2] * size, ranks[-1].err
        sentences |= {rank.err.splitlines()[-1] for rank in ranks}
    assert sentences == {f"run_downstream.py: error: the split {split!r} has no {'item' if split == 'train' else 'batch to evaluate'}"}


def test_an_empty_split_is_the_same_sentence_in_an_evaluation(make_toy, uninterrupted):
    toy = copied(make_toy, uninterrupted("toy_dealt_task", **CONFIG), "toy_dealt_task")
    argv = [*toy.evaluation("dev", "dev-best.ckpt"), "-o", "config.downstream_expert.datarc.sizes.dev=0"]
    for ranks in ([toy.server.run(argv, toy.place)], toy.run_ranks(argv)):
        assert [rank.status for rank in ranks] == [2] * len(ranks)
        assert all(rank.err.splitlines()[-1].endswith("the split 'dev' has no batch to evaluate") for rank in ranks)


def test_the_leader_alone_does_a_tasks_own_work(repo, make_toy):
    toy = make_toy()
    (toy.place / "config.yaml").write_text("downstream_expert: {}\n")
    task = str(repo / "tests/runner/plugins/hooked_task")
    argv = ["-m", "evaluate", "-t", "report", "-u", "mel", "-d", task, "-c", "config.yaml", "-p", str(toy.folder), "--device", "cpu"]
    ranks = toy.run_ranks(argv)
    assert [rank.status for rank in ranks] == [0, 0], ranks[0].err + ranks[1].err
    assert ["report: width 80" in rank.out for rank in ranks] == [True, False]
    assert (toy.folder / "results/initial/ranks.txt").read_text() == "0\n"
    assert (toy.folder / "results/initial/report.json").is_file()


OTHER_ENDED = "run_downstream.py: error: process {} ends because another process of the run has ended; its message says why\n"


def test_an_unknown_upstream_is_one_sentence(make_toy):
    toy = make_toy(**CONFIG)
    argv = [word if not word.endswith("toy_upstream") else "fbnk" for word in toy.argv]
    ranks = toy.run_ranks(argv)
    assert [rank.status for rank in ranks] == [2, 2]
    for rank in ranks:
        assert rank.err.startswith("run_downstream.py: error: unknown upstream 'fbnk'; did you mean 'fbank'?")
        assert rank.err.count("\n") == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_rank_stops_all_at_one_step(make_toy, by_two, rank):
    toy = make_toy("toy_dealt_task", **CONFIG)
    ranks = toy.start_ranks()
    processes.wait_until(lambda: (toy.folder / "metrics.jsonl").exists(), "training has begun")
    ranks[rank].kill(signal.SIGTERM)
    statuses = [process.wait() for process in ranks]
    assert statuses[rank] == 143, ranks[rank].err
    assert statuses[1 - rank] != 0
    assert toy.steps[-1] < 13
    toy.finish_ranks()
    assert_same_run(toy.folder, by_two("toy_dealt_task"))


def test_two_teams_in_one_folder(make_toy, by_two):
    toy = make_toy("toy_dealt_task", **CONFIG)
    first = toy.start_ranks()
    processes.wait_until(lambda: (toy.folder / "metrics.jsonl").exists(), "training has begun")
    os.kill(first[0].pid, signal.SIGSTOP)
    try:
        second = toy.run_ranks()
    finally:
        os.kill(first[0].pid, signal.SIGCONT)
    assert second[0].status == 2
    assert f"error: process {first[0].pid} on " in second[0].err
    assert second[1].err == OTHER_ENDED.format(1)
    assert [rank.wait() for rank in first] == [0, 0]
    assert_same_run(toy.folder, by_two("toy_dealt_task"))


LAUNCH = ["-m", "torch.distributed.launch", "--nproc_per_node", "2"]


def variables(marker: str, **more: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "RUN_WHILE_MIN_WAIT": "0", "RUN_WHILE_MAX_WAIT": "0", "TOY_MARKER": marker, **more}


def launch(toy, repo: Path, *words: str, **more: str) -> subprocess.Popen:
    """Starts a command in the repository whose processes can be found by the name of the toy's folder."""
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(words, cwd=repo, env=variables(toy.place.name, **more), start_new_session=True, **output)


def left(toy) -> list[int]:
    return processes.with_variable(f"TOY_MARKER={toy.place.name}")


def ranks_of(toy) -> list[int]:
    return [pid for pid in left(toy) if f"LOCAL_WORLD_SIZE={2}".encode() in environment_of(pid)]


def environment_of(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def test_the_launcher_under_the_loop(repo, make_toy, by_two):
    """./run_while.sh python3 -m torch.distributed.launch ... -a takes up a run that was killed."""
    toy = make_toy("toy_dealt_task", **CONFIG)
    toy.run_ranks(environment=[{VARIABLE: "checkpoint.before_rename:3"}])
    loop = launch(toy, repo, "./run_while.sh", "python3", *LAUNCH, "run_downstream.py", *toy.argv)
    out, _ = loop.communicate(timeout=300)
    assert loop.returncode == 0, out
    assert "trial 1 is complete" in out
    assert_same_run(toy.folder, by_two("toy_dealt_task"))
    assert left(toy) == []


@pytest.mark.slow
def test_a_rank_is_killed_under_the_loop(repo, make_toy, by_two):
    toy = make_toy("toy_dealt_task", **CONFIG)
    loop = launch(toy, repo, "./run_while.sh", "python3", *LAUNCH, "run_downstream.py", *toy.argv)
    processes.wait_until(lambda: loop.poll() is not None or bool(toy.steps), "a checkpoint")
    for pid in ranks_of(toy)[:1]:
        os.kill(pid, signal.SIGKILL)
    out, _ = loop.communicate(timeout=300)
    assert loop.returncode == 0, out
    assert "trial 2 is complete" in out
    assert_same_run(toy.folder, by_two("toy_dealt_task"))
    assert left(toy) == []


@pytest.mark.slow
def test_the_launcher_is_killed(repo, make_toy, by_two):
    """Ranks whose launcher is gone end by themselves, saved, and the folder can be trained in again."""
    toy = make_toy("toy_dealt_task", **CONFIG)
    launcher = launch(toy, repo, sys.executable, *LAUNCH, "run_downstream.py", *toy.argv)
    processes.wait_until(lambda: bool(toy.steps), "a checkpoint")
    launcher.kill()
    launcher.communicate(timeout=60)
    processes.wait_until(lambda: not left(toy), "the ranks end", 60)
    toy.finish_ranks()
    assert_same_run(toy.folder, by_two("toy_dealt_task"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_launcher(repo, make_toy, by_two, number):
    toy = make_toy("toy_task", **CONFIG)
    launcher = launch(toy, repo, sys.executable, *LAUNCH, "run_downstream.py", *toy.argv)
    processes.wait_until(lambda: bool(toy.steps), "a checkpoint")
    launcher.send_signal(number)
    launcher.communicate(timeout=120)
    assert launcher.returncode != 0
    assert left(toy) == []
    toy.finish_ranks()
    assert_same_run(toy.folder, by_two("toy_task"))


@pytest.mark.slow
def test_the_launcher_shows_the_sentence_of_a_wrong_option(repo, make_toy):
    toy = make_toy(**CONFIG)
    argv = [word if not word.endswith("toy_upstream") else "fbnk" for word in toy.argv]
    launcher = launch(toy, repo, sys.executable, *LAUNCH, "run_downstream.py", *argv)
    out, _ = launcher.communicate(timeout=120)
    assert launcher.returncode != 0
    assert "run_downstream.py: error: unknown upstream 'fbnk'; did you mean 'fbank'?" in out
    assert left(toy) == []


@pytest.mark.slow
def test_ranks_are_killed_again_and_again(make_toy, by_two):
    """One rank or the other dies at each visit of each place; accumulation crosses the epochs' ends."""
    kills = 0
    for task in TASKS:
        for rank in (0, 1):
            for name in ("checkpoint.written", "checkpoint.before_remove", "evaluate.middle"):
                for visit in range(1, 30, 5):
                    toy = make_toy(task, **CONFIG)
                    own = [{}, {}]
                    own[rank] = {VARIABLE: f"{name}:{visit}"}
                    if all(process.status == 0 for process in toy.run_ranks(environment=own)):
                        break
                    kills += 1
                    toy.finish_ranks()
                    assert_same_run(toy.folder, by_two(task))
    assert kills > 8
