"""Checks of an upstream: what an item's states may depend on besides its own waveform."""

from __future__ import annotations

from torch import Tensor

from upstream.contract_subject import CLOSE, SECONDS, Fault, Subject, largest_difference, states_of

BATCHES = (1, 2, 8)
LENGTH = 0.5
TURNED = (2, 0, 3, 1)  # an order of SECONDS in which no item keeps its place, neither sorted nor sorted backwards


def independence(subject: Subject) -> str:
    """Alone or in a batch: equal if the upstream says so."""
    claimed = bool(getattr(subject.upstream, "batch_independent", False))
    worst = max(_from_alone(subject, subject.waves(*SECONDS)))
    if claimed and worst > CLOSE:
        raise Fault(f"batch_independent is True, but an item differs by {worst:.2g} of the largest value alone and in a batch")
    return f"largest difference alone and in a batch {worst:.1g}; batch_independent is {claimed}"


def order(subject: Subject) -> str:
    """Each item has the place of its waveform: what another waveform there moves, and whatever the order of the batch."""
    wavs, others = subject.waves(*SECONDS), subject.waves(*SECONDS, seed=1)
    straight = states_of(subject.call(wavs))
    for index, other in enumerate(others):
        moved = states_of(subject.call([*wavs[:index], other, *wavs[index + 1 :]]))
        changes = [_change(straight, moved, place) for place in range(len(wavs))]
        if (most := changes.index(max(changes))) != index:
            raise Fault(f"another waveform at place {index} of a batch moves the states at place {most}: the items are in another order")
    turned = states_of(subject.call([wavs[i] for i in TURNED]))
    difference = largest_difference(turned, [state[list(TURNED)] for state in straight])
    if difference > CLOSE:
        raise Fault(f"the items of a batch in another order differ by {difference:.2g} of the largest value")
    return f"kept; another order within {difference:.1g}"


def one_length(subject: Subject) -> str:
    """Without padding an item's states are those of its waveform alone, however many there are."""
    worst = 0.0
    for size in BATCHES:
        differences = _from_alone(subject, subject.waves(*[LENGTH] * size))
        if max(differences) > CLOSE:
            item = differences.index(max(differences))
            raise Fault(f"item {item} of {size} waveforms of one length is {max(differences):.2g} of the largest value off from it alone")
        worst = max(worst, *differences)
    return f"batches of {', '.join(map(str, BATCHES))} within {worst:.1g}"


def other_items(subject: Subject) -> str:
    """What the other waveforms of a batch hold changes nothing, only their lengths may."""
    wavs, others = subject.waves(*SECONDS), subject.waves(*SECONDS, seed=1)
    first, second = (states_of(subject.call([wavs[0], *rest])) for rest in (wavs[1:], others[1:]))
    difference = largest_difference([state[:1] for state in second], [state[:1] for state in first])
    if difference > CLOSE:
        raise Fault(f"an item changes by {difference:.2g} of the largest value with what the other waveforms of its batch hold")
    return f"change nothing (within {difference:.1g})"


def _from_alone(subject: Subject, wavs: list[Tensor]) -> list[float]:
    """Of each item of a batch, how far it is from itself alone; infinite where it is shorter."""
    together, found = states_of(subject.call(wavs)), []
    for index, wav in enumerate(wavs):
        alone = subject.states_alone(wav)
        own = [state[index : index + 1, : reference.size(1)] for state, reference in zip(together, alone, strict=True)]
        found.append(largest_difference(own, alone))
    return found


def _change(states: list[Tensor], others: list[Tensor], place: int) -> float:
    return largest_difference([state[place] for state in states], [state[place] for state in others])
