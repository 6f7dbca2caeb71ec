"""The finished parts of a generation: which are left, which are taken over, which are damaged."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from downstream.audio_generation.generation.passes import Passes, fingerprint
from utility.errors import DataError


def test_other_weights_or_options_make_another_generation():
    weights = {"a": torch.zeros(2), "b": torch.ones(2)}
    marks = [
        fingerprint({"temp": 1.0}, weights),
        fingerprint({"temp": 0.9}, weights),
        fingerprint({"temp": 1.0}, weights | {"b": torch.tensor([1.0, 1.5])}),
        fingerprint({"temp": 1.0}, {"a": weights["b"], "b": weights["a"]}),
    ]
    assert len(set(marks)) == 4 and marks[0] == fingerprint({"temp": 1.0}, dict(reversed(weights.items())))


@pytest.mark.parametrize("damage", [lambda data: data[:40], lambda data: data[:60] + b"\xff" * 20 + data[80:], lambda data: b""])
def test_a_damaged_pass_is_named(tmp_path, damage):
    passes = Passes(tmp_path, "mark")
    passes.keep(range(4), {"codes": np.arange(64, dtype=np.uint8).reshape(4, 16), "logprobs": np.zeros(4)})
    path = passes.path(range(4))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"0-4\.npz is damaged; remove it, and its part is generated again"):
        passes.left(8, 4)
        passes.load(range(4))


def test_what_a_kill_cut_short_ends_no_generation(tmp_path):
    passes = Passes(tmp_path, "mark")
    passes.keep(range(4), {"logprobs": np.zeros(4)})
    (passes.folder / ".4-8.npz.tmp-1").write_bytes(b"PK")
    assert passes.left(8, 4) == [range(4, 8)]
    passes.clear()
    assert not any(tmp_path.iterdir())


def test_what_is_left_of_passes_of_other_sizes(tmp_path):
    passes = Passes(tmp_path, "mark")
    assert passes.left(5, 3) == [range(3), range(3, 5)]
    passes.keep(range(2, 4), {})
    passes.keep(range(9, 10), {})
    assert passes.done() == [range(2, 4), range(9, 10)]
    assert passes.left(12, 3) == [range(2), range(4, 7), range(7, 9), range(10, 12)]
    assert passes.left(12, 3, lambda streams: bytes(streams.start == 2)) == [range(3), range(3, 6), range(6, 9), range(10, 12)]
