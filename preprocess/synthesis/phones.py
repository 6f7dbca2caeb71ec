"""espeak-ng's phoneme names as ARPAbet phones, and phones as frame labels.

ARPAbet is that of General American, as in the CMU dictionary: 15 vowels with a stress digit, 24 consonants. Phonemes of other accents
are given their nearest phone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SILENCE = "SIL"
VOWELS = ("AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW")
CONSONANTS = (
    *("B", "CH", "D", "DH", "F", "G", "HH", "JH", "K", "L", "M", "N"),
    *("NG", "P", "R", "S", "SH", "T", "TH", "V", "W", "Y", "Z", "ZH"),
)
# Frame labels: 41 classes, as the phone classification probes have them (silence, noise, then the phones without stress, sorted).
FRAME_CLASSES = (SILENCE, "SPN", *sorted(VOWELS + CONSONANTS))
FRAMES_PER_SECOND = 100

_VOWELS = {
    **dict.fromkeys(("0", "A:", "A"), ("AA",)),
    **dict.fromkeys(("a", "aa"), ("AE",)),
    **dict.fromkeys(("V", "@", "@2", "@5", "a#"), ("AH",)),
    **dict.fromkeys(("O:", "O2", "O"), ("AO",)),
    **dict.fromkeys(("3", "3:", "VR", "IR"), ("ER",)),
    **dict.fromkeys(("I", "I2", "I#"), ("IH",)),
    **dict.fromkeys(("i", "i:"), ("IY",)),
    **dict.fromkeys(("u", "u:"), ("UW",)),
    **dict.fromkeys(("aI", "aI2"), ("AY",)),
    "aU": ("AW",),
    "E": ("EH",),
    "eI": ("EY",),
    "oU": ("OW",),
    "OI": ("OY",),
    "U": ("UH",),
    "@L": ("AH", "L"),
    "n-": ("AH", "N"),
    "m-": ("AH", "M"),
    "i@": ("IY", "AH"),
    **dict.fromkeys(("aI3", "aI@"), ("AY", "ER")),
    **dict.fromkeys(("aU3", "aU@"), ("AW", "ER")),
    "A@": ("AA", "R"),
    **dict.fromkeys(("O@", "o@"), ("AO", "R")),
    "e@": ("EH", "R"),
    "i@3": ("IH", "R"),
    "U@": ("UH", "R"),
}
_CONSONANTS = {
    **{name: name.upper() for name in "bdfgklmnprstvwz"},
    **dict.fromkeys(("t#", "t2", "?"), "T"),
    "l#": "L",
    "r-": "R",
    "w#": "W",
    "z#": "Z",
    "h": "HH",
    "j": "Y",
    "D": "DH",
    "N": "NG",
    "S": "SH",
    "T": "TH",
    "Z": "ZH",
    "dZ": "JH",
    "tS": "CH",
}
_ENDING_IN_ER = frozenset(name for name, phones in _VOWELS.items() if phones[-1] == "ER")
# The vowels whose R is the following phoneme where that is one.
_BEFORE_R = {name: phones[:1] for name, phones in _VOWELS.items() if phones[-1] == "R"} | {"i@": ("IH",)}


def to_arpabet(names: Sequence[str]) -> list[tuple[str, ...]]:
    """ARPAbet phones of a sequence of espeak-ng phoneme names.

    Args:
        names: such as ``["h", "@", "l", "'oU", "_:"]``; a leading ``'`` is primary stress, ``,`` secondary.

    Returns:
        For each name its phones: one or two; none where the name only lengthens the phone before (a glide between vowels).

    Raises:
        ValueError: a name that is no phoneme of the English voices.
    """
    followers = [*names[1:], "_"]
    leaders = ["_", *names[:-1]]
    return [_phones(name, before, after) for name, before, after in zip(names, leaders, followers, strict=True)]


def _phones(name: str, before: str, after: str) -> tuple[str, ...]:
    bare = name.lstrip("',%=")
    if bare.startswith("_"):
        return (SILENCE,)
    if bare == ";":
        return ()
    if bare == "r-" and before.lstrip("',%=") in _ENDING_IN_ER:
        return ()
    if bare in _CONSONANTS:
        return (_CONSONANTS[bare],)
    phones = _BEFORE_R[bare] if bare in _BEFORE_R and after in ("r", "r-") else _VOWELS.get(bare)
    if phones is None:
        raise ValueError(f"espeak-ng's phoneme {name!r} has no ARPAbet phone")
    stress = {"'": "1", ",": "2"}.get(name[0], "0")
    return tuple(_stressed(phone, stress if index == 0 else "0") for index, phone in enumerate(phones))


def _stressed(phone: str, stress: str) -> str:
    return phone + stress if phone in VOWELS else phone


def without_stress(phone: str) -> str:
    """The phone without its stress digit."""
    return phone.rstrip("012")


def frame_labels(phones: Sequence[tuple[float, float, str]], seconds: float) -> np.ndarray:
    """One class per 10 ms, the one at the middle of the frame.

    Args:
        phones: (start s, end s, phone), in order; what none covers is silence.
        seconds: duration of the utterance.

    Returns:
        (floor(seconds * 100),) int64, indices into ``FRAME_CLASSES``.
    """
    middles = (np.arange(int(seconds * FRAMES_PER_SECOND + 1e-6)) + 0.5) / FRAMES_PER_SECOND
    labels = np.zeros(len(middles), np.int64)
    for start, end, phone in phones:
        labels[(middles >= start) & (middles < end)] = FRAME_CLASSES.index(without_stress(phone))
    return labels
