"""Passages of facts and questions about them, whose answers are words of the passage.

A fact tells one property (colour, place or owner) of one thing; no two facts of a passage are about the same thing, so that a question is
answered by the fact that shares its thing. A pair of thing and value belongs to one split: facts of the test are never told in training.
Words and templates are fixed: corpora made with them must stay comparable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def _words(listing: str) -> tuple[str, ...]:
    return tuple(listing.split())


_THINGS = _words("boat castle hammer piano basket lemon camel window ladder pencil candle rabbit trumpet carpet mirror tiger")
_VALUES = {
    "colour": _words("red yellow purple green orange silver white"),
    "place": _words("garden kitchen station river cellar harbour"),
    "owner": _words("peter anna oscar lucy martin jenny"),
}
_FACTS = {
    "colour": ("the {thing} is {value}", "the {thing} has been painted {value}"),
    "place": ("the {thing} is in the {value}", "you find the {thing} in the {value}"),
    "owner": ("the {thing} belongs to {value}", "the {thing} was given to {value}"),
}
_QUESTIONS = {
    "colour": ("what colour is the {thing}", "tell me the colour of the {thing}"),
    "place": ("where is the {thing}", "in which place is the {thing}"),
    "owner": ("who has the {thing}", "whose property is the {thing}"),
}
# Templates that only the second test set has.
_OTHER_FACTS = {
    "colour": ("somebody made the {thing} all {value}",),
    "place": ("they left the {thing} near the {value}",),
    "owner": ("the {thing} is a present for {value}",),
}
_OTHER_QUESTIONS = {
    "colour": ("of which colour was the {thing}",),
    "place": ("where can i see the {thing}",),
    "owner": ("who is the owner of the {thing}",),
}
_OPENINGS = ("", "", "we know that ", "as you see ", "it is true that ")
_SPLITS = {"train": range(2, 8), "dev": range(1), "test": range(1, 2)}
_FACTS_PER_PASSAGE = (3, 6)


@dataclass(frozen=True)
class Fact:
    """One sentence of a passage with the question about it.

    Args:
        sentence: lower case; it ends with ``answer``.
        question: lower case.
        answer: one word.
        kind: ``"colour"``, ``"place"`` or ``"owner"``.
    """

    sentence: str
    question: str
    answer: str
    kind: str


def passage(rng: np.random.Generator, split: str, unusual: bool = False) -> list[Fact]:
    """Three to five facts about different things.

    Args:
        rng: the randomness.
        split: ``"train"``, ``"dev"`` or ``"test"``; no pair of thing and value belongs to two.
        unusual: with templates that training never has.
    """
    things = rng.permutation(len(_THINGS))[: rng.integers(*_FACTS_PER_PASSAGE)]
    return [_fact(rng, _THINGS[index], split, unusual) for index in things]


def _fact(rng: np.random.Generator, thing: str, split: str, unusual: bool) -> Fact:
    facts, questions = (_OTHER_FACTS, _OTHER_QUESTIONS) if unusual else (_FACTS, _QUESTIONS)
    choices = [(kind, value) for kind, values in _VALUES.items() for value in values if _is_of(split, thing, value)]
    kind, value = choices[rng.integers(len(choices))]
    sentence = _pick(rng, facts[kind]).format(thing=thing, value=value)
    question = _pick(rng, questions[kind]).format(thing=thing)
    return Fact(_pick(rng, _OPENINGS) + sentence, question, value, kind)


def _is_of(split: str, thing: str, value: str) -> bool:
    """Each thing has two or three values in the development part and as many in the test, each value two things."""
    values = [value for values in _VALUES.values() for value in values]
    return (_THINGS.index(thing) + values.index(value)) % 8 in _SPLITS[split]


def _pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[rng.integers(len(choices))]
