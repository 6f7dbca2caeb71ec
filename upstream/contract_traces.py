"""Checks of an upstream: that a call leaves nothing behind, and that nothing else moves its states."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from upstream.contract_subject import CLOSE, SECONDS, Fault, Nothing, Subject, largest_difference

BRIEF = 0.5  # seconds


def state_dict(subject: Subject) -> str:
    """Calls add, remove and reshape no weight and no buffer, and the state dict of before them is taken back."""
    before = copy.deepcopy(subject.upstream.state_dict())
    for train in (False, True):
        subject.call(subject.waves(*SECONDS), train=train)
    after = subject.upstream.state_dict()
    changed = [name for name in {**before, **after} if _shape(before, name) != _shape(after, name)]
    if changed:
        name = changed[0]
        raise Fault(
            f"a call makes {name} {_shape(after, name)}, which was {_shape(before, name)}; what -f trains and a checkpoint holds is there "
            "before the first call (a table that grows is no buffer, or not persistent)"
        )
    try:
        subject.upstream.load_state_dict(before)
    except Exception as error:
        raise Fault(f"its own state dict is not taken back: {' '.join(str(error).split())[:300]}") from error
    return f"{len(after)} entries, as before the first call"


def _shape(state: Mapping[str, Any], name: str) -> str:
    """The shape of an entry in words."""
    value = state.get(name)
    if name not in state:
        return "absent"
    if not isinstance(value, torch.Tensor):
        return f"a {type(value).__name__}"
    return "without a shape" if is_lazy(value) else str(tuple(value.shape))


def two_calls(subject: Subject) -> str:
    """Two calls in eval mode agree, bit for bit on a CPU."""
    difference = largest_difference(subject.states(*SECONDS), subject.states(*SECONDS))
    if difference > _allowed(subject):
        raise Fault(f"two calls in eval mode differ by {difference:.2g} of the largest value (dropout, dither or state?)")
    return _within(difference)


def in_the_end(subject: Subject) -> str:
    """After all other checks the states are those of the first call."""
    if not subject.first:
        raise Nothing("the first call gave no states")
    difference = largest_difference(subject.states(*SECONDS), subject.first)
    if difference > _allowed(subject):
        raise Fault(f"the same waveforms differ by {difference:.2g} of the largest value from the first call (does it count or collect?)")
    return f"as in the first call, {_within(difference)}"


def waveforms(subject: Subject) -> str:
    """The waveforms that are given stay as they are."""
    for train in (False, True):
        given, kept = subject.waves(*SECONDS), subject.waves(*SECONDS)
        subject.call(list(given), train=train)
        changed = [index for index, (one, other) in enumerate(zip(given, kept, strict=True)) if not torch.equal(one, other)]
        if changed:
            raise Fault(f"waveform {changed[0]} of the batch was changed in place in {'train' if train else 'eval'} mode; work on a copy")
    return "unchanged"


def random_streams(subject: Subject) -> str:
    """A call in eval mode leaves the global random streams alone; one in train mode draws from them and seeds none."""
    before = _streams()
    subject.states(BRIEF)
    moved = [name for name, state in _streams().items() if state != before[name]]
    if moved:
        raise Fault(f"a call in eval mode moved the global random stream of {' and '.join(moved)}; what others draw would depend on it")
    after = []
    for seed in (1, 2):
        _seed(seed)
        subject.call(subject.waves(BRIEF), train=True)
        after.append(_streams())
    seeded = [name for name in before if after[0][name] == after[1][name]]
    if seeded:
        raise Fault(f"a call in train mode seeds the global random stream of {' and '.join(seeded)}")
    return "untouched"


def stateless(subject: Subject) -> str:
    """What calls itself ``stateless`` has no weights and gives the same whatever the seed, bit for bit on a CPU."""
    if not getattr(subject.upstream, "stateless", False):
        raise Nothing("does not claim it; loader workers will not compute it")
    trainable = sum(p.requires_grad for p in subject.upstream.parameters())
    if trainable:
        raise Fault(f"stateless is True, but there are {trainable} trainable parameters, which no function of the waveforms alone has")
    found = []
    for seed in (1, 2):
        _seed(seed)
        found.append(subject.states(*SECONDS))
    difference = largest_difference(*found)
    if difference > _allowed(subject):
        raise Fault(f"stateless is True, but two seeds differ by {difference:.2g} of the largest value")
    return f"two seeds {_within(difference)}"


def _streams() -> dict[str, object]:
    """The states of the global random streams, as what compares."""
    numpy = np.random.get_state()
    return {"torch": torch.get_rng_state().numpy().tobytes(), "numpy": (numpy[1].tobytes(), *numpy[2:]), "random": random.getstate()}


def _seed(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def _allowed(subject: Subject) -> float:
    return 0.0 if torch.device(subject.device).type == "cpu" else CLOSE


def _within(difference: float) -> str:
    return "equal" if difference == 0 else f"within {difference:.1g}"
