"""The contract of upstreams (upstream/README.md) as checks of a module; utility/check_upstream.py prints what they find."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from upstream import contract_batch, contract_traces
from upstream.contract_subject import KEY, SECONDS, Fault, Nothing, Subject, states_of
from upstream.featurizer import TOLERABLE_FRAME_DIFF, Featurizer, undisturbed
from utility.errors import ToolkitError

SHORT, LONG = 0.05, 20.0
TRAINING_CALLS = 5


def shapes(subject: Subject) -> str:
    """(B, T, D), one T for all, finite."""
    states = subject.first = subject.states(*SECONDS)
    for index, state in enumerate(states):
        if state.dim() != 3 or len(state) != len(SECONDS):
            raise Fault(f"state {index} has the shape {tuple(state.shape)}, not ({len(SECONDS)}, T, D)")
        if not torch.isfinite(state).all():
            raise Fault(f"state {index} holds NaN or infinity for plain noise")
    frames = sorted({state.size(1) for state in states})
    if len(frames) > 1:
        raise Fault(f"the states have {frames} frames; all need the same")
    return f"{len(states)} of (B, T, {' or '.join(map(str, _widths(states)))})"


def weighted_sum(subject: Subject) -> str:
    """What a task reads without ``-l``: the sum of all states, which needs one D."""
    if len(widths := _widths(subject.states(0.5))) > 1:
        raise Nothing(f"the states are {' and '.join(map(str, widths))} wide, so that no sum of them exists: a user has to choose one (-l)")
    wavs = subject.waves(*SECONDS)
    summed = Featurizer(subject.upstream, KEY, subject.device).to(subject.device)(wavs, subject.call(wavs))
    return f"frames {[len(item) for item in summed]}, {summed[0].size(1)} wide"


def _widths(states: list[Tensor]) -> list[int]:
    return sorted({state.size(-1) for state in states})


def last_state(subject: Subject) -> str:
    """``last_hidden_state``, where there is one, has the frames of the states and is finite; said if it is none of them."""
    result = subject.call(subject.waves(0.5))
    last, states = result.get("last_hidden_state"), states_of(result)
    if last is None:
        raise Nothing("no key last_hidden_state; -s last_hidden_state will not work")
    last = last[0] if isinstance(last, (list, tuple)) and last else last
    if not isinstance(last, Tensor):
        raise Fault(f"last_hidden_state is a {type(last).__name__}, not a tensor")
    if last.shape[:2] != states[-1].shape[:2]:
        raise Fault(f"last_hidden_state is {tuple(last.shape)} beside states of {tuple(states[-1].shape)}")
    if not torch.isfinite(last).all():
        raise Fault("last_hidden_state holds NaN or infinity for plain noise")
    equal = [index for index, state in enumerate(states) if torch.equal(state, last)]
    return f"{tuple(last.shape)}, {f'state {equal[-1]} of {len(states)}' if equal else 'none of the hidden states'}"


def types_and_place(subject: Subject) -> str:
    """float32, on the device of the waveforms, without a graph under no_grad."""
    wav, states = subject.waves(0.5)[0], subject.states(0.5)
    for index, state in enumerate(states):
        if state.dtype != torch.float32:
            raise Fault(f"state {index} is {str(state.dtype).removeprefix('torch.')} for float32 waveforms")
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
    """``lengths`` are the frames that each item gives alone; in a batch one more or fewer is let pass where items depend on it."""
    lengths = subject.call(subject.waves(*SECONDS)).get("lengths")
    if lengths is None:
        raise Nothing("no key lengths; tasks that ask for the rule 'own' get 'round'")
    told = lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)
    if not all(type(n) is int for n in told):
        raise Fault(f"lengths are {told}, not whole numbers of frames")
    results = [subject.call([wav]) for wav in subject.waves(*SECONDS)]
    alone = [states_of(result)[0].size(1) for result in results]
    if (by_itself := [int(result["lengths"][0]) for result in results]) != alone:
        raise Fault(f"lengths of the items alone are {by_itself}, but their states have {alone} frames")
    slack = 0 if getattr(subject.upstream, "batch_independent", False) else 1  # some published rules depend on the batch
    if len(told) != len(alone) or any(abs(a - b) > slack for a, b in zip(told, alone, strict=True)):
        raise Fault(f"lengths are {told}, but the items alone have {alone} frames")
    return f"{told}, alone {alone}"


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
    "state dict": contract_traces.state_dict,
    "hidden states": shapes,
    "weighted sum": weighted_sum,
    "last hidden state": last_state,
    "type, device": types_and_place,
    "frame rate": frame_rate,
    "lengths": own_lengths,
    "two calls": contract_traces.two_calls,
    "batch": contract_batch.independence,
    "order": contract_batch.order,
    "one length": contract_batch.one_length,
    "other items": contract_batch.other_items,
    "waveforms": contract_traces.waveforms,
    "random streams": contract_traces.random_streams,
    "stateless": contract_traces.stateless,
    "train mode": train_mode,
    "gradients": gradients,
    f"{SHORT} s": short_input,
    f"{LONG:g} s": long_input,
    "NaN": not_a_number,
    "in the end": contract_traces.in_the_end,
}


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
        try:
            subject.upstream.load_state_dict(memory)  # running statistics of the train mode
        except Exception:  # noqa: BLE001 - which the check of the state dict has told
            memory = copy.deepcopy(subject.upstream.state_dict())
        yield name, verdict, finding


def _told(error: Exception) -> str:
    """An unexpected error in a line, with the place in the code."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]} ({place.filename}, line {place.lineno})"
