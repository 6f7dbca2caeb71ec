"""The contract of upstreams (upstream/README.md) as checks of a module; utility/check_upstream.py prints what they find."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from upstream.featurizer import TOLERABLE_FRAME_DIFF, undisturbed
from utility.errors import ToolkitError

SECONDS = (0.4, 0.5, 1.0, 1.237)
SHORT, LONG = 0.05, 20.0
TRAINING_CALLS = 5
CLOSE = 1e-4  # largest difference relative to the largest value
KEY = "hidden_states"


class Fault(Exception):  # noqa: N818 - a finding about an upstream, not an error of the one who asks
    """What a check found wrong."""


class Nothing(Exception):  # noqa: N818
    """Why there is nothing to check."""


@dataclass
class Subject:
    """The upstream under test.

    Args:
        upstream: the module, on its device.
        device: where it is.
        rate: Hz of the waveforms that it takes.
    """

    upstream: nn.Module
    device: str
    rate: int = 16000

    def waves(self, *seconds: float) -> list[Tensor]:
        """Fixed noise of these lengths."""
        generator = torch.Generator().manual_seed(0)
        return [0.1 * torch.randn(round(s * self.rate), generator=generator).to(self.device) for s in seconds]

    def call(self, wavs: list[Tensor], train: bool = False, gradients: bool = False) -> dict[str, Any]:
        """Its dict for a batch."""
        self.upstream.train(train)
        with torch.set_grad_enabled(gradients):
            return self.upstream(wavs)

    def states(self, *seconds: float) -> list[Tensor]:
        """The hidden states for noise of these lengths, in eval mode."""
        return states_of(self.call(self.waves(*seconds)))

    def states_alone(self, wav: Tensor) -> list[Tensor]:
        """The hidden states of one waveform, in eval mode."""
        return states_of(self.call([wav]))

    @property
    def samples_per_frame(self) -> int:
        return self.upstream.get_downsample_rates(KEY)


def states_of(result: Any) -> list[Tensor]:
    """The hidden states of a result.

    Raises:
        Fault: there are none, or they are no tensors.
    """
    if not isinstance(result, Mapping):
        raise Fault(f"the call returned a {type(result).__name__}, not a dict")
    states = result.get(KEY)
    if not isinstance(states, (list, tuple)) or not states:
        raise Fault(f"{KEY!r} is {type(states).__name__}, not a list or tuple of tensors; there are the keys {', '.join(map(str, result))}")
    wrong = [type(state).__name__ for state in states if not isinstance(state, torch.Tensor)]
    if wrong:
        raise Fault(f"{KEY!r} holds a {wrong[0]}, not tensors alone")
    return list(states)


def shapes(subject: Subject) -> str:
    """(B, T, D), one T for all, finite."""
    states = subject.states(*SECONDS)
    for index, state in enumerate(states):
        if state.dim() != 3 or len(state) != len(SECONDS):
            raise Fault(f"state {index} has the shape {tuple(state.shape)}, not ({len(SECONDS)}, T, D)")
        if not torch.isfinite(state).all():
            raise Fault(f"state {index} holds NaN or infinity for plain noise")
    frames = sorted({state.size(1) for state in states})
    if len(frames) > 1:
        raise Fault(f"the states have {frames} frames; all need the same")
    widths = sorted({state.size(2) for state in states})
    return f"{len(states)} of (B, T, {' or '.join(map(str, widths))})"


def last_state(subject: Subject) -> str:
    """``last_hidden_state``, where there is one, belongs to the states."""
    result = subject.call(subject.waves(0.5))
    last, states = result.get("last_hidden_state"), states_of(result)
    if last is None:
        raise Nothing("no key last_hidden_state; -s last_hidden_state will not work")
    last = last[0] if isinstance(last, (list, tuple)) else last
    if last.shape[:2] != states[-1].shape[:2]:
        raise Fault(f"last_hidden_state is {tuple(last.shape)} beside states of {tuple(states[-1].shape)}")
    return str(tuple(last.shape))


def types_and_place(subject: Subject) -> str:
    """Floating point, on the device of the waveforms, without a graph under no_grad."""
    wav, states = subject.waves(0.5)[0], subject.states(0.5)
    for index, state in enumerate(states):
        if not state.is_floating_point():
            raise Fault(f"state {index} is {state.dtype}, not floating point")
        if state.dtype == torch.float64:
            raise Fault(f"state {index} is float64 for float32 waveforms")
        if state.device != wav.device:
            raise Fault(f"state {index} is on {state.device}, the waveforms are on {wav.device}")
        if state.requires_grad:
            raise Fault(f"state {index} carries a graph under torch.no_grad")
    return f"{states[0].dtype} on {states[0].device}"


def frame_rate(subject: Subject) -> str:
    """Frames of waveforms alone against ``get_downsample_rates``, as the featurizer counts them."""
    rate = subject.samples_per_frame
    if type(rate) is not int or rate < 1:
        raise Fault(f"get_downsample_rates({KEY!r}) is {rate!r}, not a positive whole number")
    for seconds in (*SECONDS, LONG):
        frames, expected = subject.states(seconds)[0].size(1), round(round(seconds * subject.rate) / rate)
        if abs(frames - expected) >= TOLERABLE_FRAME_DIFF:
            raise Fault(f"{seconds} s gave {frames} frames; at {rate} samples per frame it should be about {expected}")
    return f"{rate} samples per frame, also over {LONG:g} s"


def own_lengths(subject: Subject) -> str:
    """``lengths`` are the frames that each item gives alone; one more or fewer is let pass where items depend on their batch."""
    lengths = subject.call(subject.waves(*SECONDS)).get("lengths")
    if lengths is None:
        raise Nothing("no key lengths; tasks that ask for the rule 'own' get 'round'")
    told = [int(n) for n in lengths]
    alone = [subject.states_alone(wav)[0].size(1) for wav in subject.waves(*SECONDS)]
    slack = 0 if getattr(subject.upstream, "batch_independent", False) else 1  # some published rules depend on the batch
    if len(told) != len(alone) or any(abs(a - b) > slack for a, b in zip(told, alone, strict=True)):
        raise Fault(f"lengths are {told}, but the items alone have {alone} frames")
    return f"{told}, alone {alone}"


def determinism(subject: Subject) -> str:
    """Two calls in eval mode agree."""
    first, second = subject.states(*SECONDS), subject.states(*SECONDS)
    difference = largest_difference(first, second)
    if difference > CLOSE:
        raise Fault(f"two calls in eval mode differ by {difference:.2g} of the largest value (dropout, dither or state?)")
    return "equal" if difference == 0 else f"within {difference:.1g}"


def independence(subject: Subject) -> str:
    """Alone or in a batch: equal if the upstream says so."""
    claimed = bool(getattr(subject.upstream, "batch_independent", False))
    wavs = subject.waves(*SECONDS)
    together = states_of(subject.call(wavs))
    worst = 0.0
    for index, wav in enumerate(wavs):
        alone = subject.states_alone(wav)
        own = [state[index : index + 1, : reference.size(1)] for state, reference in zip(together, alone, strict=True)]
        worst = max(worst, largest_difference(own, alone))
    if claimed and worst > CLOSE:
        raise Fault(f"batch_independent is True, but an item differs by {worst:.2g} of the largest value alone and in a batch")
    return f"largest difference alone and in a batch {worst:.1g}; batch_independent is {claimed}"


def train_mode(subject: Subject) -> str:
    """Number and shapes of the states are the same in train mode, call after call."""
    wanted = [tuple(state.shape) for state in subject.states(*SECONDS)]
    for _ in range(TRAINING_CALLS):
        found = [tuple(state.shape) for state in states_of(subject.call(subject.waves(*SECONDS), train=True, gradients=True))]
        if len(found) != len(wanted):
            raise Fault(f"{len(found)} states in train mode, {len(wanted)} in eval mode (layerdrop?)")
        if found != wanted:
            raise Fault(f"shapes in train mode are {found}, in eval mode {wanted}")
    return f"{len(wanted)} states in {TRAINING_CALLS} calls"


def gradients(subject: Subject) -> str:
    """Fine-tuning reaches the parameters."""
    trainable = {name: p for name, p in subject.upstream.named_parameters() if p.requires_grad}
    if not trainable:
        raise Nothing("no trainable parameter; -f would train nothing")
    result = states_of(subject.call(subject.waves(0.5, 0.4), train=True, gradients=True))
    total = sum(state.float().square().mean() for state in result)
    if not total.requires_grad:
        raise Fault(f"the states carry no graph in train mode, so that none of {len(trainable)} parameters can learn")
    total.backward()
    left = [name for name, p in trainable.items() if p.grad is None]
    subject.upstream.zero_grad(set_to_none=True)
    if len(left) == len(trainable):
        raise Fault(f"no gradient reaches any of {len(trainable)} parameters")
    note = f"; not {', '.join(left[:3])}{' ...' if len(left) > 3 else ''}" if left else ""
    return f"reach {len(trainable) - len(left)} of {len(trainable)} parameters{note}"


def short_input(subject: Subject) -> str:
    """0.05 s works, or is refused in a sentence."""
    try:
        return f"{subject.states(SHORT)[0].size(1)} frames"
    except ToolkitError as error:
        return f"refused: {error}"


def long_input(subject: Subject) -> str:
    """20 s beside 1 s."""
    return f"{subject.states(LONG, 1.0)[0].size(1)} frames"


def not_a_number(subject: Subject) -> str:
    """NaN in a waveform is refused, or seen in the states; it never becomes plain numbers."""
    (wav,) = subject.waves(0.5)
    wav[len(wav) // 2] = torch.nan
    try:
        states = states_of(subject.call([wav]))
    except ToolkitError as error:
        return f"refused: {error}"
    if all(torch.isfinite(state).all() for state in states):
        raise Fault("a waveform with NaN gave finite states; refuse it (utility/features/waves.py, check_waves)")
    return "seen in the states"


CHECKS: dict[str, Callable[[Subject], str]] = {
    "hidden states": shapes,
    "last hidden state": last_state,
    "type, device": types_and_place,
    "frame rate": frame_rate,
    "lengths": own_lengths,
    "two calls": determinism,
    "batch": independence,
    "train mode": train_mode,
    "gradients": gradients,
    f"{SHORT} s": short_input,
    f"{LONG:g} s": long_input,
    "NaN": not_a_number,
}


def largest_difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Over all states, relative to the largest value of each; infinite where shapes or numbers of states differ."""
    if [a.shape for a in ours] != [b.shape for b in theirs]:
        return float("inf")
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-9)) for a, b in zip(ours, theirs, strict=True))


def examine(subject: Subject) -> Iterator[tuple[str, str, str]]:
    """Name, verdict (``ok``, ``FAIL``, ``--``) and finding of each check; the weights and the random streams stay as they were."""
    memory = copy.deepcopy(subject.upstream.state_dict())
    for name, check in CHECKS.items():
        with undisturbed(subject.upstream):
            try:
                verdict, finding = "ok", check(subject)
            except Nothing as reason:
                verdict, finding = "--", str(reason)
            except Fault as fault:
                verdict, finding = "FAIL", str(fault)
            except Exception as error:  # noqa: BLE001 - whatever a plugin raises is what its author wants to see
                verdict, finding = "FAIL", _told(error)
        subject.upstream.load_state_dict(memory)  # running statistics of the train mode
        yield name, verdict, finding


def _told(error: Exception) -> str:
    """An unexpected error in a line, with the place in the code."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]} ({place.filename}, line {place.lineno})"
