"""Parts of a corpus: so many recordings or such a fraction, and a validation set cut from the training set.

``draw`` and ``cut_clips`` draw what the STM32 model zoo draws with the same seed from the same list (spec: speech-enhancement.md A1.3).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import TypeVar

from sklearn.model_selection import train_test_split

from downstream.blocks.enhancement.pairs import PairedFiles
from utility.errors import ConfigError, DataError, UnknownNameError

DEFAULT_VALIDATION = 100  # clips, or a tenth of the training set where that is less
HELD_OUT = ("p226", "p287")  # what the field holds out of the 28 speakers of VoiceBank-DEMAND
Item = TypeVar("Item")


def draw(items: Sequence[Item], wanted: int | float | None, seed: int, field: str = "n_clips") -> list[Item]:
    """A random part, in random order.

    Args:
        items: to draw from.
        wanted: how many (int), which part (float, rounded down), or None for all in their order.
        seed: of the drawing.
        field: the config field that an error names.

    Raises:
        DataError: more are wanted than there are, or a part that comes to none.
    """
    if wanted is None:
        return list(items)
    count = math.floor(wanted * len(items)) if isinstance(wanted, float) else wanted
    if not count:
        raise DataError(f"{field} {wanted} of {len(items)} recordings is none")
    if count > len(items):
        raise DataError(f"{field} is {count}, but there are only {len(items)} recordings")
    return random.Random(seed).sample(list(items), count)


def cut_clips(
    items: Sequence[Item], wanted: int | float, seed: int, field: str = "num_validation_samples"
) -> tuple[list[Item], list[Item]]:
    """(training, validation) by clips, both in random order; with 0 both are all items.

    Args:
        items: the training set.
        wanted: clips (int) or part (float, rounded up) for validation.
        seed: of the cut.
        field: the config field that an error names.

    Raises:
        DataError: nothing would be left to train on.
    """
    if not wanted:
        return list(items), list(items)
    count = math.ceil(wanted * len(items)) if isinstance(wanted, float) else wanted
    if count >= len(items):
        raise DataError(f"{field} takes {count} of {len(items)} recordings, which leaves none to train on")
    training, validation = train_test_split(list(items), test_size=wanted, random_state=seed)
    return training, validation


def speaker_of(name: str) -> str:
    """Who speaks, as the names of VoiceBank-DEMAND tell: what is before the first ``_`` (or ``-``, as in LibriSpeech)."""
    return name.replace("-", "_").partition("_")[0]


def speakers_of(pairs: Sequence[PairedFiles]) -> list[str]:
    """The speakers, sorted; none if the names do not tell them: then all have one beginning, or each one of its own."""
    found = sorted({speaker_of(pair.name) for pair in pairs})
    return found if 1 < len(found) < len(pairs) else []


def cut_speakers(
    pairs: Sequence[PairedFiles], wanted: int | float | None, seed: int, named: Sequence[str] | None = None
) -> tuple[list[PairedFiles], list[PairedFiles]]:
    """(training, validation) without a speaker in common, training in the given order.

    Args:
        pairs: the training set.
        wanted: clips (int) or part of all (float) for validation, drawn from the speakers held out; None for all of theirs.
        seed: of the choice of speakers and clips.
        named: the speakers to hold out; by default p226 and p287 if they are there, otherwise as many as give ``wanted`` clips.

    Raises:
        ConfigError: names do not tell speakers.
        DataError: nobody would be left to train on.
        UnknownNameError: a named speaker is not there.
    """
    speakers = speakers_of(pairs)
    if not speakers:
        raise ConfigError("the names of the recordings do not tell who speaks, so validation must be 'clips'", "dataset.validation")
    for speaker in named or ():
        if speaker not in speakers:
            raise UnknownNameError("speaker in dataset.validation_speakers", str(speaker), speakers)
    count = math.ceil(wanted * len(pairs)) if isinstance(wanted, float) else wanted
    held = set(named or _chosen(pairs, speakers, count or 1, seed))
    validation = [pair for pair in pairs if speaker_of(pair.name) in held]
    training = [pair for pair in pairs if speaker_of(pair.name) not in held]
    if not training:
        raise DataError("dataset.validation_speakers holds all speakers out, which leaves none to train on")
    return training, validation if count is None or count >= len(validation) else draw(validation, count, seed)


def _chosen(pairs: Sequence[PairedFiles], speakers: Sequence[str], count: int, seed: int) -> list[str]:
    if set(HELD_OUT) < set(speakers):
        return list(HELD_OUT)
    order, chosen = random.Random(seed).sample(list(speakers), len(speakers)), []
    for speaker in order[:-1]:
        chosen.append(speaker)
        if sum(speaker_of(pair.name) in chosen for pair in pairs) >= count:
            break
    return chosen


def default_validation(items: Sequence[Item]) -> int:
    """How many clips validation takes where nothing is said."""
    return min(DEFAULT_VALIDATION, max(1, len(items) // 10))
