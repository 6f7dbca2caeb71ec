"""Settings of the optimizer that ``-o`` changes on a resume hold from the next update on, or are refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from run_downstream import main
from tests.support.compare import assert_same_run
from utility.experiment.checkpoint import load

PLUGIN = str(Path(__file__).resolve().parent / "plugins" / "hooked_task")
RUNNER = {"total_steps": 8, "gradient_clipping": 1, "log_step": 1, "eval_step": 4, "save_step": 4, "max_keep": 9, "tensorboard": False}
SGD = {"name": "TorchOptim", "torch_optim_name": "SGD", "lr": 0.01}
ADAMW = {"name": "AdamW", "lr": 0.01}
BERT = {"name": "BertAdam_with_schedule", "lr": 0.01}
LINEAR = {"name": "linear_schedule_with_warmup", "num_warmup_steps": 2}
STEPS = {"name": "TorchScheduler", "torch_scheduler_name": "StepLR", "step_size": 3, "gamma": 0.5}
COSINE = {"name": "TorchScheduler", "torch_scheduler_name": "CosineAnnealingLR"}
ONE_CYCLE = {"name": "TorchScheduler", "torch_scheduler_name": "OneCycleLR", "max_lr": 0.1}
RESUMED = ["-m", "train", "-d", PLUGIN, "--device", "cpu"]


def train(folder: Path, optimizer: dict, scheduler: dict | None, *flags: str, **runner: int) -> None:
    """A run in ``folder`` with a task whose parameters form two groups."""
    config = {"runner": {**RUNNER, "eval_dataloaders": ["dev"], **runner}, "optimizer": optimizer, "downstream_expert": {"groups": True}}
    path = folder.with_suffix(".yaml")
    path.write_text(yaml.safe_dump({**config, "scheduler": scheduler} if scheduler else config))
    assert main([*RESUMED, "-u", "mel", "-c", str(path), "-p", str(folder), *flags]) == 0


def groups(folder: Path, step: int) -> list[dict]:
    """The settings of the parameter groups in a checkpoint."""
    found = load(folder / f"states-{step}.ckpt")["Optimizer"]["param_groups"]
    return [{k: v for k, v in group.items() if k != "params"} for group in found]


def rates(folder: Path) -> dict[int, float]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["lr"] for line in lines if line["split"] == "train"}


CHANGES = [
    (SGD, None, "optimizer.lr=0.5"),
    (SGD, None, "optimizer.momentum=0.9"),
    (SGD, None, "optimizer.weight_decay=0.1"),
    (ADAMW, LINEAR, "optimizer.lr=5e-1"),
    (ADAMW, LINEAR, "optimizer.betas=[0.5, 0.6]"),
    (ADAMW, LINEAR, "optimizer.eps=0.1"),
    (ADAMW, LINEAR, "scheduler.num_warmup_steps=6"),
    (ADAMW, LINEAR, "scheduler=None"),
    (BERT, None, "optimizer.warmup_proportion=0.7"),
    (SGD, STEPS, "optimizer.lr=0.5"),
    (SGD, STEPS, "scheduler.gamma=0.9"),
    (SGD, ONE_CYCLE, "scheduler.max_lr=0.3"),
    (BERT, None, "runner.total_steps=12"),
    (SGD, COSINE, "runner.total_steps=12"),
    (SGD, ONE_CYCLE, "runner.total_steps=12"),
    (ADAMW, None, "downstream_expert.group_lr=0.25"),
]


@pytest.mark.parametrize(("optimizer", "scheduler", "change"), CHANGES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_changed_setting_holds_from_the_next_update_on(tmp_path, optimizer, scheduler, change):
    """As in a run that had it from the start; what is recorded is what is used."""
    old, new, expected = (tmp_path / name for name in ("old", "new", "expected"))
    train(old, optimizer, scheduler)
    train(expected, optimizer, scheduler, "-o", f"config.{change}")
    last = max(int(path.stem.partition("-")[2]) for path in expected.glob("states-*"))
    assert main([*RESUMED, "-e", str(old / "states-4.ckpt"), "-p", str(new), "-o", f"config.{change}"]) == 0
    for step in (last, 8):
        for group, wanted in zip(groups(new, step), groups(expected, step), strict=True):
            assert {name: group[name] for name in wanted} == wanted
    assert rates(new) == {step: (rates(expected) if step > 4 else rates(old))[step] for step in range(1, last + 1)}
    assert load(new / f"states-{last}.ckpt")["Config"] == load(expected / f"states-{last}.ckpt")["Config"]


@pytest.mark.parametrize(("optimizer", "scheduler"), [(SGD, STEPS), (ADAMW, LINEAR), (BERT, None)])
@pytest.mark.parametrize("change", ["optimizer.lr=0.01", "downstream_expert.items=6", "runner.max_keep=9"])
def test_what_is_no_change_changes_no_bit(tmp_path, optimizer, scheduler, change):
    old, new = tmp_path / "old", tmp_path / "new"
    train(old, optimizer, scheduler)
    assert main([*RESUMED, "-e", str(old / "states-4.ckpt"), "-p", str(new), "-o", f"config.{change}"]) == 0
    for folder in (old, new):  # this task writes none
        (folder / "log.log").touch()
    (old / "states-4.ckpt").unlink()
    assert_same_run(new, old)


REFUSED = [
    (ADAMW, "optimizer.name=Adam", "optimizer.name cannot change from 'AdamW' to 'Adam' on a resume"),
    (SGD, "optimizer.torch_optim_name=Adam", "optimizer.torch_optim_name cannot change from 'SGD' to 'Adam'"),
    (SGD, "scheduler.name=cosine_schedule_with_warmup", "scheduler.name cannot change from 'linear_schedule_with_warmup'"),
    ({**SGD, "torch_optim_name": "Adam"}, "optimizer.amsgrad=True", "optimizer.amsgrad cannot change on a resume"),
    ({**SGD, "torch_optim_name": "RMSprop"}, "optimizer.momentum=0.9", "optimizer.momentum cannot change on a resume"),
]


@pytest.mark.parametrize(("optimizer", "change", "words"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_what_cannot_change_is_refused_by_name(tmp_path, capsys, optimizer, change, words):
    folder = tmp_path / "run"
    train(folder, optimizer, LINEAR)
    before = sorted(path.name for path in folder.iterdir())
    assert main([*RESUMED, "-e", str(folder / "states-4.ckpt"), "-o", f"config.{change}"]) == 2
    assert words in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_schedule_that_ends_before_the_run_stands_is_named(tmp_path, capsys):
    train(tmp_path / "run", SGD, ONE_CYCLE)
    change = "config.scheduler.total_steps=3"
    assert main([*RESUMED, "-e", str(tmp_path / "run" / "states-4.ckpt"), "-o", change]) == 2
    assert "scheduler: the schedule does not reach step 4, where the run stands" in capsys.readouterr().err


def test_a_schedule_may_begin_on_a_resume(tmp_path):
    train(tmp_path / "run", SGD, None)
    change = f"config.scheduler={STEPS}"
    assert main([*RESUMED, "-e", str(tmp_path / "run" / "states-4.ckpt"), "-o", change]) == 0
    assert [rate for step, rate in rates(tmp_path / "run").items() if step > 4] == [0.01, 0.01, 0.01, 0.005]
