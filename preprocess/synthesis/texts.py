"""Sentences: a small grammar over some three hundred words.

Each sentence belongs to one split by its own hash, so that splits never share one. Words and grammar are fixed: corpora made with them
must stay comparable. Words with two pronunciations (read, live, wind, close) are left out.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np


def _words(listing: str) -> tuple[str, ...]:
    return tuple(listing.split())


_PEOPLE = _words(
    """man woman boy girl farmer teacher doctor captain sailor painter neighbour brother sister mother father uncle aunt cousin
baker butcher hunter soldier king queen prince servant child stranger student singer dancer judge lawyer gardener driver guest"""
)
_THINGS = _words(
    """letter book table chair lamp window door key box basket bottle cup plate knife spoon hammer rope wheel boat horse dog cat
bird fish apple orange cheese bread cake coat hat shoe ring watch clock map picture song story question answer secret gift ticket paper
pencil flower tree stone candle mirror blanket drum flute machine engine bridge fence garden roof wall"""
)
_PLACES = _words(
    """house church market village city river lake forest mountain valley island beach harbour station school kitchen cellar
library theatre hospital farm field road street corner tower castle cave hotel office shop museum park"""
)
_ADJECTIVES = _words(
    """old young small large heavy light quiet loud bright dark red blue green yellow white black brown silver golden wooden
broken empty narrow wide deep cold warm strange lovely gentle clever foolish honest proud tired hungry thirsty angry happy simple curious
famous ordinary precious modern ancient round smooth dusty"""
)
_TAKING = """find found, carry carried, open opened, follow followed, watch watched, paint painted, bring brought, forget forgot,
remember remembered, buy bought, sell sold, hide hid, lose lost, break broke, mend mended, draw drew, hold held, keep kept, visit visited,
admire admired, describe described, notice noticed, borrow borrowed, return returned, choose chose, need needed, push pushed, steal stole,
throw threw, catch caught, measure measured, touch touched, enjoy enjoyed, discover discovered"""
_GOING = """walk walked, run ran, sleep slept, wait waited, sing sang, laugh laughed, work worked, stand stood, sit sat, fall fell,
travel travelled, arrive arrived, dance danced, play played, speak spoke, smile smiled, hurry hurried, rest rested, shout shouted,
listen listened, swim swam, jump jumped, stay stayed, vanish vanished"""
_MANNERS = _words("slowly quickly quietly suddenly carefully gladly often never always again together alone twice bravely badly gently")
_TIMES = _words(
    """yesterday today tomorrow tonight later this_morning last_night every_evening on_monday on_friday in_spring in_winter
after_dinner before_breakfast at_noon at_midnight two_days_ago three_weeks_ago for_an_hour all_summer"""
)
_OWNERS = _words("the the the a a my our your his her their this that every another")
_PREPOSITIONS = _words("in near behind beside above below under across through around")
_PRONOUNS = _words("he she they we you nobody everybody somebody")
_JOINTS = _words("and but because while so until before after although when")
_HELPERS = _words("will could should must did_not would might can_not")

_SHARE_OF_TEN = {"train": range(8), "dev": range(8, 9), "test": range(9, 10)}


def _verbs(listing: str) -> list[tuple[str, str]]:
    """(base, past) pairs."""
    return [tuple(pair.split()) for pair in listing.split(",")]


def vocabulary() -> list[str]:
    """All words that sentences can hold, lower case, sorted."""
    lists = (_PEOPLE, _THINGS, _PLACES, _ADJECTIVES, _MANNERS, _TIMES, _OWNERS, _PREPOSITIONS, _PRONOUNS, _JOINTS, _HELPERS)
    phrases = [*(word for words in lists for word in words), *_TAKING.replace(",", " ").split(), *_GOING.replace(",", " ").split(), "an"]
    return sorted({word for phrase in phrases for word in phrase.split("_")})


def sentence(rng: np.random.Generator, split: str) -> str:
    """A random sentence of a split: lower case, with commas where a speaker pauses.

    Args:
        rng: the randomness.
        split: ``"train"``, ``"dev"`` or ``"test"``; no sentence belongs to two.
    """
    while True:
        text = _joined(rng)
        if zlib.crc32(words_of(text).encode()) % 10 in _SHARE_OF_TEN[split]:
            return text


def words_of(text: str) -> str:
    """The text without its commas."""
    return text.replace(",", "")


def _joined(rng: np.random.Generator) -> str:
    text = _clause(rng)
    if rng.random() < 0.4:
        text += f", {_pick(rng, _JOINTS)} {_clause(rng)}"
    if rng.random() < 0.2:
        text = f"{_pick(rng, _TIMES)}, {text}"
    return text.replace("_", " ")


def _clause(rng: np.random.Generator) -> str:
    subject = _pick(rng, _PRONOUNS) if rng.random() < 0.3 else _noun_phrase(rng, _PEOPLE)
    parts = [subject, _doing(rng)]
    if rng.random() < 0.5:
        parts.append(f"{_pick(rng, _PREPOSITIONS)} {_noun_phrase(rng, _PLACES)}")
    if rng.random() < 0.3:
        parts.append(_pick(rng, _MANNERS if rng.random() < 0.5 else _TIMES))
    return " ".join(parts)


def _doing(rng: np.random.Generator) -> str:
    takes = rng.random() < 0.65
    verbs = _verbs(_TAKING if takes else _GOING)
    base, past = verbs[rng.integers(len(verbs))]
    verb = f"{_pick(rng, _HELPERS)} {base}" if rng.random() < 0.35 else past
    return f"{verb} {_noun_phrase(rng, _THINGS)}" if takes else verb


def _noun_phrase(rng: np.random.Generator, nouns: Sequence[str]) -> str:
    words = [_pick(rng, _OWNERS)]
    words += [_pick(rng, _ADJECTIVES)] if rng.random() < 0.5 else []
    words.append(_pick(rng, nouns))
    if words[0] == "a" and words[1][0] in "aeiou":
        words[0] = "an"
    return " ".join(words)


def _pick(rng: np.random.Generator, words: Sequence[str]) -> str:
    return words[rng.integers(len(words))]
