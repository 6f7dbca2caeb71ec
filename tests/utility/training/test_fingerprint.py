"""The digest of an upstream, by which stored features are known."""

from __future__ import annotations

import re
import warnings
from collections import deque
from collections.abc import Callable
from functools import lru_cache, partial, reduce
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from utility.training.feature_store import fingerprint, samples_digest


class Net(nn.Module):
    def __init__(self, **options: Any):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(2, 3)
        self.options = {"normalize": False, "strides": (2, 2), **options}
        self.register_buffer("mean", torch.zeros(3), persistent=False)
        self.held = [nn.Linear(1, 1)]  # known to no list of modules
        self.name = options.get("alias", "net")


def changed(change: Callable[[Net], Any]) -> Net:
    net = Net()
    with torch.no_grad():
        change(net)
    return net


def test_all_that_decides_the_states_is_in_the_fingerprint(tmp_path):
    code = tmp_path / "code"
    code.mkdir()
    (code / "expert.py").write_text("1")
    settings = {"dtype": "fp32", "amp": "None"}
    reference = fingerprint(Net(), [code], settings)
    assert fingerprint(Net().eval(), [code], dict(reversed(settings.items()))) == reference
    assert fingerprint(changed(lambda net: setattr(net, "name", "other")), [code], settings) == reference
    others = [
        changed(lambda net: net.linear.weight[0, 0].add_(1e-6)),
        changed(lambda net: net.mean.add_(1)),
        changed(lambda net: net.held[0].bias.add_(1)),
        changed(lambda net: net.options.update(normalize=True)),
        changed(lambda net: net.options.update(strides=(2, 3))),
        changed(lambda net: setattr(net, "linear", nn.Identity())),
        Net().double(),
    ]
    found = {reference, *(fingerprint(net, [code], settings) for net in others), fingerprint(Net(), [code], {**settings, "dtype": "fp16"})}
    (code / "expert.py").write_text("2")
    found.add(fingerprint(Net(), [code], settings))
    assert len(found) == len(others) + 3


class Scale:
    """An option as an attribute of an object, behind a method of it."""

    def __init__(self, by: float):
        self.by = by

    def applied(self, x: Tensor) -> Tensor:
        return x * self.by


def times(by: float) -> Callable[[Tensor], Tensor]:
    return lambda x: x * by


def by_default(by: float) -> Callable[[Tensor], Tensor]:
    def apply(x: Tensor, factor: float = by) -> Tensor:
        return x * factor

    return apply


class Slotted:
    __slots__ = ("by",)

    def __init__(self, by: float):
        self.by = by


class Below(Slotted):
    """Whose slots are its base's."""


@pytest.mark.parametrize(
    "made",
    [
        times,
        by_default,
        lambda by: (lambda x: x) if by == 1 else (lambda x: -x),  # of one name
        lambda by: torch.no_grad()(times(by)),
        lambda by: lru_cache(times(by)),
        lambda by: partial(times(by)),
        lambda by: Scale(by).applied,
        lambda by: torch.relu if by == 1 else torch.tanh,
        lambda by: np.float32(by),
        lambda by: np.int64(by),
        lambda by: range(int(by)),
        lambda by: slice(by),
        lambda by: deque([by]),
        lambda by: re.compile(str(by)),
        lambda by: Below(by),
        lambda by: torch.distributions.Normal(0.0, by),
        lambda by: reduce(lambda inner, _: [inner], range(20), by),
    ],
)
def test_whatever_carries_an_option_along_is_in_the_fingerprint(made):
    one, same, other = (fingerprint(changed(lambda net, by=by: setattr(net, "act", made(by))), [], {}) for by in (1.0, 1.0, 2.0))
    assert one == same != other


def test_hooks_are_in_the_fingerprint():
    def hooked(by: float) -> str:
        return fingerprint(changed(lambda net: net.linear.register_forward_hook(lambda module, inputs, output: output * by)), [], {})

    assert hooked(1.0) == hooked(1.0) != hooked(2.0)


def test_scripted_nets_have_a_fingerprint():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        net = torch.jit.trace(Net().linear, torch.zeros(1, 2))
    before, same = fingerprint(net, [], {}), fingerprint(net, [], {})
    with torch.no_grad():
        net.weight[0, 0] += 1e-6
    assert before == same != fingerprint(net, [], {})


def test_a_waveform_is_known_by_its_samples():
    wav = torch.randn(50, generator=torch.Generator().manual_seed(0))
    assert samples_digest(wav) == samples_digest(torch.stack([wav, wav], 1)[:, 0])
    assert len({samples_digest(w) for w in (wav, wav[:-1], wav[1:], -wav, torch.cat([wav, torch.zeros(1)]))}) == 5


# ---- the folder
