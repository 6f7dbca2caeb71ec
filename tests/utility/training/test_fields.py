"""Checks of config values by what they will be handed to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from utility.errors import ConfigError, UnknownNameError
from utility.training.fields import Count, NotNegative, Part, check_lists, check_name, check_options, check_sections, check_texts, made_of


def head(
    input_dim: int,
    dims: Sequence[Count] = (4,),
    dropout: Part = 0.0,
    rate: int = -1,
    tilt: NotNegative = 0.0,
    norm: Sequence[bool] | None = None,
    kind: str = "a",
    inner: Mapping[str, Any] | None = None,
    anything: Any = None,
) -> None:
    """Takes one of each."""


class Head:
    def __init__(self, input_dim: int, both: bool = False):
        """Takes a flag."""


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dims": [3, 5], "dropout": 1, "rate": -1, "tilt": 2.5, "norm": [True], "kind": "b", "inner": {}, "anything": object()},
        {"dims": (3,), "dropout": 0.5, "norm": None, "inner": None, "unknown": 7},
    ],
)
def test_what_fits(options: dict[str, Any]):
    check_options(partial(head, input_dim=3), options, source="here")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"dims": 3}, "here: dims must be a list, each item of it a whole number of at least 1, not 3"),
        ({"dims": [3, 0]}, "here: dims must be a list, each item of it a whole number of at least 1, not [3, 0]"),
        ({"dims": [3.0]}, "here: dims must be a list, each item of it a whole number of at least 1, not [3.0]"),
        ({"dropout": "1e-1"}, "here: dropout must be a number from 0 to 1, not '1e-1'"),
        ({"dropout": 1.5}, "here: dropout must be a number from 0 to 1, not 1.5"),
        ({"rate": True}, "here: rate must be a whole number, not True"),
        ({"tilt": -1}, "here: tilt must be a number of at least 0, not -1"),
        ({"norm": [0]}, "here: norm must be a list, each item of it True or False, not [0]"),
        ({"kind": None}, "here: kind must be a text, not None"),
        ({"inner": "x"}, "here: inner must be a section of fields, not 'x'"),
        ({"kind": 1, "rate": "2"}, "here: kind must be a text, not 1; rate must be a whole number, not '2'"),
    ],
)
def test_what_does_not_fit(options: dict[str, Any], sentence: str):
    with pytest.raises(ConfigError) as caught:
        check_options(head, options, source="here")
    assert str(caught.value) == sentence


def test_options_of_classes():
    check_options(Head, {"both": True}, source="here")
    with pytest.raises(ConfigError, match="both must be True or False, not 'yes'"):
        check_options(Head, {"both": "yes"}, source="here")


def test_texts_and_lists():
    given = {"path": Path("x"), "name": "x", "none": None, "many": ["a", Path("b")], "one": "a", "five": 5, "fives": [5]}
    check_texts(given, ("path", "name", "none", "absent"), source="here")
    check_lists(given, ("many", "none", "absent"), source="here")
    check_lists(given, ("many", "one", "path"), source="here", alone=True)
    with pytest.raises(ConfigError, match=r"^here: five must be a text, not 5; many must be a text, not \["):
        check_texts(given, ("five", "many"), source="here")
    with pytest.raises(
        ConfigError, match=r"^here: one must be a list of texts, such as \[a\], not 'a'; fives must be a list of texts, not \[5\]$"
    ):
        check_lists(given, ("one", "fives"), source="here")
    with pytest.raises(ConfigError, match="five must be a text or a list of texts, not 5"):
        check_lists(given, ("five",), source="here", alone=True)


@pytest.mark.parametrize("name", [["a"], {"a": 1}, None, 1, "b"])
def test_names(name: Any):
    check_name("letter", "a", {"a": 1})
    with pytest.raises(UnknownNameError, match=r"unknown letter .*valid: a"):
        check_name("letter", name, {"a": 1})


def test_sections():
    check_sections({"a": {}, "c": 5}, ("a", "b"), ("a",), source="here")
    check_sections({"a": None}, ("a", "b"), source="here", null=("a", "b"))
    for given, sentence in (
        ({"a": None}, "a is None, not a section of fields"),
        ({}, "field 'a' is missing"),
        (None, "None is not a section"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            check_sections(given, ("a",), ("a",), source="here")


def test_something_is_made_of_checked_fields():
    def pair(first: int, second: int = 2) -> tuple[int, int]:
        return first, second

    assert made_of(pair, {"first": 1}, ("first",), source="s") == (1, 2)
    for given, sentence in (
        ({}, "'first' is missing"),
        ({"first": 1, "secnd": 2}, "did you mean 'second'"),
        ({"first": "x"}, "first must be"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            made_of(pair, given, ("first",), source="s")


@pytest.mark.parametrize(("source", "sentence"), [(None, "^s: a; b$"), ("s.inner", r"^s\.inner: a; b$")])
def test_a_fault_found_while_something_is_made_is_said_of_its_section(source, sentence):
    def failing(first: int) -> None:
        raise ConfigError(["a", "b"], source)

    with pytest.raises(ConfigError, match=sentence):
        made_of(failing, {"first": 1}, source="s")
