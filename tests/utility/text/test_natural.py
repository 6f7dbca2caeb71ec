"""The order in which people count."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from utility.text.natural import natural


def test_numbers_count_by_their_value():
    names = ["10.wav", "2.wav", "b1", "B01x", "a20c3", "a20c10", "a3", ""]
    assert sorted(names, key=natural) == ["", "2.wav", "10.wav", "a3", "a20c3", "a20c10", "b1", "B01x"]


@given(st.lists(st.text(max_size=8)))
def test_all_names_compare(names: list[str]):
    keys = [natural(name) for name in sorted(names, key=natural)]
    assert all(first <= second for first, second in pairwise(keys))
