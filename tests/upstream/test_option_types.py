"""Options of upstreams by their types: what Python would take as true is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.upstream.recorded import GOLDEN
from upstream.option_types import check_types
from upstream.registry import build
from utility import check_upstream
from utility.errors import UsageError

HUBERT = str(GOLDEN / "hubert_multilabel" / "ckpt.pt")


class Expert:
    def __init__(
        self, ckpt: str, flag: bool = False, count: int = 1, scale: float | None = None, name: str = "a", places: list = (), bare=0
    ):
        pass


class Odd:
    def __init__(self, flag: "Nowhere" = None):  # noqa: F821, UP037
        pass


@pytest.mark.parametrize(
    ("option", "value", "wanted"),
    [
        ("flag", "no", "True or False, not 'no'"),
        ("flag", 0, "True or False, not 0"),
        ("count", True, "a whole number, not True"),
        ("count", 2.0, "a whole number, not 2.0"),
        ("scale", "1", "a number or None, not '1'"),
        ("scale", False, "a number or None, not False"),
        ("name", 3, "a text, not 3"),
    ],
)
def test_another_type(option, value, wanted):
    with pytest.raises(UsageError) as caught:
        check_types("x", Expert, {option: value})
    assert str(caught.value) == f"upstream 'x': {option} must be {wanted}"


def test_what_fits_and_what_is_not_looked_at():
    check_types("x", Expert, {"flag": True, "count": 2, "scale": 2, "name": "no"})
    check_types("x", Expert, {"ckpt": Path("x"), "many": "no", "bare": "no", "unknown": "no", "scale": None})
    check_types("x", Odd, {"flag": "no"})


@pytest.mark.parametrize("option", ["batch_independent", "gradient_checkpointing"])
def test_from_python_and_from_a_program(option, capsys):
    with pytest.raises(UsageError, match=f"upstream 'hubert_local': {option} must be True or False, not 'no'"):
        build("hubert_local", HUBERT, **{option: "no"})
    assert check_upstream.main(["hubert_local", "-k", HUBERT, f"--{option}", "no"]) == 2
    assert f"{option} must be True or False, not 'no'" in capsys.readouterr().err
    with pytest.raises(UsageError, match="feature_grad_mult must be a number, not '0'"):
        build("hubert_local", HUBERT, feature_grad_mult="0")
