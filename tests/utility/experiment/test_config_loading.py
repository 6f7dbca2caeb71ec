"""Reading a config: yaml as users mean it, all faults at once, nothing but a dict or one sentence."""

from __future__ import annotations

import math
import string
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from utility.errors import ConfigError
from utility.experiment.config import RunnerConfig, check_runner, check_sections, load_config, parse_config
from utility.experiment.dialect import Dumper

RUNNER = {
    "total_steps": 100,
    "gradient_clipping": 1,
    "log_step": 10,
    "eval_step": 20,
    "save_step": 50,
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1.0e4", 1e4),
        ("1.e4", 1e4),
        ("-2E+3", -2000.0),
        (".5e1", 5.0),
        ("1.5", 1.5),
        ("12", 12),
        (".inf", math.inf),
        ("1e", "1e"),
        ("e4", "e4"),
        ("v1e4", "v1e4"),
        ("2020-01-01", "2020-01-01"),
        ("'1e-4'", "1e-4"),
        ("yes", True),
        ("", None),
        ("~", None),
        ("[1e-3, a]", [1e-3, "a"]),
    ],
)
def test_values(text, value):
    read = parse_config(f"x: {text}", "c.yaml")["x"]
    assert read == value
    assert type(read) is type(value)


def test_anchors_are_values_of_their_own():
    config = parse_config("a: &x {b: [1]}\nc: *x\nd: {<<: *x, e: 2}\n", "c.yaml")
    assert config == {"a": {"b": [1]}, "c": {"b": [1]}, "d": {"b": [1], "e": 2}}
    config["a"]["b"].append(2)
    assert config["c"] == {"b": [1]}
    assert config["d"]["b"] == [1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("- 1", "is a list, not a mapping"),
        ("hello", "is a str, not a mapping"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "line 4: not valid yaml (the field 'c' is there twice)"),
        ("a: 1\n\tb: 2", "line 2: "),
        ("a:\t1\n\tb: 2", "not tabs"),
        ("a: [1", "line 1: not valid yaml"),
        ("a: b: c", "line 1: not valid yaml"),
        ("a: &a {b: *a}", "contains itself"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("a: !!int ''", "a value cannot be read"),
        ("a: !!bool maybe", "a value cannot be read"),
        ("? [a]\n: 1", "unhashable"),
        ("\x00", "special characters"),
        ("a: 1\n---\nb: 2", "but found another document"),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, text, sentence):
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert sentence in str(caught.value)


def test_many_aliases_do_not_fill_the_memory():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(ConfigError, match="more than"):
        parse_config("\n".join(lines), "c.yaml")


def test_missing_file_names_the_nearest(tmp_path: Path):
    (tmp_path / "config.yaml").write_text("a: 1")
    with pytest.raises(ConfigError, match=r"did you mean 'config\.yaml'"):
        load_config(tmp_path / "confg.yaml")
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "nowhere" / "c.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


def test_bytes_that_are_no_text(tmp_path: Path):
    path = tmp_path / "c.yaml"
    path.write_bytes(b"a: \xff\xfe\x00")
    with pytest.raises(ConfigError):
        load_config(path)


TOKENS = """a : - [ ] { } &x *x !!int !!float !!set !!binary !!timestamp !!omap !!bool << ? | > ' " 1e5 # % --- , 0b 1:3 = ~"""
tokens = st.sampled_from([*TOKENS.split(), "\n", "  ", "\t", ": ", "- "])


@settings(max_examples=200, deadline=None)
@given(st.lists(tokens, max_size=20).map("".join) | st.text(max_size=30) | st.binary(max_size=30))
def test_any_text_is_a_dict_or_one_error(text):
    try:
        assert type(parse_config(text, "c.yaml")) is dict
    except ConfigError as error:
        assert str(error).startswith("c.yaml: ")


words = st.text(string.printable, max_size=5) | st.sampled_from(["1e-4", "2020-01-01", "yes", "null", "<<", "1:30", "0x1", "é"])
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(words | st.integers(), scalars | st.lists(scalars, max_size=2), min_size=1))
def test_dumped_configs_come_back(config):
    assert parse_config(yaml.dump(config, Dumper=Dumper, allow_unicode=True), "c.yaml") == config


def test_runner_defaults():
    runner = check_runner({"runner": RUNNER})
    assert runner == RunnerConfig(**{**RUNNER, "gradient_clipping": 1.0})
    assert (runner.gradient_accumulate_steps, runner.max_keep, runner.eval_dataloaders) == (1, 1, [])
    assert (runner.train_dataloader, runner.evaluate_ratio, runner.tensorboard, runner.amp) == ("train", 1.0, True, None)


def test_runner_of_recorded_s3prl_configs(shared: Path):
    from utility.experiment.unpickle import load_foreign

    files = sorted((shared / "golden" / "tasks" / "training").glob("*/state.pt"))
    assert files
    for file in files:
        assert check_runner(load_foreign(file)["Config"], training=True).total_steps > 0


@pytest.mark.parametrize(
    ("name", "given_value", "value"),
    [
        ("total_steps", "1e3", 1000),
        ("total_steps", 5.0, 5),
        ("gradient_clipping", "1e-3", 1e-3),
        ("gradient_clipping", math.inf, math.inf),
        ("eval_dataloaders", "['dev', 'test']", ["dev", "test"]),
        ("eval_dataloaders", "dev", ["dev"]),
        ("fp16", "True", True),
        ("amp", "bf16", "bf16"),
        ("evaluate_ratio", 1, 1.0),
        ("threads", None, None),
    ],
)
def test_runner_converts(name, given_value, value):
    result = getattr(check_runner({"runner": {**RUNNER, name: given_value}}), name)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"totl_steps": 5}, "runner.totl_steps is unknown; did you mean 'total_steps'?"),
        ({"total_steps": 0}, "runner.total_steps is 0 and should be a whole number above 0"),
        ({"total_steps": 1.5}, "runner.total_steps is 1.5"),
        ({"total_steps": "many"}, "runner.total_steps is 'many'"),
        ({"total_steps": math.inf}, "runner.total_steps is inf"),
        ({"total_steps": math.nan}, "runner.total_steps is nan"),
        ({"total_steps": True}, "runner.total_steps is True"),
        ({"total_steps": None}, "runner.total_steps is missing (or total_epochs, in epochs)"),
        ({"total_epochs": 3}, "runner.total_steps and runner.total_epochs exclude each other"),
        ({"save_epoch": 3}, "runner.save_step and runner.save_epoch exclude each other"),
        ({"save_step": None}, "runner.save_step is missing"),
        ({"gradient_clipping": 0}, "runner.gradient_clipping is 0 and should be a number above 0"),
        ({"gradient_clipping": None}, "runner.gradient_clipping is missing"),
        ({"evaluate_ratio": 1.1}, "above 0 and at most 1"),
        ({"fp16": 1}, "runner.fp16 is 1 and should be True or False"),
        ({"amp": "fp32"}, "bf16 or fp16"),
        ({"amp": ["bf16"]}, "bf16 or fp16"),
        ({"amp": "bf16", "fp16": True}, "contradict"),
        ({"eval_dataloaders": [1]}, "a list of split names"),
        ({"eval_dataloaders": ["dev", "dev"]}, "a list of split names, each once"),
        ({5: 1}, "runner.5 is unknown"),
    ],
)
def test_runner_faults(change, sentence):
    with pytest.raises(ConfigError) as caught:
        check_runner({"runner": {**RUNNER, **change}}, source="my.yaml")
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("my.yaml: ")
    assert len(caught.value.faults) == 1


def test_all_faults_at_once():
    with pytest.raises(ConfigError) as caught:
        check_runner({"runner": {"totl_steps": 5, "fp16": "x", "max_keep": 0}})
    assert len(caught.value.faults) == 3 + 4 + 1


def test_epochs_replace_steps():
    runner = check_runner({"runner": {"total_epochs": 2, "log_epoch": 1, "eval_epoch": 1, "save_epoch": 1, "gradient_clipping": 1}})
    assert (runner.total_epochs, runner.total_steps, runner.save_epoch) == (2, None, 1)


def test_runner_section_without_training():
    assert check_runner({}, training=False) == RunnerConfig()
    assert check_runner({"runner": {"evaluate_ratio": 0.5}}, training=False).evaluate_ratio == 0.5
    for section in (None, 5):
        with pytest.raises(ConfigError, match="runner"):
            check_runner({"runner": section})


def test_sections():
    good = {"optimizer": {"name": "Adam"}, "downstream_expert": {}, "scheduler": None, "specaug": {}, "anything": 1, "runner": RUNNER}
    check_sections(good)
    check_sections({"downstream_expert": {}}, training=False)


@pytest.mark.parametrize("name", ["config", "seed", "device", "mode", "expdir", "upstream_dim", "upstream_rate", "upstream"])
def test_names_of_arguments_are_refused(name):
    with pytest.raises(ConfigError, match=f"the field '{name}' has the name of an argument"):
        check_sections({"optimizer": {"name": "Adam"}, "downstream_expert": {}, name: 1})


def test_section_faults_at_once():
    with pytest.raises(ConfigError) as caught:
        check_sections({"optimzer": {}, "scheduler": {"x": 1}, "specaug": 3, 7: 1})
    text = str(caught.value)
    assert len(caught.value.faults) == 5
    for part in ("'optimizer' is missing (there is 'optimzer')", "scheduler.name is missing", "specaug is 3", "downstream_expert", "7"):
        assert part in text
