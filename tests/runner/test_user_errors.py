"""What a user can get wrong: one sentence that names the culprit and the nearest valid choice, exit status 2, nothing lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from downstream.pipeline import _misfit
from run_downstream import main

TINY = "config.runner.total_steps=2,,config.runner.eval_step=2,,config.runner.save_step=1,,config.runner.log_step=1,,"
TINY += "config.downstream_expert.datarc.sizes={'train':4,'dev':2,'test':2},,config.downstream_expert.datarc.num_workers=0,,"
TINY += "config.runner.tensorboard=False"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A finished run of the example task."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert main(["-u", "mel", "-d", "example", "-p", str(folder), "-o", TINY, "--device", "cpu"]) == 0
    return folder


def sentence(capsys, argv: list[str]) -> str:
    """The one line that a wrong command line ends in."""
    capsys.readouterr()
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    (line,) = [line for line in captured.err.splitlines() if "error:" in line]
    return line


EXAMPLE = ["-u", "fbank", "-d", "example"]
KEYWORDS = ["-u", "fbank", "-d", "speech_commands", "-n", "x"]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["-u", "fbnak", "-d", "example", "-n", "x"], ["upstream", "'fbnak'", "'fbank'"]),
        (["-u", "fbank", "-d", "exampel", "-n", "x"], ["downstream", "'exampel'", "'example'"]),
        (["-u", "./nowhere", "-d", "example", "-n", "x"], ["./nowhere"]),
        (["-u", "fbank", "-d", "./nowhere", "-n", "x"], ["./nowhere"]),
        (["-d", "example", "-n", "x"], ["no upstream", "-u"]),
        (["-u", "fbank", "-n", "x"], ["no downstream", "-d"]),
        (EXAMPLE, ["name", "-n"]),
        ([*EXAMPLE, "-n", "x", "-m", "trian"], ["'trian'", "'train'"]),
        ([*EXAMPLE, "-n", "x", "--upstraem", "y"], ["--upstraem", "--upstream"]),
        ([*EXAMPLE, "-n", "x", "--device", "gpu"], ["'gpu'", "cpu"]),
        ([*EXAMPLE, "-n", "x", "--seed", "-1"], ["seed", "-1"]),
        ([*EXAMPLE, "-n", "x", "-c", "missing.yaml"], ["missing.yaml"]),
        ([*EXAMPLE, "-n", "x", "-o", "cfg.runner.total_steps=1"], ["cfg", "config"]),
        ([*EXAMPLE, "-n", "x", "-o", "config.optimizer.lr.x=1"], ["config.optimizer.lr"]),
        ([*EXAMPLE, "-n", "x", "-o", "config.optimizer"], ["config.optimizer", "="]),
        ([*EXAMPLE, "-n", "x", "-o", "config.runner.totl_steps=1"], ["totl_steps", "total_steps"]),
        ([*EXAMPLE, "-n", "x", "-o", "config.runner.total_steps=many"], ["total_steps", "many"]),
        ([*EXAMPLE, "-n", "x", "-o", "config.optimizer.name=AdmaW"], ["'AdmaW'", "'AdamW'"]),
        ([*EXAMPLE, "-n", "x", "-o", "config.optimizer.weight_deacy=0.1"], ["weight_deacy", "weight_decay"]),
        ([*EXAMPLE, "-n", "x", "-o", "config.optimizer.lr=abc"], ["AdamW", "lr", "'abc'"]),
        ([*EXAMPLE, "-n", "x", "-o", "config.optimizer.lr=nan"], ["AdamW", "lr", "finite", "nan"]),
        ([*EXAMPLE, "-n", "x", "-o", "config.optimizer.lr=inf"], ["AdamW", "lr", "finite", "inf"]),
        ([*EXAMPLE, "-n", "x", "-o", "config.optimizer.betas=[0.9, nan]"], ["AdamW", "betas", "finite"]),
        ([*EXAMPLE, "-n", "x", "-o", "config.scheduler.num_warmup_steps=nan"], ["num_warmup_steps", "finite"]),
        ([*EXAMPLE, "-n", "x", "-o", "config.runner.gradient_clipping=nan"], ["gradient_clipping", "nan"]),
        ([*EXAMPLE, "-n", "x", "-o", "config.optimizer.betas=0.9"], ["AdamW", "betas", "2 numbers"]),
        ([*EXAMPLE, "-n", "x", "-o", "config.scheduler.name=linear"], ["linear", "linear_schedule_with_warmup"]),
        ([*EXAMPLE, "-n", "x", "-o", "config.specaug.apply_time_masks=True"], ["apply_time_masks", "apply_time_mask"]),
        ([*EXAMPLE, "-n", "x", "-o", "config.runner.eval_dataloaders=['dve']"], ["'dve'", "'dev'"]),
        ([*EXAMPLE, "-n", "x", "-o", "config.seed=3"], ["'seed'"]),
        ([*EXAMPLE, "-n", "x", "-l", "7"], ["7"]),
        ([*EXAMPLE, "-n", "x", "-o", "args.seed=abc"], ["args.seed", "abc"]),
        ([*EXAMPLE, "-n", "x", "-o", "args.mode=_describe"], ["'_describe'", "train"]),
        ([*EXAMPLE, "-n", "x", "-o", "args.upstream_trainable='yes'"], ["upstream_trainable", "yes"]),
        ([*EXAMPLE, "-n", "x", "-o", "args.upstream_layer_selection=abc"], ["upstream_layer_selection", "abc"]),
        ([*EXAMPLE, "-n", "x", "-o", "config.downstream_expert.modelrc=None"], ["modelrc"]),
        ([*EXAMPLE, "-n", "x", "-o", "config.downstream_expert.datarc.train_batchsize=2"], ["train_batchsize", "train_batch_size"]),
        ([*EXAMPLE, "-n", "x", "-e", "a", "-i", "b"], ["-e", "-i"]),
        (["-m", "train", "-e", "nowhere"], ["nowhere"]),
        (["-m", "evaluate", "-t", "test", "-e", "nowhere.ckpt"], ["nowhere.ckpt"]),
        (["-m", "inference", "-t", "x.wav"], ["-e"]),
        ([*EXAMPLE, "-n", "x", "--hub", "huggingface"], ["-u FOLDER"]),
        (["-u", "baseline_local", "-d", "example", "-n", "x"], ["baseline_local", "-g"]),
        ([*EXAMPLE, "-n", "x", "-k", "weights.pt"], ["'fbank'", "no weights", "weights.pt"]),
        (["-u", "waveform", "-d", "example", "-n", "x", "-g", "a.yaml"], ["'waveform'", "model_config"]),
        ([*EXAMPLE, "-n", "x", "-g", "a.yaml"], ["a.yaml: there is no such file"]),
        *[
            ([*EXAMPLE, "-n", "x", "-o", f"config.downstream_expert.{field}={value}"], [field.split(".")[-1], str(value)])
            for field, value in [
                ("datarc.train_batch_size", 0),
                ("datarc.eval_batch_size", -1),
                ("datarc.num_workers", "many"),
                ("datarc.sizes.train", 0),
                ("datarc.sizes", 5),
                ("modelrc.input_dim", 0),
            ]
        ],
        ([*KEYWORDS, "-o", "config.downstream_expert.datarc.batch_size=2.5"], ["batch_size", "2.5"]),
        ([*KEYWORDS, "-o", "config.downstream_expert.datarc.balanced_dev=maybe"], ["balanced_dev", "maybe"]),
        (KEYWORDS, ["speech_commands_root"]),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, list) and len(value) > 1 else None,
)
def test_wrong_command_lines(capsys, tmp_path, monkeypatch, argv, words):
    monkeypatch.chdir(tmp_path)
    line = sentence(capsys, [*argv, "--device", "cpu"] if "--device" not in argv else argv)
    for word in words:
        assert word in line
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("runner: [", ["bad.yaml"]),
        ("", ["bad.yaml"]),
        ("- a\n- b\n", ["bad.yaml"]),
        ("runner: {total_steps: 1}\nrunner: {total_steps: 2}\n", ["runner", "bad.yaml"]),
        ("runner: {total_steps: -1, log_stp: 2}\noptimizer: {name: AdamW}\ndownstream_expert: {}\n", ["total_steps", "log_stp"]),
        ("a: !!python/object/apply:os.system ['true']\n", ["bad.yaml"]),
    ],
)
def test_wrong_config_files(capsys, tmp_path, text, words):
    (tmp_path / "bad.yaml").write_text(text)
    line = sentence(capsys, [*EXAMPLE, "-p", str(tmp_path / "run"), "-c", str(tmp_path / "bad.yaml")])
    for word in words:
        assert word in line


def test_a_failed_start_leaves_the_old_run_alone(capsys, trained):
    before = {path: path.read_bytes() for path in trained.rglob("*.ckpt")}
    sentence(capsys, [*EXAMPLE, "-p", str(trained), "-o", "config.optimizer.name=Nothing"])
    assert {path: path.read_bytes() for path in trained.rglob("*.ckpt")} == before
    assert not list(trained.glob("previous-*"))


def test_a_failed_evaluation_leaves_no_folder(capsys, trained, tmp_path):
    wrong = ["-m", "evaluate", "-t", "tset", "--device", "cpu"]
    sentence(capsys, [*wrong, *EXAMPLE, "-p", str(tmp_path / "deep" / "new")])
    assert not (tmp_path / "deep").exists()
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(trained / "states-2.ckpt", other / "old.ckpt")
    sentence(capsys, [*wrong, "-e", str(other / "old.ckpt")])
    assert [path.name for path in other.iterdir()] == ["old.ckpt"]


def test_splits_that_do_not_exist(capsys, trained):
    line = sentence(capsys, ["-m", "evaluate", "-t", "tset", "-e", str(trained), "--device", "cpu"])
    assert "'tset'" in line
    assert "'test'" in line


def test_auto_resume_takes_up_no_other_experiment(capsys, trained):
    line = sentence(capsys, ["-a", "-u", "fbank", "-d", "example", "-p", str(trained)])
    assert "upstream is 'mel', not 'fbank'" in line
    assert "'example'" in sentence(capsys, ["-a", "-u", "mel", "-d", "speech_commands", "-p", str(trained)])


def test_many_names_that_do_not_fit_are_said_with_the_first():
    with pytest.raises(RuntimeError) as caught:
        torch.nn.Sequential(*(torch.nn.Linear(1, 1) for _ in range(4))).load_state_dict({"other": torch.zeros(1)})
    wanted = 'Missing key(s) in state_dict: "0.weight", "0.bias", "1.weight", ... (8 in all) (and 1 more)'
    assert _misfit(caught.value, {}) == wanted


def test_a_checkpoint_of_another_shape(capsys, trained, tmp_path):
    for extra in (["-u", "mfcc"], ["-u", "mel", "-o", "config.downstream_expert.modelrc.input_dim=7"]):
        argv = ["-m", "evaluate", "-t", "test", "-i", str(trained), "-d", "example", "-p", str(tmp_path), "--device", "cpu", *extra]
        line = sentence(capsys, argv)
        assert "does not fit" in line
        assert "trained with -u mel -d example" in line


@pytest.mark.parametrize(
    ("name", "content"),
    [("text.ckpt", b"hello"), ("empty.ckpt", b""), ("half.ckpt", None), ("other.ckpt", {"weights": torch.ones(2)})],
    ids=["text", "empty", "half", "no-training-checkpoint"],
)
def test_files_that_are_no_checkpoint(capsys, trained, tmp_path, name, content):
    path = tmp_path / name
    if isinstance(content, dict):
        torch.save(content, path)
    else:
        whole = (trained / "states-2.ckpt").read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert name in sentence(capsys, ["-m", "evaluate", "-t", "test", "-e", str(path)])


def test_recordings_that_cannot_be_used(capsys, caplog, trained, tmp_path):
    """Each bad file is named, the good ones are answered all the same."""
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio" / "zz_last.wav", np.random.default_rng(1).normal(0, 0.1, 20000), 16000)
    soundfile.write(tmp_path / "audio" / "good.wav", np.random.default_rng(0).normal(0, 0.1, (44100, 2)), 44100)
    soundfile.write(tmp_path / "audio" / "empty.wav", np.zeros(0), 16000)
    soundfile.write(tmp_path / "audio" / "nan.wav", np.full(16000, np.nan), 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "audio" / "short.wav", np.zeros(30), 16000)
    (tmp_path / "audio" / "text.wav").write_text("no audio")
    assert main(["-m", "inference", "-t", str(tmp_path / "audio"), "-e", str(trained), "--device", "cpu"]) == 2
    captured = capsys.readouterr()
    answers = [json.loads(line) for line in captured.out.splitlines()]
    assert [Path(answer["file"]).name for answer in answers] == ["good.wav", "zz_last.wav"]
    for name in ("empty.wav", "nan.wav", "short.wav", "text.wav"):
        assert name in caplog.text
    assert "4 of 6 recordings have no answer: 3 could not be read, 1 could be read but not used (too short" in caplog.text


def test_inference_names_bad_files(capsys, caplog, trained, tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    assert main(["-m", "inference", "-t", str(tmp_path / "text.wav"), "-e", str(trained), "--device", "cpu"]) == 2
    assert "text.wav" in caplog.text
    assert "nothing.wav" in sentence(capsys, ["-m", "inference", "-t", str(tmp_path / "nothing.wav"), "-e", str(trained)])


def test_a_task_given_by_path_is_given_again(capsys, tmp_path):
    plugin = Path(__file__).resolve().parent / "plugins" / "hooked_task"
    runner = {"total_steps": 1, "gradient_clipping": 1, "log_step": 1, "eval_step": 1, "save_step": 1, "tensorboard": False}
    config = {"runner": runner, "optimizer": {"name": "Adam"}, "downstream_expert": {}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    argv = ["-u", "mel", "-d", str(plugin), "-c", str(tmp_path / "config.yaml"), "-p", str(tmp_path / "run"), "--device", "cpu"]
    assert main(argv) == 0
    line = sentence(capsys, ["-m", "evaluate", "-t", "test", "-e", str(tmp_path / "run")])
    assert "hooked_task" in line
    assert "--downstream" in line


def test_the_recordings_length_rate_and_channels_do_not_matter(capsys, trained, tmp_path):
    rng = np.random.default_rng(0)
    for rate, channels in ((8000, 1), (16000, 2), (44100, 2), (48000, 1)):
        soundfile.write(tmp_path / f"{rate}.flac", rng.normal(0, 0.1, (rate, channels)), rate)
    capsys.readouterr()
    assert main(["-m", "inference", "-t", str(tmp_path), "-e", str(trained), "--device", "cpu"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(a["file"]).stem for a in answers] == ["16000", "44100", "48000", "8000"]
    assert all(0 < max(a["probabilities"].values()) <= 1 for a in answers)


def test_a_bad_file_in_a_loader_worker_is_one_sentence(capsys, tmp_path):
    for word in ("yes", "no", "_background_noise_"):
        (tmp_path / "corpus" / word).mkdir(parents=True)
        for number in range(4):
            soundfile.write(tmp_path / "corpus" / word / f"{number:08x}_nohash_0.wav", np.zeros(16000), 16000)
    for path in (tmp_path / "corpus").glob("*o/*.wav"):
        path.write_text("no audio")
    datarc = {"speech_commands_root": str(tmp_path / "corpus"), "num_workers": 2, "batch_size": 4}
    override = ",,".join(f"config.downstream_expert.datarc.{name}={value!r}" for name, value in datarc.items())
    argv = ["-u", "mel", "-d", "speech_commands", "-p", str(tmp_path / "run"), "-o", f"{override},,config.runner.eval_dataloaders=[]"]
    line = sentence(capsys, [*argv, "--device", "cpu"])
    assert str(tmp_path / "corpus" / "no") in line


def test_a_checkpoint_names_no_code(capsys, tmp_path, monkeypatch):
    """A stored bare word must not be taken for a folder that happens to lie there."""
    (tmp_path / "payload").mkdir()
    (tmp_path / "payload" / "expert.py").write_text("raise SystemExit('the code of the folder runs')")
    monkeypatch.chdir(tmp_path)
    for name in ("upstream", "downstream"):
        args = {"upstream": "mel", "downstream": "example", "expdir": "x", "seed": 1, name: "payload"}
        torch.save({"Args": args, "Config": {}, "Step": 1}, tmp_path / "model.ckpt")
        assert f"unknown {name} in the checkpoint 'payload'" in sentence(capsys, ["-m", "evaluate", "-t", "dev", "-e", "model.ckpt"])


def test_no_result_leaves_its_folder(capsys, trained):
    assert "no name of a split" in sentence(capsys, ["-m", "evaluate", "-t", "../../escaped", "-e", str(trained)])


def test_a_loop_is_told_of_a_mistake(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("RUN_WHILE_MISTAKE", str(tmp_path / "note"))
    sentence(capsys, ["-u", "fbnak", "-d", "example", "-n", "x"])
    assert (tmp_path / "note").exists()
