"""Another system's config as stages, with a toy task: order, log and files, failure, Ctrl-C, resuming, several processes, flags."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import yaml

from tests.support import toys
from tests.support.compare import assert_same_run
from utility.errors import CheckpointError
from utility.experiment.checkpoint import load
from utility.experiment.command_line import Arguments
from utility.experiment.killpoints import VARIABLE
from utility.experiment.plan import BEST, JOURNAL, LAST, Plan, Stage, namespace_of

PLAN = '''
"""Reads configs with a field "recipe"."""

from pathlib import Path

import yaml

from utility.errors import ConfigError
from utility.experiment.plan import BEST, LAST, Plan, Stage


def plan(order):
    foreign = yaml.safe_load(Path(order.source).read_text())
    if "recipe" not in foreign:
        return None
    if foreign["recipe"] not in ("all", "broken"):
        raise ConfigError("recipe is unknown", order.source)
    config = yaml.safe_load((Path(__file__).parent / "ours.yaml").read_text())
    folder = order.args["expdir"] or foreign["folder"]
    middle = Stage("evaluate", config, folder, ("dev",), weights="nowhere.ckpt" if foreign["recipe"] == "broken" else BEST, device="cpu")
    return Plan(
        (
            Stage("train", config, folder, device="cpu", report=lambda folder: [f"trained in {folder.name}"]),
            middle,
            Stage("evaluate", config, folder, ("test",), weights=LAST, device="cpu"),
        ),
        override=order.args["override"],
        resumes=bool(order.args["auto_resume"]),
        files={"about/recipe.txt": "all\\n"},
        log=("plan.log", ("begins",)),
        warnings=("a recipe is read",),
    )
'''


@pytest.fixture
def planned(make_toy):
    """A toy experiment whose task reads recipes, and the words that start it."""
    toy = make_toy()
    task = toy.place / "planned_task"
    task.mkdir()
    for path in (toys.PLUGINS / "toy_task").glob("*.py"):
        (task / path.name).write_text(path.read_text())
    (task / "plan.py").write_text(PLAN)
    (task / "ours.yaml").write_text(yaml.safe_dump(toys.CONFIG))
    recipe = toy.place / "recipe.yaml"
    recipe.write_text("recipe: all\nfolder: unused\n")
    argv = ["-u", str(toys.PLUGINS / "toy_upstream"), "-d", str(task), "-c", str(recipe), "-p", str(toy.folder)]
    return toy, recipe, argv


def results(folder: Path) -> set[str]:
    return {str(path.relative_to(folder / "results")) for path in (folder / "results").rglob("*.json")}


def test_stages_in_order_equal_to_a_plain_training(planned, uninterrupted):
    toy, _, argv = planned
    process = toy.server.run(argv, toy.place)
    assert process.status == 0, process.err
    assert "a recipe is read" in process.err and process.err.index("stage 1 of 3, train") < process.err.index("stage 3 of 3, evaluate test")
    assert [line.split(" - ")[1].split(":")[0].split(" ")[0] for line in process.out.splitlines()] == ["training", "dev", "test"]
    assert results(toy.folder) >= {"dev-best/dev.json", "states-17/test.json"}
    assert (toy.folder / "plan.log").read_text() == f"begins\ntrained in {toy.folder.name}\n"
    assert (toy.folder / "about/recipe.txt").read_text() == "all\n"
    plain = load(uninterrupted() / "states-17.ckpt")["Downstream"]
    ours = load(toy.folder / "states-17.ckpt")["Downstream"]
    assert plain.keys() == ours.keys() and all((plain[k] == ours[k]).all() for k in plain if hasattr(plain[k], "all"))


def test_a_second_start_puts_the_first_aside_and_does_all_again(planned):
    toy, _, argv = planned
    for _ in range(2):
        assert toy.server.run(argv, toy.place).status == 0
    previous = next(toy.folder.glob("previous-*"))
    for folder in (toy.folder, previous):
        assert (folder / "plan.log").read_text().startswith("begins\n") and (folder / "about/recipe.txt").is_file()
        assert len(json.loads((folder / JOURNAL).read_text())["done"]) == 3


def test_a_killed_training_goes_on_and_stages_that_are_done_are_passed_over(planned, uninterrupted):
    toy, _, argv = planned
    assert toy.server.run(argv, toy.place, environment={VARIABLE: "checkpoint.written:3"}).status == -signal.SIGKILL
    assert not (toy.folder / JOURNAL).exists()
    process = toy.server.run(["-a", *argv], toy.place)
    assert process.status == 0, process.err
    assert not list(toy.folder.glob("previous-*"))
    assert_same_run(toy.folder, uninterrupted())
    journal = toy.folder / JOURNAL
    done = json.loads(journal.read_text())["done"]
    journal.write_text(json.dumps({"done": done[:2]}))
    again = toy.server.run(["-a", *argv], toy.place)
    assert again.status == 0 and [line.split(" - ")[1].split(":")[0] for line in again.out.splitlines()] == ["test"]
    assert json.loads(journal.read_text())["done"] == done


def test_a_stage_that_fails_ends_the_plan_with_its_status(planned):
    toy, recipe, argv = planned
    recipe.write_text("recipe: broken\nfolder: unused\n")
    process = toy.server.run(argv, toy.place)
    assert process.status == 2 and "nowhere.ckpt" in process.err and "Traceback" not in process.err
    assert len(json.loads((toy.folder / JOURNAL).read_text())["done"]) == 1
    assert len(process.out.splitlines()) == 1


def test_ctrl_c_ends_the_plan(planned):
    toy, _, argv = planned
    process = toy.server.start(argv, toy.place, before="tests.runner.test_plans:interrupt_soon")
    assert process.wait() == 130
    assert not (toy.folder / "results/states-17").exists() and "Traceback" not in process.err


def interrupt_soon() -> None:
    """Sends Ctrl-C to this process at its third checkpoint."""
    import os

    from utility.experiment import checkpoint

    visits = []

    def reach(name: str) -> None:
        visits.extend([name] if name == "checkpoint.written" else [])
        if len(visits) == 3:
            visits.append("sent")
            os.kill(os.getpid(), signal.SIGINT)

    checkpoint.reach = reach


def test_two_processes_do_the_same(planned):
    toy, _, argv = planned
    ranks = toy.run_ranks(argv)
    assert [rank.status for rank in ranks] == [0, 0], ranks[0].err + ranks[1].err
    assert len(json.loads((toy.folder / JOURNAL).read_text())["done"]) == 3
    assert results(toy.folder) >= {"dev-best/dev.json", "states-17/test.json"} and ranks[1].out == ""


def test_faults_of_the_config_are_one_sentence_before_anything_is_made(planned):
    toy, recipe, argv = planned
    recipe.write_text("recipe: some\n")
    process = toy.server.run(argv, toy.place)
    assert process.status == 2 and "recipe is unknown" in process.err and not toy.folder.exists()


def test_our_own_configs_and_tasks_without_a_plan_are_run_as_ever(planned):
    toy, _, argv = planned
    own = toys.write_config(toy.place / "own.yaml", runner={"total_steps": 4})
    process = toy.server.run([str(own) if word.endswith("recipe.yaml") else word for word in argv] + ["--device", "cpu"], toy.place)
    assert process.status == 0, process.err
    assert not (toy.folder / JOURNAL).exists() and "stage" not in process.err


def test_overrides_reach_every_stage(planned):
    toy, _, argv = planned
    process = toy.server.run([*argv, "-o", "config.runner.total_steps=5,,args.seed=7"], toy.place)
    assert process.status == 0, process.err
    result = json.loads((toy.folder / "results/states-5/test.json").read_text())
    assert result["config"]["runner"]["total_steps"] == 5 and result["args"]["seed"] == 7


def test_which_checkpoint_a_stage_takes(tmp_path: Path):
    def taken(weights: str) -> str:
        stage = Stage("evaluate", {}, str(tmp_path), weights=weights)
        typed = Arguments()
        typed.given = frozenset()
        return namespace_of(stage, Plan((stage,)), typed).init_ckpt

    for weights in (BEST, LAST):
        with pytest.raises(CheckpointError, match="evaluate test needs a checkpoint, and there is none in"):
            taken(weights)
    for step in (5, 10):
        (tmp_path / f"states-{step}.ckpt").touch()
    assert taken(BEST) == taken(LAST) == str(tmp_path / "states-10.ckpt")  # as good as any, where none is called the best
    (tmp_path / "dev-best.ckpt").touch()
    assert [taken(weights) for weights in (BEST, LAST, "mine.ckpt")] == [
        *(str(tmp_path / f"{n}.ckpt") for n in ("dev-best", "states-10")),
        "mine.ckpt",
    ]
