"""An upstream that is trained along: its own learning rate, frozen layers, its options; honoured to the last bit or refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from run_downstream import main
from tests.support.compare import assert_same_run
from upstream.registry import build
from utility.experiment.checkpoint import load

TINY = (
    "config.runner.total_steps=4,,config.runner.eval_step=2,,config.runner.save_step=2,,config.runner.log_step=2,,config.runner.max_keep=9,,"
    "config.runner.tensorboard=False,,config.downstream_expert.datarc.num_workers=0,,config.downstream_expert.datarc.train_batch_size=1,,"
    "config.downstream_expert.datarc.sizes={'train':4,'dev':2,'test':2}"
)
FREEZE = ",,config.optimizer.upstream_freeze=['net.model.feature_extractor.*', '*.layers.[0-1].*']"
PLUGIN = str(Path(__file__).resolve().parent / "plugins" / "hooked_task")


@pytest.fixture(scope="module")
def ckpt(golden) -> Path:
    return golden("upstreams/wav2vec2_deepposconv") / "ckpt.pt"


@pytest.fixture
def train(ckpt: Path, tmp_path: Path):
    """``train(folder, override, *flags)``: the status of a tiny training that fine-tunes wav2vec 2.0."""

    def run(folder: str, override: str = "", *flags: str) -> int:
        words = ["-u", "wav2vec2_local", "-k", str(ckpt), "-d", "example", "-p", str(tmp_path / folder), "--device", "cpu"]
        return main([*words, *(flags or ("-f", "-s", "last_hidden_state")), "-o", TINY + override])

    return run


def groups(folder: Path, step: int = 4) -> list[dict]:
    return load(folder / f"states-{step}.ckpt")["Optimizer"]["param_groups"]


def test_the_upstream_has_its_own_rate_and_the_schedule_scales_both(train, tmp_path):
    schedule = ",,config.scheduler={'name':'linear_schedule_with_warmup','num_warmup_steps':0}"
    assert train("run", f",,config.optimizer.lr=1e-3,,config.optimizer.upstream_lr=1e-5{schedule}") == 0
    rest, upstream = groups(tmp_path / "run", step=2)
    assert (rest["initial_lr"], upstream["initial_lr"]) == (1e-3, 1e-5)
    assert (rest["lr"], upstream["lr"]) == pytest.approx((5e-4, 5e-6))
    lines = map(json.loads, (tmp_path / "run/metrics.jsonl").read_text().splitlines())
    assert next(line["lr"] for line in lines if line["split"] == "train") > 1e-4  # that of the task is shown
    assert main(["-e", str(tmp_path / "run/states-2.ckpt"), "-p", str(tmp_path / "other"), "-o", "config.optimizer.upstream_lr=1e-2"]) == 0
    assert groups(tmp_path / "other")[1]["initial_lr"] == 1e-2


def test_optimizers_with_decay_groups_keep_them_apart(train, tmp_path):
    assert train("run", ",,config.optimizer={'name':'AdamW_with_schedule','lr':1e-3,'upstream_lr':1e-5}") == 0
    found = groups(tmp_path / "run")
    assert [g["weight_decay"] for g in found] == [0.01, 0.0, 0.01, 0.0]
    assert [g["lr"] / found[0]["lr"] for g in found] == pytest.approx([1, 1, 0.01, 0.01])


def test_frozen_layers_stay_and_the_run_resumes_equal(train, ckpt, tmp_path):
    assert train("whole", FREEZE) == 0
    before, after = build("wav2vec2_local", ckpt=str(ckpt)).state_dict(), load(tmp_path / "whole/states-4.ckpt")
    changed = {name for name, value in after["Upstream"].items() if not torch.equal(value, before[name])}
    assert changed
    assert not any("feature_extractor" in name or ".layers.0." in name or ".layers.1." in name for name in changed)
    named = [name for name, _ in build("wav2vec2_local", ckpt=str(ckpt)).named_parameters()]
    frozen = [name for name in named if "feature_extractor" in name or ".layers.0." in name or ".layers.1." in name]
    trained = sum(len(group["params"]) for group in after["Optimizer"]["param_groups"])
    assert trained == len(named) - len(frozen) + len(after["Downstream"]) - 1  # but for best_score, which is no parameter
    assert train("killed", FREEZE + ",,config.runner.total_steps=2") == 0
    assert main(["-e", str(tmp_path / "killed"), "-o", "config.runner.total_steps=4", "--device", "cpu"]) == 0
    for part in ("Upstream", "Downstream"):
        resumed = load(tmp_path / "killed/states-4.ckpt")[part]
        assert all(torch.equal(value, resumed[name]) for name, value in after[part].items())


def test_a_tasks_own_groups_lose_what_is_frozen(ckpt, tmp_path):
    words = [
        "-u",
        "wav2vec2_local",
        "-k",
        str(ckpt),
        "-d",
        PLUGIN,
        "-p",
        str(tmp_path / "run"),
        "--device",
        "cpu",
        "-f",
        "-s",
        "last_hidden_state",
    ]
    runner = {
        "total_steps": 2,
        "gradient_clipping": 1,
        "log_step": 1,
        "eval_step": 2,
        "save_step": 2,
        "eval_dataloaders": ["dev"],
        "tensorboard": False,
    }
    config = {"runner": runner, "optimizer": {"name": "AdamW", "lr": 0.01}, "downstream_expert": {"groups": True}}
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    words += ["-c", str(tmp_path / "config.yaml")]
    assert main([*words, "-o", "config.optimizer.upstream_lr=0.1"]) == 2
    assert main([*words, "-o", "config.optimizer.upstream_freeze=net.model.feature_extractor.*"]) == 0


FAULTS = [
    (",,config.optimizer.upstream_lr=1e-5", ("-l", "1"), "upstream_lr needs an upstream that is trained along (-f)"),
    (FREEZE, ("-l", "1"), "upstream_freeze needs an upstream that is trained along (-f)"),
    (",,config.optimizer.upstream_lr=-1", (), "upstream_lr must be a positive number, not -1"),
    (",,config.optimizer.upstream_lr=True", (), "upstream_lr must be a positive number, not True"),
    (",,config.optimizer.upstream_freeze=[3]", (), "upstream_freeze must be a pattern of parameter names or a list of them, not [3]"),
    (",,config.optimizer.upstream_freeze=net.model.feature_extracto.*", (), "did you mean 'net.model.feature_extractor.*'?"),
    (",,config.optimizer.upstream_freeze=*", (), "upstream_freeze leaves nothing of the upstream to train"),
    (
        ",,config.optimizer.upstream_lr=1e-5,,config.scheduler={'name':'TorchScheduler','torch_scheduler_name':'OneCycleLR','max_lr':0.1}",
        (),
        "upstream_lr has no place here: this schedule sets the learning rates itself",
    ),
    (",,config.upstream_options.batch_independant=True", (), "takes no option 'batch_independant'; did you mean 'batch_independent'?"),
    (",,config.upstream_options.ckpt=x", (), "upstream_options: ckpt is given by -k"),
    (",,config.upstream_options=3", (), "upstream_options is 3, not a section of fields"),
]


@pytest.mark.parametrize(("override", "flags", "sentence"), FAULTS, ids=[fault[2][:40] for fault in FAULTS])
def test_what_cannot_be_is_one_sentence(train, tmp_path, capsys, override, flags, sentence):
    assert train("run", override, *flags) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.ckpt"))


def test_what_cannot_change_on_a_resume_is_refused(train, tmp_path, capsys):
    assert train("run") == 0
    for change in ("upstream_lr=1e-5", "upstream_freeze=net.model.feature_extractor.*"):
        assert main(["-e", str(tmp_path / "run/states-2.ckpt"), "-o", f"config.optimizer.{change}", "--device", "cpu"]) == 2
        assert f"optimizer.{change.partition('=')[0]} " in capsys.readouterr().err


def test_options_reach_the_upstream_and_are_remembered(train, tmp_path, capsys):
    """Independent of the batch, features of a batch are those of each alone; the checkpoint says so when it is evaluated."""
    assert train("run", ",,config.upstream_options.batch_independent=True,,config.upstream_options.gradient_checkpointing=True") == 0
    assert load(tmp_path / "run/states-4.ckpt")["Config"]["upstream_options"] == {"batch_independent": True, "gradient_checkpointing": True}
    assert train("plain", ",,config.upstream_options.batch_independent=True") == 0
    for folder in ("run", "plain"):
        (tmp_path / folder / "log.log").touch()  # the task writes none
    assert_same_run(tmp_path / "run", tmp_path / "plain")  # gradient checkpointing changes memory and time alone
    assert main(["-m", "evaluate", "-t", "test", "-e", str(tmp_path / "run"), "--device", "cpu"]) == 0
    assert "[Runner] - test: acc" in capsys.readouterr().out


@pytest.mark.parametrize("field", ["upstream_lr=1e-5", "upstream_freeze=*"])
def test_an_upstream_without_weights_has_nothing_to_train(tmp_path, capsys, field):
    words = ["-u", "fbank", "-d", "example", "-f", "-p", str(tmp_path / "run"), "--device", "cpu"]
    assert main([*words, "-o", f"{TINY},,config.optimizer.{field}"]) == 2
    assert f"{field.partition('=')[0]} has no effect: the upstream has nothing to train" in capsys.readouterr().err
