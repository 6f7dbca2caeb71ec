"""Who speaks: espeak-ng's voice variants as speakers, in pools that no two splits share.

A speaker is a variant with an own pitch, rate, intonation range and length of the vocal tract. Left out of the pools are robots, and twins
that sound like another variant. The pools, and what varies, are fixed: corpora made with them must stay comparable.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from preprocess.synthesis.draws import generator
from preprocess.synthesis.engine import Voice

_TRAIN = (
    *("m1", "f2", "Andy", "Annie", "klatt3", "m7", "belinda", "Lee", "Gene", "grandma", "Nguyen", "boris", "Alicia"),
    *("david", "pablo", "Reed", "f4", "adam", "croak", "shelby", "Diogo", "edward2", "iven2", "ian", "aunty", "Jacky"),
    *("m4", "marcelo", "announcer", "Andrea", "paul", "steph", "travis", "klatt5", "gustave", "Henrique", "mike2"),
    *("john", "Marco", "quincy", "RicishayMax2", "victor", "m5", "zac", "sandro", "Mario", "kaukovalta", "caleb"),
    *("max", "Alex", "whisperf", "Denis"),
)
_DEV = (
    *("f1", "m3", "linda", "klatt4", "Gene2", "grandpa", "Mike", "anika", "AnxiousAndy", "robert", "benjamin", "iven"),
    *("michel", "pedro", "m8", "norbert"),
)
_TEST = (
    *("f3", "m2", "steph3", "Michael", "klatt6", "f5", "ed", "rob", "antonio", "m6", "edward", "Mr serious", "miguel"),
    *("RicishayMax", "klatt2", "Hugo", "Tweaky", "whisper"),
)
POOLS = {"train": _TRAIN, "dev": _DEV, "test": _TEST}
# Heard only in background babble.
BABBLE = ("iven3", "steph2", "klatt", "robosoft6", "iven4", "fast")
_FEMALE = frozenset(
    (
        *("Alicia", "Andrea", "Annie", "anika", "aunty", "belinda", "f1", "f2", "f3", "f4", "f5", "grandma", "linda", "shelby", "steph"),
        *("steph3", "whisperf", "zac"),
    )
)
_ACCENTS = ("en-us", "en-us", "en-us", "en-us-nyc", "en-gb-x-rp", "en-gb-scotland")


@dataclass(frozen=True)
class Speaker:
    """One speaker of a corpus.

    Args:
        split: the pool, ``"train"``, ``"dev"`` or ``"test"``.
        index: position in the pool, from 0; without end.
        voice: the speaker's usual way of speaking.
    """

    split: str
    index: int
    voice: Voice

    @property
    def sex(self) -> str:
        """``"F"`` or ``"M"``."""
        return "F" if self.voice.variant in _FEMALE else "M"


def speaker(seed: int, split: str, index: int, accents: tuple[str, ...] = _ACCENTS) -> Speaker:
    """The speaker with this index in a pool. Beyond the size of the pool the variants come again with other settings.

    Args:
        seed: the corpus' seed.
        split: ``"train"``, ``"dev"`` or ``"test"``.
        index: 0 and up.
        accents: English languages of espeak-ng, equally likely.
    """
    pool, rng = POOLS[split], generator(seed, "speaker", split, index)
    voice = Voice(
        variant=pool[index % len(pool)],
        accent=accents[rng.integers(len(accents))],
        pitch=float(np.exp2(rng.uniform(-0.25, 0.25))),
        pitch_range=float(rng.uniform(0.7, 1.4)),
        rate=float(rng.uniform(145, 200)),
        tract=float(rng.uniform(0.92, 1.08)),
    )
    return Speaker(split, index, voice)


def vary(voice: Voice, rng: np.random.Generator) -> Voice:
    """The same speaker in another utterance: pitch and rate within 15 %, intonation range within 30 %."""
    return replace(
        voice,
        pitch=voice.pitch * rng.uniform(0.85, 1.15),
        pitch_range=voice.pitch_range * rng.uniform(0.7, 1.3),
        rate=voice.rate * rng.uniform(0.85, 1.15),
    )
