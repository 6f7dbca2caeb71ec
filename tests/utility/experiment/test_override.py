"""The override grammar: parity with S3PRL where it is sane, errors that name the fault, no evaluation."""

from __future__ import annotations

import copy
import json
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utility.errors import UsageError
from utility.experiment.literal import parse_literal
from utility.experiment.override import apply_override, parse_override


def applied(text: str | None, args: dict[str, Any] | None = None, config: dict[str, Any] | None = None):
    args = {"seed": 1, "evaluate_split": ["test"]} if args is None else args
    config = {"optimizer": {"lr": 1, "name": "Adam"}, "list": [{"a": 1}, 2], "nothing": None, 3: {"x": 1}} if config is None else config
    said: list[str] = []
    apply_override(parse_override(text), args, config, said.append)
    return args, config, said


# S3PRL stops with a ValueError at a second "=" and ignores an unknown root in silence.
DIFFERENT = {"config.x=1=2": "value", "foo.bar=3": "error"}


def test_recorded_overrides(golden):
    folder = golden("tasks/logs/override_strings")
    items = json.loads((folder / "params.json").read_text())["items"]
    outputs = json.loads((folder / "outputs.json").read_text())
    assert len(items) == len(outputs) == 8
    for item, expected in zip(items, outputs, strict=True):
        outcome = DIFFERENT.get(item["string"], "error" if expected["error"] else "same")
        if outcome == "error":
            with pytest.raises(UsageError):
                applied(item["string"], item["args"], item["config"])
            continue
        args, config, _ = applied(item["string"], item["args"], item["config"])
        if outcome == "same":
            assert (args, config) == (expected["args"], expected["config"])
        else:
            assert config["x"] == "1=2"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.0e-3", 0.001),
        ("1e-4", 1e-4),
        ("16000*5", 80000),
        ("16000 * 5 + 1", 80001),
        ("-3", -3),
        ("--3", 3),
        ("2**10", 1024),
        ("1/4", 0.25),
        ("7//2", 3),
        ("7%4", 3),
        ("0x10", 16),
        ("'AdamW'", "AdamW"),
        ('"AdamW"', "AdamW"),
        ("AdamW", "AdamW"),
        ("some text", "some text"),
        ("/a/b", "/a/b"),
        ("['dev', 'test']", ["dev", "test"]),
        ("\"['dev', 'test']\"", ["dev", "test"]),
        ("[dev, test]", ["dev", "test"]),
        ("dev,test", ["dev", "test"]),
        ("(1, 2)", [1, 2]),
        ("{'a': (1, 2), 'b': None}", {"a": [1, 2], "b": None}),
        ("[]", []),
        ("''", ""),
        ("", ""),
        ("True", True),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("None", None),
        ("none", "none"),
        ("'true'", "true"),
        ("[1,2", "[1,2"),
        ('"[1,2"', "[1,2"),
        ("os", "os"),
        ("list", "list"),
        ("os.getpid()", "os.getpid()"),
        ("__import__('os').system('true')", "__import__('os').system('true')"),
        ("[x for x in (1, 2)]", "[x for x in (1, 2)]"),
        ("lambda: 1", "lambda: 1"),
        ("f'{1}'", "f'{1}'"),
        ("{**{}}", "{**{}}"),
        ("9**9**9", "9**9**9"),
        ("1/0", "1/0"),
        ("True+1", "True+1"),
        ("'a'*9", "'a'*9"),
        ("{[1]: 2}", "{[1]: 2}"),
        ("3j", "3j"),
        ("...", "..."),
        ("007", "007"),
        ("1 is 2", "1 is 2"),
    ],
)
def test_values(text, value):
    result = parse_literal(text)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("config.optimizer.lr=0.5", {"optimizer": {"lr": 0.5, "name": "Adam"}}),
        (" config.a = 1 ,, config.b = 2 ,,", {"a": 1, "b": 2}),
        ("config.new.sub.deep=1", {"new": {"sub": {"deep": 1}}}),
        ("config.nothing.a=1", {"nothing": {"a": 1}}),
        ("config.list.0.a=5", {"list": [{"a": 5}, 2]}),
        ("config.list.-1=5", {"list": [{"a": 1}, 5]}),
        ("config.3.x=2", {3: {"x": 2}}),
        ("config.a='x,,y',,config.b=[1,,2]", {"a": "x,,y", "b": "[1,,2]"}),
        ("config.a=it's,,config.b=it's", {"a": "it's", "b": "it's"}),
        ("config.a=[1,,config.b=2", {"a": "[1", "b": 2}),
        ("config.a=k=v", {"a": "k=v"}),
        ("config.a=1,,config.a=2", {"a": 2}),
    ],
)
def test_fields(text, expected):
    _, config, _ = applied(text)
    assert {key: config[key] for key in expected} == expected


@pytest.mark.parametrize("text", [None, "", "  ", "none", "None", "NONE"])
def test_no_override(text):
    assert parse_override(text) == []


def test_arguments():
    args, _, said = applied("args.seed=7,,args.evaluate_split=dev,,args.sed=1")
    assert args == {"seed": 7, "evaluate_split": ["dev"], "sed": 1}
    assert said[0] == "[Override] - args.seed = 7"
    assert said[-1] == "args.sed is new; did you mean 'seed'?"


def test_new_field_is_warned_about_only_when_it_resembles_another():
    assert applied("config.optimizer.lrr=1")[2] == [
        "[Override] - config.optimizer.lrr = 1",
        "config.optimizer.lrr is new; did you mean 'lr'?",
    ]
    assert applied("config.optimizer.weight_decay=1")[2] == ["[Override] - config.optimizer.weight_decay = 1"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("lonely", "'lonely' is not of the form"),
        (",,", "'' is not of the form"),
        ("config.a=1,,,,config.b=2", "'' is not of the form"),
        ("optimizer.lr=1", "did you mean 'config.optimizer.lr'?"),
        ("confg.x=1", "did you mean 'config.x'?"),
        ("args=1", "names no field"),
        ("config=1", "names no field"),
        ("config..a=1", "names no field"),
        ("args.a.b=1", "'args.a.b' has a field too many"),
        ("config.optimizer.lr.x=1", "config.optimizer.lr is 1, which has no field 'x'"),
        ("config.list.7.a=1", "config.list is a list of 2, which has no index '7'"),
        ("config.list.x=1", "config.list is a list of 2, which has no index 'x'"),
        ("config.list.²=1", "no index"),
        ("config.list.1.a=1", "config.list.1 is 2"),
    ],
)
def test_faults(text, sentence):
    with pytest.raises(UsageError) as caught:
        applied(text)
    assert sentence in str(caught.value)


pieces = st.sampled_from(
    ["args", "config", ".", "=", ",,", ",", "[", "]", "{", "}", "'", '"', "1", "a", "-", "*", "(", ")", "eval", " ", "\\", "\n"]
)
texts = st.lists(pieces, max_size=30).map("".join) | st.text(max_size=40).map(lambda t: "config.a=" + t)


@settings(max_examples=200, deadline=None)
@given(texts)
def test_any_text_is_read_or_refused(text):
    args, config = {"a": 1}, {"a": {"a": [1, {"a": 2}]}}
    try:
        apply_override(parse_override(text), args, config, lambda message: None)
    except UsageError:
        return
    json.dumps([args, config], default=pytest.fail)


@settings(max_examples=200, deadline=None)
@given(
    st.text(string.printable, max_size=30), st.sampled_from(["open({0!r}, 'w')", "[].__class__", "().__reduce__()", "(_:=print({0!r}))"])
)
def test_nothing_is_executed(tmp_path_factory, word, code):
    canary = tmp_path_factory.getbasetemp() / "canary"
    text = code.format(str(canary))
    assert parse_literal(text) == text
    parse_literal(word + text)
    assert not canary.exists()


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(plain.filter(lambda v: not (isinstance(v, str) and v.strip().startswith("["))))
def test_printed_literals_come_back(value):
    _, config, _ = applied(f"config.x={value!r}", {}, {})
    assert config == {"x": value}


def test_options_do_not_share_values():
    options = parse_override("config.a=[1]")
    first, second = {}, {}
    apply_override(options, {}, first, lambda _: None)
    apply_override(options, {}, second, lambda _: None)
    before = copy.deepcopy(second)
    first["a"].append(2)
    assert second == before
