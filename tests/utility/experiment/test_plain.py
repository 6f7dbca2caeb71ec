"""Plain data: whatever goes in comes back after a weights_only load, everything else is refused with its place."""

from __future__ import annotations

import argparse
import io
import types
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from utility.experiment.plain import TAG, from_plain, to_plain


def through_a_file(value: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(to_plain(value), buffer)
    buffer.seek(0)
    return from_plain(torch.load(buffer, weights_only=True))


def same(left: Any, right: Any) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, np.ndarray):
        alike = left.dtype == right.dtype and left.shape == right.shape
        return alike and (all(map(same, left.ravel(), right.ravel())) if left.dtype == object else left.tobytes() == right.tobytes())
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[k], right[k]) for k in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right or (left != left and right != right)


dtypes = st.one_of(
    hnp.integer_dtypes(), hnp.floating_dtypes(sizes=(16, 32, 64)), hnp.boolean_dtypes(), hnp.unicode_string_dtypes(max_len=4)
)
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
tensors = st.sampled_from([torch.float32, torch.bfloat16, torch.int64, torch.bool]).flatmap(
    lambda dtype: st.lists(st.integers(0, 9), max_size=4).map(lambda v: torch.tensor(v).to(dtype))
)
hashable = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5)
leaves = (
    hashable | arrays | tensors | st.complex_numbers() | st.just(Path("a/b")) | st.sets(st.integers() | st.text(max_size=2), max_size=3)
)
keys = st.text(max_size=3) | st.integers() | st.just(TAG)
nested = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=80, deadline=None)
@given(nested)
def test_round_trip(value):
    assert same(through_a_file(value), value)


@settings(max_examples=80, deadline=None)
@given(hnp.arrays(st.one_of(hnp.integer_dtypes(), hnp.floating_dtypes(sizes=(16, 32, 64)), hnp.boolean_dtypes()), 1))
def test_numpy_numbers_keep_their_value(array):
    number = array[0]
    plain = to_plain(number)
    assert type(plain) in (int, float, bool)
    assert plain == number or (plain != plain and number != number)


def test_object_and_fortran_arrays():
    value = np.array([["a", None], [Path("x"), 3]], dtype=object)
    assert same(through_a_file(value), value)
    value = np.asfortranarray(np.arange(6).reshape(2, 3))
    assert same(through_a_file(value), value)
    assert through_a_file(np.array(["2020-01-01"], dtype="M8[D]")) == np.array(["2020-01-01"], dtype="M8[D]")


def test_namespaces_and_mappings_become_dicts():
    value = {"a": argparse.Namespace(b=types.SimpleNamespace(c=1)), "d": defaultdict(list, e=[2])}
    assert same(through_a_file(value), {"a": {"b": {"c": 1}}, "d": {"e": [2]}})


def test_state_dict_keeps_its_versions():
    state = torch.nn.BatchNorm1d(3).state_dict()
    back = through_a_file({"Downstream": state})["Downstream"]
    assert type(back) is OrderedDict
    assert back._metadata == state._metadata
    torch.nn.BatchNorm1d(3).load_state_dict(back)


def test_values_that_only_look_different():
    class Word(str):
        __slots__ = ()

    assert type(to_plain(Word("x"))) is str
    assert type(to_plain(torch.nn.Parameter(torch.ones(2)))) is torch.Tensor
    assert through_a_file(torch.float16) is torch.float16
    assert through_a_file(torch.Size([2])) == torch.Size([2])
    assert same(through_a_file(frozenset({1})), frozenset({1}))


def test_a_view_is_stored_alone():
    assert to_plain(torch.zeros(1000)[:3]).untyped_storage().nbytes() == 12
    whole = torch.zeros(3)
    assert to_plain(whole) is not whole
    assert to_plain(whole).data_ptr() == whole.data_ptr()


def test_sets_are_always_written_alike():
    assert to_plain({"b", "a", "c"}) == to_plain({"c", "b", "a"})
    assert to_plain({"b", "a"})["value"] == ["a", "b"]


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": [0, {"b": object()}]}, r"state\['a'\]\[1\]\['b'\] is a builtins\.object"),
        ({"f": len}, r"state\['f'\] is a builtins\.builtin_function_or_method"),
        ({"m": torch.nn.Linear(1, 1)}, r"state\['m'\] is a torch\.nn"),
        ({"g": torch.Generator()}, r"state\['g'\]"),
        ({"z": np.zeros(1, dtype=[("a", "i4")])}, "no plain form"),
        ({frozenset({1}): 1}, "no plain form"),
    ],
)
def test_refusals_name_the_place(value, place):
    with pytest.raises(TypeError, match=place):
        to_plain(value)


def test_a_structure_in_itself():
    value: list[Any] = []
    value.append({"a": value})
    with pytest.raises(ValueError, match=r"state\[0\]\['a'\] contains itself"):
        to_plain(value)
    twice = [1]
    assert to_plain([twice, twice]) == [[1], [1]]
