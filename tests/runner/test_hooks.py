"""What a task may ask of the Runner beyond S3PRL's contract, shown with a toy task that uses every hook."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from run_downstream import main
from tests.support.compare import differences
from tests.support.pipelines import noises, untrained
from utility.experiment.checkpoint import load

PLUGIN = str(Path(__file__).resolve().parent / "plugins" / "hooked_task")
RUNNER = {"total_steps": 6, "gradient_clipping": 1, "log_step": 2, "eval_step": 3, "save_step": 3, "max_keep": 2, "tensorboard": False}


@pytest.fixture
def train(tmp_path):
    """Trains the toy task and returns the exit status; fields of the config by section."""

    def run(name="run", upstream="mel", flags=(), runner=None, scheduler=None, **task) -> int:
        runner = {k: v for k, v in {**RUNNER, "eval_dataloaders": ["dev"], **(runner or {})}.items() if v is not None}
        optimizer = {"name": "TorchOptim", "torch_optim_name": "SGD", "lr": 0.01}
        config = {"runner": runner, "optimizer": optimizer, "downstream_expert": task}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config if scheduler is None else {**config, "scheduler": scheduler}))
        argv = ["-u", upstream, "-d", PLUGIN, "-c", str(tmp_path / "config.yaml"), "-p", str(tmp_path / name), "--device", "cpu", *flags]
        return main(argv)

    return run


def lines(folder: Path, split: str) -> list[dict]:
    every = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in every if line["split"] == split]


def evaluate(folder: Path, split: str, *flags: str) -> int:
    return main(["-m", "evaluate", "-t", split, "-e", str(folder), "-d", PLUGIN, "--device", "cpu", *flags])


def test_memory_after_save_and_versions(train, tmp_path):
    assert train() == 0
    run = tmp_path / "run"
    state = load(run / "states-6.ckpt")
    assert state["Downstream"]["_extra_state"]["seen"] == ["train@2", "dev@3", "train@4", "train@6", "dev@6"]
    assert (run / "newest.link").resolve().name == "states-6.ckpt"
    result = json.loads((run / "results" / "dev-best" / "dev.json").read_text())
    assert result["task_version"] == 7
    assert result["scores"]["loss"]["unit"] == "square"
    assert result["scores"]["loss"]["higher_is_better"] is False
    assert (result["items"], result["batches"], result["step"]) == (6, 3, 6)
    assert result["config"]["runner"]["total_steps"] == 6


def test_weights_within_a_range_after_each_update(train, tmp_path):
    assert train(most=0.9, runner={"save_step": 1, "max_keep": 6}) == 0
    for step in range(1, 7):
        assert load(tmp_path / f"run/states-{step}.ckpt")["Downstream"]["scale"].item() <= 0.9


def test_whole_gradients_are_cut_before_each_update(train, tmp_path):
    runner = {"save_step": 1, "max_keep": 7, "gradient_clipping": 1000, "gradient_accumulate_steps": 2}
    assert train(steepest=1e-3, runner=runner) == 0
    scales = [load(tmp_path / f"run/states-{step}.ckpt")["Downstream"]["scale"].double().item() for step in range(1, 7)]
    np.testing.assert_allclose(np.abs(np.diff(scales)), 0.01 * 1e-3, rtol=0.02)  # not twice as much


def test_own_parameter_groups(train, tmp_path):
    assert train(groups=True) == 0
    groups = load(tmp_path / "run" / "states-6.ckpt")["Optimizer"]["param_groups"]
    assert [group["lr"] for group in groups] == [0.01, 0.5]


def test_early_stopping_ends_the_run_for_good(train, tmp_path, capsys):
    assert train(stop_at=3, runner={"total_steps": 60}) == 0
    run = tmp_path / "run"
    assert sorted(p.name for p in run.glob("*.ckpt")) == ["dev-best.ckpt", "states-3.ckpt"]
    assert load(run / "states-3.ckpt")["Finished"] is True
    capsys.readouterr()
    assert main(["-m", "train", "-e", str(run), "-d", PLUGIN, "--device", "cpu"]) == 0
    assert "complete already" in capsys.readouterr().out


def test_epochs_count_everything(train, tmp_path):
    counts = {"total_steps": None, "log_step": None, "eval_step": None, "save_step": None}
    epochs = {"total_epochs": 4, "log_epoch": 1, "eval_epoch": 2, "save_epoch": 2}
    schedule = {"name": "TorchScheduler", "torch_scheduler_name": "StepLR", "step_size": 1, "gamma": 0.5, "interval": "epoch"}
    assert train(runner={**counts, **epochs}, scheduler=schedule) == 0
    run = tmp_path / "run"
    assert [line["step"] for line in lines(run, "train")] == [3, 6, 9, 12]
    assert [line["step"] for line in lines(run, "dev")] == [6, 12]
    assert sorted(p.name for p in run.glob("states-*")) == ["states-12.ckpt", "states-6.ckpt"]
    assert [line["lr"] for line in lines(run, "train")] == pytest.approx([0.01, 0.005, 0.0025, 0.00125])


PLATEAU = {"name": "TorchScheduler", "torch_scheduler_name": "ReduceLROnPlateau", "patience": 0, "factor": 0.5, "threshold": 1.0}


def test_a_schedule_that_follows_a_score_goes_on_over_a_resume(train, tmp_path):
    """No loss falls to zero, so with this threshold the rate is halved at each evaluation."""
    runner = {"log_step": 1, "eval_step": 2, "save_step": 2, "max_keep": 9}
    assert train(scheduler=PLATEAU, runner=runner) == 0
    run = tmp_path / "run"
    whole = [line["lr"] for line in lines(run, "train")]
    assert whole == pytest.approx([0.01, 0.01, 0.005, 0.005, 0.0025, 0.0025])
    state = load(run / "states-6.ckpt")
    assert main(["-m", "train", "-e", str(run / "states-2.ckpt"), "-d", PLUGIN, "--device", "cpu"]) == 0
    assert [line["lr"] for line in lines(run, "train")] == whole
    again = load(run / "states-6.ckpt")
    assert not list(differences({k: v for k, v in again.items() if k != "Args"}, {k: v for k, v in state.items() if k != "Args"}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"split": "test"}, "split 'test' is none of runner.eval_dataloaders"),
        ({"metric": "accuracy"}, "metric 'accuracy' is no score of 'dev'; valid: loss"),
        ({"mode": "max"}, "loss is better when it is lower, so mode must be min"),
    ],
)
def test_a_schedule_cannot_follow_what_is_not_there(train, capsys, fields, message):
    assert train(scheduler=PLATEAU | fields) == 2
    assert message in capsys.readouterr().err


def test_a_resume_at_an_epoch_boundary_repeats_no_event(train, tmp_path):
    counts = {"total_steps": None, "log_step": None, "eval_step": None, "save_step": None}
    epochs = {"total_epochs": 4, "log_epoch": 1, "eval_epoch": 2, "save_epoch": 1, "max_keep": 9}
    assert train(runner={**counts, **epochs}) == 0
    run = tmp_path / "run"
    whole = [{k: v for k, v in line.items() if k != "time"} for line in lines(run, "train") + lines(run, "dev")]
    assert main(["-m", "train", "-e", str(run / "states-6.ckpt"), "-d", PLUGIN, "--device", "cpu"]) == 0
    assert [{k: v for k, v in line.items() if k != "time"} for line in lines(run, "train") + lines(run, "dev")] == whole


def test_the_last_step_is_logged_evaluated_and_saved(train, tmp_path):
    assert train(runner={"total_steps": 7, "log_step": 4, "eval_step": 5, "save_step": 100}) == 0
    run = tmp_path / "run"
    assert [line["step"] for line in lines(run, "train")] == [4, 7]
    assert [line["step"] for line in lines(run, "dev")] == [5, 7]
    assert [p.name for p in run.glob("states-*")] == ["states-7.ckpt"]


def test_work_that_is_no_pass_over_a_split(train, tmp_path, capsys):
    assert train() == 0
    run = tmp_path / "run"
    assert evaluate(run / "dev-best.ckpt", "report") == 0
    assert (run / "results" / "dev-best" / "report.txt").read_text() == "report (20, 80) cpu 1337\n"
    assert json.loads((run / "results" / "dev-best" / "report.json").read_text())["scores"]["width"]["value"] == 80.0
    assert "report: width 80" in capsys.readouterr().out


def test_evaluation_without_a_checkpoint(train, tmp_path, capsys, caplog):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"downstream_expert": {}}))
    argv = ["-m", "evaluate", "-t", "test", "-u", "fbank", "-d", PLUGIN, "-c", str(config), "-p", str(tmp_path / "run"), "--device", "cpu"]
    assert main(argv) == 0
    assert (tmp_path / "run" / "results" / "initial" / "test.json").is_file()
    assert "test: loss" in capsys.readouterr().out
    warning = f"without a checkpoint (-e or -i) the weights of {PLUGIN} are untrained"
    assert warning in caplog.text
    caplog.clear()
    assert main([*argv, "-o", "config.downstream_expert.trains=False"]) == 0  # nothing to train, nothing to warn of
    assert train(name="trained", upstream="fbank") == 0
    assert evaluate(tmp_path / "trained", "test") == 0
    assert main([*argv, "-i", str(tmp_path / "trained")]) == 0
    assert "untrained" not in caplog.text


@pytest.mark.parametrize(("rule", "frames"), [("round", [10, 10, 11]), ("ceil", [10, 11, 11]), ("own", [11, 11, 12])])
def test_length_rules(train, tmp_path, rule, frames):
    """Items of 1600, 1680 and 1760 samples at 160 samples per frame; 10.5 rounds to even, mel makes 11, 11 and 12 frames of them."""
    assert train(length_rule=rule) == 0
    for index in range(3):
        soundfile.write(tmp_path / f"{index}.wav", np.zeros(1600 + 80 * index), 16000, subtype="FLOAT")
    out = tmp_path / "answers.jsonl"
    files = [str(tmp_path / f"{index}.wav") for index in range(3)]
    assert main(["-m", "inference", "-t", *files, "-e", str(tmp_path / "run"), "-d", PLUGIN, "--output", str(out), "--device", "cpu"]) == 0
    answers = [json.loads(line) for line in out.read_text().splitlines()]
    assert [answer["frames"][0] for answer in answers] == frames


def test_an_upstream_that_tells_no_lengths_is_cut_by_s3prls_rule(tmp_path):
    config = {"downstream_expert": {"length_rule": "own"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    for upstream, rule in (("fbank", "own"), ("example", "round")):
        pipeline = untrained(PLUGIN, tmp_path / "run", "-c", str(tmp_path / "config.yaml"), upstream=upstream)
        assert pipeline.featurizer.length_rule == rule
        assert [len(feature) for feature in pipeline.extract(noises(1600, 800))] == ([8, 3] if rule == "own" else [1600, 800])


def test_pairs(train, tmp_path, capsys):
    assert train(inference_inputs="pairs") == 0
    (tmp_path / "folder").mkdir()
    for name in ("a.wav", "folder/b.wav", "folder/c.wav"):
        soundfile.write(tmp_path / name, np.full((2400, 2), 0.1), 24000)
    capsys.readouterr()
    argv = ["-m", "inference", "-e", str(tmp_path / "run"), "-d", PLUGIN, "--device", "cpu", "-t"]
    assert main([*argv, str(tmp_path / "a.wav"), str(tmp_path / "folder")]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["names"] for answer in answers] == [["a", "b"], ["a", "c"]]
    assert all(answer["frames"] == [10, 10] for answer in answers)
    assert main([*argv, str(tmp_path / "a.wav")]) == 2
    assert "-t FILE FILE" in capsys.readouterr().err


def test_a_task_without_inference_says_so(train, tmp_path, capsys):
    assert train(inference_inputs="none") == 0
    assert main(["-m", "inference", "-t", "x.wav", "-e", str(tmp_path / "run"), "-d", PLUGIN]) == 2
    assert "has no inference" in capsys.readouterr().err


def test_a_rate_that_the_upstream_was_not_made_for(train, capsys):
    assert train(sample_rate=48000) == 2
    assert "48000 Hz" in capsys.readouterr().err
    assert train(sample_rate=48000, upstream="waveform", name="raw") == 0


def test_a_gradient_that_is_no_number_is_skipped(train, tmp_path, caplog):
    """The third update's loss is NaN (two log lines were seen before it)."""
    assert train(bad_steps=[2], runner={"log_step": 1, "eval_step": 100}) == 0
    assert "grad norm is nan at step 2: the update is skipped" in caplog.text
    state = load(tmp_path / "run" / "states-6.ckpt")
    assert all(torch.isfinite(v).all() for v in state["Downstream"].values() if isinstance(v, torch.Tensor))


def test_a_run_that_learns_nothing_any_more_ends(train, caplog, capsys, monkeypatch):
    assert train(bad_steps=[2, 3, 4, 5, 6, 7, 8], runner={"log_step": 1, "eval_step": 100}) == 0
    assert "the last 5 updates were skipped" in caplog.text
    monkeypatch.setattr("downstream.optimisation.MOST_SKIPPED", 3)
    assert train(bad_steps=[2, 3, 4, 5, 6, 7, 8], runner={"log_step": 1, "eval_step": 100}, name="ends") == 2
    assert "not finite in 3 updates in a row, up to step 4" in capsys.readouterr().err


def test_out_of_memory_skips_the_batch_and_gives_up_in_the_end(train, tmp_path, caplog, capsys, monkeypatch):
    from downstream.pipeline import Pipeline

    honest, failures = Pipeline.loss, iter([True, False, True])

    def sometimes(self, *args, **kwargs):
        if self.downstream.training and next(failures, False):
            raise torch.OutOfMemoryError("no memory")
        return honest(self, *args, **kwargs)

    monkeypatch.setattr(Pipeline, "loss", sometimes)
    assert train() == 0
    assert caplog.text.count("out of memory") == 2
    assert load(tmp_path / "run" / "states-6.ckpt")["Step"] == 6
    failures = iter([True] * 100)
    assert train(name="hopeless") == 2
    assert "lower the training batch size" in capsys.readouterr().err


@pytest.mark.parametrize("amp", [{"amp": "bf16"}, {"fp16": True}])
def test_mixed_precision_trains(train, tmp_path, amp):
    assert train(runner=amp) == 0
    weights = load(tmp_path / "run" / "states-6.ckpt")["Downstream"]["linear.weight"]
    assert weights.dtype == torch.float32
    assert torch.isfinite(weights).all()


def test_evaluate_ratio_evaluates_just_that_part(train, tmp_path):
    assert train(runner={"evaluate_ratio": 0.34}) == 0
    result = json.loads((tmp_path / "run" / "results" / "dev-best" / "dev.json").read_text())
    assert (result["batches"], result["items"]) == (1, 2)
    assert evaluate(tmp_path / "run" / "dev-best.ckpt", "dev") == 0  # an evaluation that is asked for is whole
    result = json.loads((tmp_path / "run" / "results" / "dev-best" / "dev.json").read_text())
    assert (result["batches"], result["items"]) == (3, 6)


def test_a_fresh_run_keeps_what_lay_in_its_folder(train, tmp_path, caplog):
    assert train() == 0
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    assert train() == 0
    (previous,) = (tmp_path / "run").glob("previous-*")
    assert (previous / "metrics.jsonl").read_bytes() == before
    assert (previous / "states-6.ckpt").is_file()
    assert "now lies in" in caplog.text


def test_going_back_keeps_the_later_checkpoints(train, tmp_path):
    assert train() == 0
    run = tmp_path / "run"
    override = ["-o", "config.runner.total_steps=4", "--device", "cpu"]
    assert main(["-m", "train", "-e", str(run / "states-3.ckpt"), "-d", PLUGIN, *override]) == 0
    (previous,) = run.glob("previous-*")
    assert (previous / "states-6.ckpt").is_file()
    assert sorted(p.name for p in run.glob("states-*")) == ["states-3.ckpt", "states-4.ckpt"]
    assert [line["step"] for line in lines(run, "train")] == [2, 4]


def test_a_moved_folder_and_a_new_place(train, tmp_path):
    assert train() == 0
    moved = tmp_path / "elsewhere" / "moved"
    moved.parent.mkdir()
    (tmp_path / "run").rename(moved)
    (moved / "states-6.ckpt").unlink()
    more = ["--device", "cpu", "-d", PLUGIN]
    assert main(["-m", "train", "-e", str(moved / "states-3.ckpt"), "-p", str(tmp_path / "new"), *more]) == 0
    assert main(["-m", "train", "-e", str(moved), *more]) == 0
    assert not (tmp_path / "run").exists()
    for folder in (moved, tmp_path / "new"):
        assert [line["step"] for line in lines(folder, "train")] == [2, 4, 6]
        assert (folder / "states-6.ckpt").is_file()


def test_weights_alone_with_init(train, tmp_path):
    assert train() == 0
    assert train(name="second", flags=("-i", str(tmp_path / "run")), runner={"total_steps": 1}) == 0
    state = load(tmp_path / "second" / "states-1.ckpt")
    assert state["Step"] == 1
    first, second = load(tmp_path / "run" / "states-6.ckpt")["Downstream"], state["Downstream"]
    assert (first["linear.weight"] - second["linear.weight"]).abs().max() < 0.05


def test_a_trainable_upstream_is_trained_and_saved(train, tmp_path):
    assert train(upstream="example", flags=("-f",), runner={"max_keep": 9}) == 0
    first, last = (load(tmp_path / "run" / f"states-{step}.ckpt")["Upstream"] for step in (3, 6))
    assert any((first[name] - last[name]).abs().max() > 0 for name in first)
    assert evaluate(tmp_path / "run", "test") == 0
    before = load(tmp_path / "run" / "states-6.ckpt")
    assert main(["-m", "train", "-e", str(tmp_path / "run" / "states-3.ckpt"), "-d", PLUGIN, "--device", "cpu"]) == 0
    after = load(tmp_path / "run" / "states-6.ckpt")
    assert all(torch.equal(before["Upstream"][name], after["Upstream"][name]) for name in first)


def test_a_frozen_upstream_is_not_saved(train, tmp_path):
    assert train(upstream="example") == 0
    assert "Upstream" not in load(tmp_path / "run" / "states-6.ckpt")


@pytest.mark.parametrize(("flags", "layers"), [((), (2,)), (("-s", "PR"), (2,)), (("-l", "-1"), None)])
def test_layer_weights_are_there_only_for_several_layers(train, tmp_path, flags, layers):
    assert train(upstream="example", flags=(*flags, "--upstream_feature_normalize")) == 0
    weights = load(tmp_path / "run" / "states-6.ckpt")["Featurizer"]
    assert (weights["weights"].shape if layers else len(weights)) == (layers or 0)


def test_the_seed_decides(train, tmp_path):
    for name, seed in (("one", "1"), ("again", "1"), ("two", "2")):
        assert train(name=name, flags=("--seed", seed)) == 0
    one, again, two = (load(tmp_path / name / "states-6.ckpt")["Downstream"]["linear.weight"] for name in ("one", "again", "two"))
    assert torch.equal(one, again)
    assert not torch.equal(one, two)
