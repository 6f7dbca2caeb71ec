"""Conversations put together from single utterances: when each begins, how loud it is, and who speaks when.

After LibriMix (arXiv 2005.11262; spec: downstream-speaker.md 6), with a choice of overlap and pauses: LibriMix lets all sources begin at 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from utility.metrics.diarization import merged

# Levels of speech and noise in dB below full scale, and the peak that a mixture must not exceed.
SPEECH_DB, NOISE_DB, PEAK = (-33.0, -25.0), (-38.0, -30.0), 0.9
PAUSE_S, MARGIN_S = (0.2, 1.0), (0.1, 0.5)
_ROUNDS, _CLOSE = 6, 0.01
_PAUSES = 0.3  # part of the changes of speaker that are pauses as long as the overlap wanted allows it
_MOST = 0.95  # part of an utterance that others may overlap


@dataclass(frozen=True)
class Utterance:
    """Speech of one speaker.

    Args:
        wav: (n,) samples.
        rate: in Hz.
        speech: (m, 2) seconds in which there is speech.
        speaker: who.
        name: of the utterance.
    """

    wav: np.ndarray
    rate: int
    speech: np.ndarray
    speaker: str
    name: str = ""

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.wav) / self.rate

    def trimmed(self) -> Utterance:
        """Without what comes before the first and after the last speech."""
        first, last = (round(second * self.rate) for second in (self.speech[0, 0], self.speech[-1, 1]))
        return Utterance(self.wav[first:last], self.rate, self.speech - first / self.rate, self.speaker, self.name)


@dataclass(frozen=True)
class Mixture:
    """A conversation.

    Args:
        wav: (n,) float32.
        turns: (m, 2) seconds by speaker.
        sources: (n,) float32 by speaker, which add up to the mixture without its noise.
    """

    wav: np.ndarray
    turns: dict[str, np.ndarray]
    sources: dict[str, np.ndarray]


def conversation(
    rng: np.random.Generator, utterances: Sequence[Utterance], overlap: float | None, noise: np.ndarray | None = None
) -> Mixture:
    """Mixes utterances.

    Args:
        rng: the randomness.
        utterances: of one rate; the speakers take turns in a random order, each with its utterances in theirs.
        overlap: wanted part of the speech during which several speak, 0 to 1 (it is met as nearly as the utterances allow); None lets every
            speaker begin at 0, as in Libri2Mix.
        noise: (n,) samples; repeated or cut to the length.

    Returns:
        the mixture; every speaker has a level drawn from ``SPEECH_DB``, the noise one from ``NOISE_DB``.
    """
    rate, ordered = utterances[0].rate, _in_turns(rng, [utterance.trimmed() for utterance in utterances])
    starts = _together(ordered) if overlap is None else _scheduled(rng, ordered, overlap)
    lead, tail = (0.0, 0.0) if overlap is None else rng.uniform(*MARGIN_S, 2)
    length = round((lead + max(s + u.seconds for s, u in zip(starts, ordered, strict=True)) + tail) * rate)
    sources, turns = {}, {}
    for who in sorted({utterance.speaker for utterance in ordered}):
        own = [(start + lead, utterance) for start, utterance in zip(starts, ordered, strict=True) if utterance.speaker == who]
        sources[who] = _track(own, length, rate) * 10 ** (rng.uniform(*SPEECH_DB) / 20)
        turns[who] = merged(np.concatenate([utterance.speech + start for start, utterance in own]))
    bed = np.zeros(length) if noise is None else np.resize(noise, length)
    wav = sum(sources.values()) + bed * 10 ** (rng.uniform(*NOISE_DB) / 20) / max(_rms(bed), 1e-9)
    gain = min(1.0, PEAK / max(float(np.abs(wav).max()), 1e-9))
    return Mixture((wav * gain).astype(np.float32), turns, {who: (own * gain).astype(np.float32) for who, own in sources.items()})


def overlap_of(turns: Sequence[np.ndarray]) -> float:
    """Part of the time with speech in which two or more of these speakers speak."""
    bounds = np.unique(np.concatenate([np.zeros((0, 2)), *turns]).ravel())
    if len(bounds) < 2:
        return 0.0
    middles, seconds = (bounds[1:] + bounds[:-1]) / 2, np.diff(bounds)
    count = sum(((middles[:, None] > own[:, 0]) & (middles[:, None] < own[:, 1])).any(axis=1).astype(int) for own in turns)
    return float(seconds[count > 1].sum() / max(seconds[count > 0].sum(), 1e-9))


def speech_in(wav: np.ndarray, rate: int) -> np.ndarray:
    """(m, 2) seconds in which an utterance has energy: a guess for corpora without alignments.

    The level (dB) of 25 ms frames must lie more than a third of the way from that of the quietest frames to that of the loudest ones, and
    within 40 dB of the latter. Gaps below 0.2 s are closed, bursts below 0.1 s dropped.
    """
    hop, size = rate // 100, rate // 40
    if len(wav) < size:
        return np.array([[0.0, len(wav) / rate]])
    power = np.convolve(np.square(wav, dtype=np.float64), np.ones(size) / size, "valid")[::hop]
    level = 10 * np.log10(power + 1e-10)
    quiet, loud = np.percentile(level, (5, 95))
    frames = np.flatnonzero(level > max(quiet + 0.35 * (loud - quiet), loud - 40))
    found = merged(np.stack([frames * hop / rate - 0.1, (frames * hop + size) / rate + 0.1], axis=1)) + np.array([0.1, -0.1])
    found = found[found[:, 1] - found[:, 0] >= 0.1]
    return np.clip(found, 0, len(wav) / rate) if len(found) else np.array([[0.0, len(wav) / rate]])


def _rms(wav: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(wav, dtype=np.float64)))) if len(wav) else 0.0


def _in_turns(rng: np.random.Generator, utterances: list[Utterance]) -> list[Utterance]:
    """The speakers in random order, over and over, as long as they have something to say."""
    waiting: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        waiting.setdefault(utterance.speaker, []).append(utterance)
    names, ordered = [list(waiting)[index] for index in rng.permutation(len(waiting))], []
    while any(waiting.values()):
        ordered += [waiting[name].pop(0) for name in names if waiting[name]]
    return ordered


def _together(ordered: list[Utterance]) -> list[float]:
    """Every speaker's first utterance at 0, the next ones after a pause."""
    ends: dict[str, float] = {}
    starts = []
    for utterance in ordered:
        starts.append(ends.get(utterance.speaker, -PAUSE_S[0]) + PAUSE_S[0])
        ends[utterance.speaker] = starts[-1] + utterance.seconds
    return starts


def _scheduled(rng: np.random.Generator, ordered: list[Utterance], overlap: float) -> list[float]:
    """Starts in seconds, with overlap or a pause between neighbours; the overlap is corrected until it is what was wanted."""
    draws, gaps = rng.random((2, max(1, len(ordered) - 1))), rng.uniform(*PAUSE_S, len(ordered))
    total = sum(utterance.seconds for utterance in ordered)
    target, starts = overlap * total / (1 + overlap), []
    for _ in range(_ROUNDS):
        shared = _shared(ordered, target, draws)
        starts = [0.0]
        for index, seconds in enumerate(shared):
            starts.append(
                starts[-1] + ordered[index].seconds - seconds if seconds > 0 else starts[-1] + ordered[index].seconds + gaps[index]
            )
        by_speaker: dict[str, list[np.ndarray]] = {}
        for start, utterance in zip(starts, ordered, strict=True):
            by_speaker.setdefault(utterance.speaker, []).append(utterance.speech + start)
        found = overlap_of([np.concatenate(own) for own in by_speaker.values()])
        if abs(found - overlap) < _CLOSE or found == 0:
            break
        target *= overlap / found
    return starts


def _shared(ordered: list[Utterance], target: float, draws: np.ndarray) -> np.ndarray:
    """Seconds that neighbours share, ``target`` in all if that is possible: none between utterances of one speaker, or where a pause is."""
    pairs = [a.speaker != b.speaker for a, b in pairwise(ordered)]
    neighbours = np.array([sum(pairs[max(0, i - 1) : i + 1]) for i in range(len(ordered))])
    free = _MOST * np.array([utterance.seconds for utterance in ordered]) / np.maximum(neighbours, 1)
    room = np.where(pairs, np.minimum(free[:-1], free[1:]), 0.0)
    pause = np.array(draws[0, : len(room)] < _PAUSES)
    for index in np.argsort(-draws[0, : len(room)]):  # pauses are given up, one by one, until the overlap fits in
        if (room * ~pause).sum() >= target:
            break
        pause[index] = False
    room = room * ~pause
    shared = np.zeros(len(room))
    wanted = room * (0.3 + draws[1, : len(room)])
    for _ in range(4):  # what does not fit between two is shared out among the others
        left = np.maximum(room - shared, 0)
        weight = wanted * (left > 0)
        if weight.sum() <= 0:
            break
        shared = np.minimum(room, shared + weight / weight.sum() * max(0.0, target - shared.sum()))
    return shared


def _track(own: list[tuple[float, Utterance]], length: int, rate: int) -> np.ndarray:
    """All utterances of a speaker on one track whose speech has the level 1."""
    track = np.zeros(length)
    for start, utterance in own:
        first = round(start * rate)
        part = utterance.wav[: length - first]
        track[first : first + len(part)] += part
    spoken = [utterance.wav[round(a * rate) : round(b * rate)] for _, utterance in own for a, b in utterance.speech]
    return track / max(_rms(np.concatenate(spoken)), 1e-9)
