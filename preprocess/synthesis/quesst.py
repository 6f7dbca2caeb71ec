"""QUESST 2014: recordings to search, spoken queries, and the ground truth of its scorer.

    quesst14Database/Audio/quesst14_NNNNN.wav
    quesst14Database/{dev,eval}_queries/quesst14_{dev,eval}_NNNN.wav
    quesst14Database/scoring/language_key_{utterances,dev,eval}.lst      "quesst14Database/<path> <language>"
    quesst14Database/scoring/groundtruth_quesst14_{dev,eval}/quesst14_{dev,eval}.{ecf.xml,rttm,tlist.xml}

English is the language ``nnenglish``; two more, whose words the same English voices read, are in the lists and in the ground truth, as in
the original. A recording is a sentence, into which a query may have been worked; the ground truth says wherever the words of a query
follow one another, worked in or not. Queries are spoken by voices that no recording has.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from preprocess.synthesis import texts
from preprocess.synthesis.build import Corpus, Item
from preprocess.synthesis.draws import generator
from preprocess.synthesis.engine import SAMPLE_RATE, synthesize
from preprocess.synthesis.librispeech import with_margins
from preprocess.synthesis.noise import noisy
from preprocess.synthesis.voices import Speaker, speaker, vary
from utility.audio.io import save_audio

ROOT = "quesst14Database"
PARTS = ("dev", "eval")
MOST_SENTENCES = 10  # per speaker
MOST_QUERIES = 60  # per part
_POOLS = {"dev": "dev", "eval": "test"}  # voices of the queries; those of the recordings are the training pool's
_MARGIN_S = {"recording": (0.1, 0.5), "query": (0.05, 0.2)}
_PLANTED = 0.7

_ADJECTIVES = (
    *("copper", "ruined", "crowded", "velvet", "frozen", "crooked", "hollow", "marble", "scarlet", "haunted", "sunken", "painted"),
    *("leather", "northern", "polished", "borrowed"),
)
_NOUNS = (
    *("telescope", "cathedral", "violin", "umbrella", "harvest", "laboratory", "compass", "volcano", "monastery", "saddle", "orchestra"),
    *("pharmacy", "lantern", "glacier", "microscope", "carpenter", "passenger", "waterfall", "newspaper", "locomotive", "sailor"),
    *("museum", "bicycle", "chimney", "orchard", "calendar", "pyramid", "trumpet", "dinosaur", "envelope"),
)
_RELATIONS = ("behind the", "above the", "without a", "beside my")
_CARRIERS = (
    *("they talked about the", "somebody mentioned the", "nobody noticed the", "we were looking for the", "she had forgotten the"),
    *("everybody wanted to see the", "he never liked the", "you should ask about the"),
)
_FOREIGN = {
    "czech": (
        *("dobry", "vecer", "prosim", "dekuji", "mesto", "ulice", "voda", "kniha", "skola", "cesta", "pekny", "velky", "maly", "novy"),
        *("stary", "zitra", "rano", "hudba", "divadlo", "nadrazi"),
    ),
    "romanian": (
        *("buna", "seara", "multumesc", "oras", "strada", "apa", "carte", "scoala", "drum", "frumos", "mare", "mic", "nou", "vechi"),
        *("maine", "dimineata", "muzica", "teatru", "gara", "prieten"),
    ),
}
LANGUAGES = ("nnenglish", *_FOREIGN)


@dataclass(frozen=True)
class Counts:
    """How much there is of a language.

    Args:
        speakers: of recordings.
        queries: of each part.
    """

    speakers: int
    queries: int


def sentences_per_speaker(size: int) -> int:
    """10, or 5 in corpora of up to 4 English speakers."""
    return 5 if size <= 4 else MOST_SENTENCES


def counts(language: str, size: int) -> Counts:
    """For ``size`` English speakers; a quarter as much of each other language."""
    queries = min(MOST_QUERIES, max(8, size))
    if language == "nnenglish":
        return Counts(size, queries)
    return Counts(max(1, size // 4), max(2, queries // 4))


def number_of(language: str, index: int) -> int:
    """A number that no other speaker (or query) of any language has; languages interleave."""
    return len(LANGUAGES) * index + LANGUAGES.index(language)


def phrases(seed: int, language: str, part: str) -> list[str]:
    """The texts of all queries that a part can have, in order; no text comes twice, in neither part."""
    texts_of = {}
    taken: set[str] = set()
    for each in PARTS:
        rng = generator(seed, "queries", language, each)
        chosen: list[str] = []
        while len(chosen) < (MOST_QUERIES if language == "nnenglish" else MOST_QUERIES // 4):
            phrase = _english_phrase(rng) if language == "nnenglish" else _foreign_words(rng, language, 2)
            if phrase not in taken:
                taken.add(phrase)
                chosen.append(phrase)
        texts_of[each] = chosen
    return texts_of[part]


def _pick(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    return words[rng.integers(len(words))]


def _english_phrase(rng: np.random.Generator) -> str:
    """A noun, an adjective with a noun, or two nouns in relation: one to four words."""
    kind = rng.random()
    if kind < 0.25:
        return _pick(rng, _NOUNS)
    if kind < 0.8:
        return f"{_pick(rng, _ADJECTIVES)} {_pick(rng, _NOUNS)}"
    return f"{_pick(rng, _NOUNS)} {_pick(rng, _RELATIONS)} {_pick(rng, _NOUNS)}"


def _foreign_words(rng: np.random.Generator, language: str, count: int) -> str:
    return " ".join(rng.choice(_FOREIGN[language], count, replace=False))


def sentence(rng: np.random.Generator, seed: int, language: str) -> str:
    """What a recording says; with a query worked in in seven of ten, the first queries of each part most often (Zipf's law)."""
    phrase = ""
    if rng.random() < _PLANTED:
        known = phrases(seed, language, PARTS[rng.integers(2)])
        weights = 1 / np.arange(1, len(known) + 1)
        phrase = known[rng.choice(len(known), p=weights / weights.sum())]
    if language != "nnenglish":
        before, after = (_foreign_words(rng, language, int(rng.integers(2, 5))) for _ in range(2))
        return " ".join(filter(None, (before, phrase, after)))
    rest = texts.sentence(rng, "train")
    if not phrase:
        return rest
    clause = f"{_pick(rng, _CARRIERS)} {phrase}"
    return f"{clause}, and {rest}" if rng.random() < 0.5 else f"{rest}, and {clause}"


def occurs(phrase: str, text: str) -> bool:
    """Whether the words of a phrase follow one another in a text."""
    return f" {phrase} " in f" {texts.words_of(text)} "


def recording(text: str, who: Speaker, rng: np.random.Generator, seed: int, kind: str) -> np.ndarray:
    """(n,) float32 at 16 kHz: the text between pauses, in noise; ``kind`` is ``"recording"`` or ``"query"``."""
    spoken = synthesize(text, vary(who.voice, rng), int(rng.integers(2**31)))
    wav, phones = with_margins(spoken, *rng.uniform(*_MARGIN_S[kind], 2))
    start, end = (int(second * SAMPLE_RATE) for second in (phones[0].end, phones[-1].start))
    return noisy(wav, slice(start, end), rng, seed)


def plan(size: int) -> list[Item]:
    """One item per speaker of recordings (kind ``speaker-<language>``) and one per query (kind ``query-<language>``)."""
    files, items = sentences_per_speaker(size), []
    for language in LANGUAGES:
        wanted = counts(language, size)
        items += [Item(f"speaker-{language}", "", index, files) for index in range(wanted.speakers)]
        items += [Item(f"query-{language}", part, index, 1) for part in PARTS for index in range(wanted.queries)]
    return items


def render(item: Item, size: int, seed: int, out: Path) -> dict[str, Any]:
    """Writes the recordings of one speaker, or one query."""
    kind, language = item.kind.split("-")
    offset = LANGUAGES.index(language) * 1000  # no voice speaks two languages
    if kind == "query":
        who = speaker(seed, _POOLS[item.split], item.index + offset)
        text, name = phrases(seed, language, item.split)[item.index], f"quesst14_{item.split}_{number_of(language, item.index):04d}"
        wav = recording(text, who, generator(seed, "query", language, item.split, item.index), seed, "query")
        save_audio(out / ROOT / f"{item.split}_queries" / f"{name}.wav", wav, SAMPLE_RATE)
        return {"language": language, "queries": {name: text}}
    who, spoken = speaker(seed, "train", item.index + offset), {}
    for take in range(sentences_per_speaker(size)):
        rng = generator(seed, "recording", language, item.index, take)
        text, name = sentence(rng, seed, language), f"quesst14_{number_of(language, item.index) * MOST_SENTENCES + take:05d}"
        wav = recording(text, who, rng, seed, "recording")
        save_audio(out / ROOT / "Audio" / f"{name}.wav", wav, SAMPLE_RATE)
        spoken[name] = {"text": text, "samples": len(wav)}
    return {"language": language, "recordings": spoken}


def finish(records: dict[str, dict[str, Any]], size: int, seed: int, out: Path) -> None:
    """Language keys and ground truth."""
    scoring = out / ROOT / "scoring"
    scoring.mkdir(parents=True, exist_ok=True)
    languages, spoken = {}, {}
    for record in records.values():
        for name, said in record.get("recordings", {}).items():
            languages[name], spoken[name] = record["language"], said
    _write_key(scoring / "language_key_utterances.lst", "Audio", languages)
    for part in PARTS:
        asked, language_of = {}, {}
        for record in records.values():
            mine = {name: text for name, text in record.get("queries", {}).items() if f"_{part}_" in name}
            asked |= mine
            language_of |= dict.fromkeys(mine, record["language"])
        _write_key(scoring / f"language_key_{part}.lst", f"{part}_queries", language_of)
        _write_ground_truth(scoring / f"groundtruth_quesst14_{part}", f"quesst14_{part}", asked, spoken)


def _write_key(path: Path, folder: str, languages: dict[str, str]) -> None:
    path.write_text("".join(f"{ROOT}/{folder}/{name}.wav {language}\n" for name, language in sorted(languages.items())))


def _write_ground_truth(folder: Path, stem: str, asked: dict[str, str], spoken: dict[str, dict[str, Any]]) -> None:
    """Which recordings there are (ecf), which queries (tlist), and which recording has which query (rttm)."""
    folder.mkdir(exist_ok=True)
    seconds = {name: said["samples"] / SAMPLE_RATE for name, said in sorted(spoken.items())}
    lines = [f'<ecf source_signal_duration="{sum(seconds.values()):.3f}" language="multiple" version="synthetic">']
    lines += [
        f'<excerpt audio_filename="{name}.wav" channel="1" tbeg="0.000" dur="{duration:.3f}" source_type="bnews" language="multiple"/>'
        for name, duration in seconds.items()
    ]
    (folder / f"{stem}.ecf.xml").write_text("\n".join([*lines, "</ecf>", ""]))
    lines = [f'<termlist ecf_filename="{stem}.ecf.xml" language="multiple" encoding="UTF-8" version="synthetic">']
    lines += [f"<term termid={quoteattr(name)}><termtext>{text}</termtext></term>" for name, text in sorted(asked.items())]
    (folder / f"{stem}.tlist.xml").write_text("\n".join([*lines, "</termlist>", ""]))
    lines = [
        f"LEXEME {name} 1 0.000 {seconds[name]:.3f} {query} lex <NA> <NA>"
        for name, said in sorted(spoken.items())
        for query, text in sorted(asked.items())
        if occurs(text, said["text"])
    ]
    (folder / f"{stem}.rttm").write_text("".join(f"{line}\n" for line in lines))


CORPUS = Corpus("quesst", (ROOT,), {"tiny": 2, "small": 40, "medium": 150}, plan, render, finish)
