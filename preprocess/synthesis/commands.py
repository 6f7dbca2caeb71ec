"""Commands to an assistant with their intent and slots: the intents and slot names of SNIPS, over some two hundred words.

A command belongs to one split by its own hash, so that splits never share one. Names (of artists, films, places ...) are put together
from two lists; one in five combinations is never in a training command. Words and templates are fixed: corpora made with them must stay
comparable.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

OUTSIDE = "O"
_SPLITS = {"train": range(8), "valid": range(8, 9), "test": range(9, 10)}
_UNSEEN = 0.5


def _lines(listing: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in listing.strip().splitlines())


def _words(listing: str) -> tuple[str, ...]:
    return tuple(word.replace("_", " ") for word in listing.split())


TEMPLATES = {
    "AddToPlaylist": _lines("""
        add {artist} to my {playlist} playlist
        put this {music_item} on {playlist_owner} {playlist} list
        add another {music_item} by {artist} to {playlist}
        i want {artist} in the playlist {playlist}"""),
    "BookRestaurant": _lines("""
        book a table for {party_size_number} at a {restaurant_type} in {city}
        reserve a {cuisine} {restaurant_type} for {party_size_number} people {timeRange}
        i need a table {timeRange} in {city}
        find a place with {cuisine} food for {party_size_number}"""),
    "GetWeather": _lines("""
        what's the weather in {city} {timeRange}
        will it be {condition_temperature} in {city}
        is there going to be {condition_description} {timeRange}
        tell me if {condition_description} is coming to {city} {timeRange}"""),
    "PlayMusic": _lines("""
        play {artist} on {service}
        play some {genre} music from {year}
        i'd like to hear {genre} on {service}
        let me hear the best {music_item} by {artist}"""),
    "RateBook": _lines("""
        give {object_name} {rating_value} {rating_unit}
        rate the {object_type} {object_name} {rating_value} out of six
        i think {object_name} gets {rating_value} {rating_unit}"""),
    "SearchCreativeWork": _lines("""
        find the {object_type} {object_name}
        show me a {object_type} called {object_name}
        i'm looking for {object_name}
        where can i get the {object_type} {object_name}"""),
    "SearchScreeningEvent": _lines("""
        when is {movie_name} playing at the {object_location_type}
        which {movie_type} are shown {timeRange}
        find {movie_type} at the nearest {object_location_type}
        is {movie_name} on {timeRange}"""),
}

# Slots whose values are a list. All of them occur in all splits.
CLOSED = {
    "music_item": _words("song album track tune"),
    "playlist_owner": _words("my our her his"),
    "party_size_number": _words("two three four five six seven eight nine ten"),
    "restaurant_type": _words("restaurant bistro tavern cafe diner"),
    "cuisine": _words("french greek indian turkish mexican thai"),
    "timeRange": _words("today tonight tomorrow next_week on_friday on_sunday_morning at_noon at_seven in_one_hour this_summer"),
    "condition_temperature": _words("cold warm freezing hot chilly"),
    "condition_description": _words("rain snow fog a_storm sunshine hail"),
    "service": _words("spotify pandora youtube deezer"),
    "genre": _words("jazz rock pop folk techno soul"),
    "year": _words("the_sixties the_seventies nineteen_ninety two_thousand nineteen_eighty_four"),
    "rating_value": _words("zero one two three four five"),
    "rating_unit": _words("stars points"),
    "object_type": _words("book novel painting game photograph"),
    "object_location_type": _words("cinema theatre movie_house"),
    "movie_type": _words("movies films cartoons"),
}
# Slots whose values are one word of each list.
OPEN = {
    "artist": (_words("jenny oscar lucy martin anna peter"), _words("parker hill cooper stone brown fisher")),
    "playlist": (_words("sunday summer party winter dinner"), _words("moments dreams classics mix hits")),
    "city": (_words("north new green lake river"), _words("haven ridge falls bridge castle")),
    "object_name": (_words("silver secret broken golden silent"), _words("forest mirror island garden letters")),
    "movie_name": (_words("dark last hidden red lonely"), _words("kingdom station horizon soldier moon")),
}
SLOTS = tuple(sorted((*CLOSED, *OPEN)))


@dataclass(frozen=True)
class Command:
    """A command with its meaning.

    Args:
        words: lower case.
        slots: one label per word, ``O`` outside.
        intent: one of ``TEMPLATES``.
    """

    words: tuple[str, ...]
    slots: tuple[str, ...]
    intent: str

    @property
    def text(self) -> str:
        """The words with spaces between."""
        return " ".join(self.words)


def command(rng: np.random.Generator, split: str) -> Command:
    """A random command of a split, all intents being equally likely.

    Args:
        rng: the randomness.
        split: ``"train"``, ``"valid"`` or ``"test"``; no command belongs to two. In the last two, half of the names occur in no training
            command.
    """
    while True:
        drawn = _draw(rng, split)
        if _share(drawn.text) in _SPLITS[split]:
            return drawn


def _draw(rng: np.random.Generator, split: str) -> Command:
    intent = _pick(rng, tuple(TEMPLATES))
    words: list[tuple[str, str]] = []
    for part in re.findall(r"\{\w+\}|[^ {]+", _pick(rng, TEMPLATES[intent])):
        slot = part.strip("{}") if part.startswith("{") else OUTSIDE
        words += [(word, slot) for word in (part if slot == OUTSIDE else value(rng, slot, split)).split()]
    return Command(*zip(*words, strict=True), intent)


def value(rng: np.random.Generator, slot: str, split: str) -> str:
    """A random value of a slot."""
    if slot in CLOSED:
        return _pick(rng, CLOSED[slot])
    unseen = split != "train" and rng.random() < _UNSEEN
    return _drawn_until(lambda: " ".join(_pick(rng, words) for words in OPEN[slot]), lambda name: (_share(name) >= 8) == unseen)


def _drawn_until(draw: Callable[[], str], wanted: Callable[[str], bool]) -> str:
    while not wanted(drawn := draw()):
        pass
    return drawn


def _share(text: str) -> int:
    """0 to 9 by the hash of a text; from 8 on it is kept out of training."""
    return zlib.crc32(text.encode()) % 10


def _pick(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[rng.integers(len(words))]
