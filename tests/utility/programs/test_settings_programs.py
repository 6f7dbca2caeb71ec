"""The programs that show, take out and put back what is in a checkpoint."""

from __future__ import annotations

import math

import pytest
import torch
import yaml

from utility import add_config_to_ckpt, extract_settings, overwrite_settings, print_settings, visualize_weight
from utility.experiment import checkpoint

ARGS = {"upstream": "fbank", "seed": 1337, "expname": None}
CONFIG = {"optimizer": {"name": "AdamW", "lr": 1e-05}, "runner": {"eval_dataloaders": ["dev", "test"], "total_steps": 5}}


def state(**more: object) -> dict:
    return {"Optimizer": {}, "Step": 3, "Epoch": 0, "Args": ARGS, "Config": CONFIG, "Downstream": {"w": torch.arange(3.0)}, **more}


@pytest.fixture
def ckpt(tmp_path):
    """A checkpoint of our own in an experiment folder."""
    path = tmp_path / "wavlm_ks" / "states-3.ckpt"
    path.parent.mkdir()
    checkpoint.save(state(Featurizer={"weights": torch.tensor([0.0, math.log(2.0), 0.0])}), [path])
    return path


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("args.upstream", "fbank"),
        ("args.expname", "None"),
        ("config.optimizer.lr", "1e-05"),
        ("config.runner.eval_dataloaders", "['dev', 'test']"),
        ("config.runner.eval_dataloaders.1", "test"),
        ("config.optimizer", "name: AdamW\nlr: 1.0e-05"),
    ],
)
def test_print_settings_prints_a_value_or_a_group(field, wanted, ckpt, capsys):
    assert print_settings.main([str(ckpt), field]) == 0
    assert print_settings.main([str(ckpt.parent), field]) == 0
    assert capsys.readouterr().out == f"{wanted}\n{wanted}\n"


def test_print_settings_prints_everything_when_nothing_is_named(ckpt, capsys):
    assert print_settings.main([str(ckpt)]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == {"args": ARGS, "config": CONFIG}


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        ("config.optimiser.lr", "unknown field 'config.optimiser'; did you mean 'config.optimizer'?"),
        ("Args.upstream", "unknown field 'Args'; did you mean 'args'?"),
        ("config.runner.eval_dataloaders.2", "unknown field 'config.runner.eval_dataloaders.2'"),
        ("args.seed.x", "args.seed is the single value 1337 and has no field 'x'"),
    ],
)
def test_print_settings_names_an_unknown_field(field, sentence, ckpt, capsys):
    assert print_settings.main([str(ckpt), field]) == 2
    assert capsys.readouterr().err.startswith(sentence)


def test_print_settings_reads_s3prls_checkpoints(golden, capsys):
    """Whose Args are a pickled Namespace."""
    folder = golden("tasks/training")
    assert print_settings.main([str(next(folder.rglob("state.pt"))), "config.optimizer.name"]) == 0
    assert capsys.readouterr().out.strip()


def test_settings_taken_out_edited_and_put_back(ckpt, tmp_path, capsys):
    assert extract_settings.main(["--ckpt_pth", str(ckpt), "--save_dir", str(tmp_path / "s")]) == 0
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "s/args.yaml"), str(tmp_path / "s/config.yaml")]
    config = yaml.safe_load((tmp_path / "s/config.yaml").read_text())
    assert config == CONFIG
    config["optimizer"]["lr"] = 0.5
    (tmp_path / "s/config.yaml").write_text(yaml.safe_dump(config))
    new = tmp_path / "new" / "copy.ckpt"
    words = ["--ckpt_pth", str(ckpt), "--settings_dir", str(tmp_path / "s"), "--new_ckpt_pth", str(new)]
    assert overwrite_settings.main(words) == 0
    old_state, new_state = checkpoint.load(ckpt), checkpoint.load(new)
    assert new_state["Config"] == CONFIG | {"optimizer": {"name": "AdamW", "lr": 0.5}}
    assert new_state["Args"] == ARGS
    assert new_state.keys() == old_state.keys()
    assert new_state["Step"] == 3
    assert torch.equal(new_state["Downstream"]["w"], old_state["Downstream"]["w"])


def test_overwrite_settings_takes_one_file_alone_and_refuses_none(ckpt, tmp_path, capsys):
    words = ["--ckpt_pth", str(ckpt), "--settings_dir", str(tmp_path), "--new_ckpt_pth", str(tmp_path / "new.ckpt")]
    assert overwrite_settings.main(words) == 2
    assert capsys.readouterr().err == f"{tmp_path} holds neither args.yaml nor config.yaml\n"
    (tmp_path / "args.yaml").write_text("seed: 7\n")
    assert overwrite_settings.main(words) == 0
    assert checkpoint.load(tmp_path / "new.ckpt")["Args"] == {"seed": 7}
    assert checkpoint.load(tmp_path / "new.ckpt")["Config"] == CONFIG


def test_add_config_to_ckpt(tmp_path, capsys):
    torch.save({"model": {"w": torch.ones(2)}}, tmp_path / "upstream.pt")
    (tmp_path / "c.yaml").write_text("width: 768\n")
    words = ["--ckpt", str(tmp_path / "upstream.pt"), "--config", str(tmp_path / "c.yaml"), "--out_ckpt", str(tmp_path / "o.pt")]
    assert add_config_to_ckpt.main(words) == 0
    written = torch.load(tmp_path / "o.pt", weights_only=True)
    assert written["config"] == {"width": 768}
    assert torch.equal(written["model"]["w"], torch.ones(2))
    torch.save([1], tmp_path / "upstream.pt")
    assert add_config_to_ckpt.main(words) == 2
    assert "holds a list, not a dict" in capsys.readouterr().err


def test_visualize_weight_draws_the_softmax(ckpt, tmp_path, capsys):
    assert visualize_weight.main(["--ckpt", str(ckpt.parent)]) == 0
    picture = ckpt.parent / "visualize_weight.png"
    assert capsys.readouterr().out == f"Normalized weights: [0.25, 0.5, 0.25]\n{picture}\n"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert visualize_weight.main(["--ckpt", str(ckpt), "--name", r"a $\frac$ name", "--out_dir", str(tmp_path / "o")]) == 0
    assert (tmp_path / "o/visualize_weight.png").stat().st_size > 1000


def test_visualize_weight_needs_weights(tmp_path, capsys):
    checkpoint.save(state(), [tmp_path / "states-3.ckpt"])
    assert visualize_weight.main(["--ckpt", str(tmp_path)]) == 2
    assert "has no layer weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (print_settings, ["{path}", "args.x"]),
        (extract_settings, ["--ckpt_pth", "{path}", "--save_dir", "s"]),
        (overwrite_settings, ["--ckpt_pth", "{path}", "--settings_dir", "s", "--new_ckpt_pth", "n"]),
        (add_config_to_ckpt, ["--ckpt", "{path}", "--config", "c.yaml", "--out_ckpt", "o"]),
        (visualize_weight, ["--ckpt", "{path}"]),
    ],
)
def test_a_missing_checkpoint_is_one_sentence(program, words, tmp_path, capsys):
    path = tmp_path / "nothing.ckpt"
    assert program.main([word.format(path=path) for word in words]) == 2
    error = capsys.readouterr().err
    assert str(path) in error
    assert error.count("\n") == 1
