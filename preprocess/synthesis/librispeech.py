"""LibriSpeech with phone alignments.

    LibriSpeech/<split>/<speaker>/<chapter>/<speaker>-<chapter>-<utterance>.flac, .trans.txt; SPEAKERS.TXT, CHAPTERS.TXT, README.TXT
    alignments/<split>.ctm      "utterance 1 start duration phone", seconds, ARPAbet with stress, gapless
    phone_labels/               converted_aligned_phones.txt, train_split.txt, test_split.txt for the phone classification probes
                                (one class per 10 ms; phones.txt names the classes), from train-clean-100
    lexicon.txt                 WORD<TAB>PHONES of the whole vocabulary

Splits share neither speakers nor sentences.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from preprocess.synthesis import texts
from preprocess.synthesis.build import Corpus, Item
from preprocess.synthesis.draws import generator
from preprocess.synthesis.engine import SAMPLE_RATE, Segment, Utterance, Voice, synthesize
from preprocess.synthesis.noise import noisy
from preprocess.synthesis.phones import FRAME_CLASSES, SILENCE, frame_labels
from preprocess.synthesis.voices import Speaker, speaker, vary
from utility.audio.io import save_audio

ROOT, ALIGNMENTS, LABELS, LEXICON = "LibriSpeech", "alignments", "phone_labels", "lexicon.txt"
# Split of the corpus -> pool of voices and sentences.
SPLITS = {"train-clean-100": "train", "dev-clean": "dev", "test-clean": "test"}
_ACCENTS = ("en-us",)
_CHAPTERS_PER_SPEAKER = 2
_LEXICON_VOICE, _LEXICON_PART = Voice("max", rate=400), 20
_MARGIN_S = (0.1, 0.5)


def utterances_per_chapter(size: int) -> int:
    """10, or 3 in corpora of up to 4 training speakers."""
    return 3 if size <= 4 else 10


def speaker_id(split: str, index: int) -> int:
    """The reader's number; splits interleave, as in the original."""
    return 100 + 3 * index + list(SPLITS).index(split)


def plan(size: int) -> list[Item]:
    """One item per chapter (two for each of ``size`` training speakers and of a quarter as many in dev-clean and test-clean each)
    and one for each 20 words of the lexicon."""
    counts = {"train-clean-100": size, "dev-clean": math.ceil(size / 4), "test-clean": math.ceil(size / 4)}
    files = utterances_per_chapter(size)
    chapters = [Item("chapter", split, index, files) for split, count in counts.items() for index in range(_CHAPTERS_PER_SPEAKER * count)]
    return chapters + [Item("lexicon", "", index, 0) for index in range(math.ceil(len(texts.vocabulary()) / _LEXICON_PART))]


def render(item: Item, size: int, seed: int, out: Path) -> dict[str, Any]:
    """Writes a chapter, or pronounces a part of the vocabulary."""
    if item.kind == "lexicon":
        return {"lexicon": pronounce(texts.vocabulary()[item.index * _LEXICON_PART : (item.index + 1) * _LEXICON_PART])}
    who = speaker(seed, SPLITS[item.split], item.index // _CHAPTERS_PER_SPEAKER, _ACCENTS)
    reader = speaker_id(item.split, who.index)
    chapter = 1000 * reader + item.index % _CHAPTERS_PER_SPEAKER
    folder = out / ROOT / item.split / str(reader) / str(chapter)
    utterances = []
    for number in range(utterances_per_chapter(size)):
        name = f"{reader}-{chapter}-{number:04d}"
        text, wav, phones = recording(who, seed, chapter, number)
        save_audio(folder / f"{name}.flac", wav, SAMPLE_RATE)
        rounded = [[round(start, 4), round(end, 4), phone] for start, end, phone in phones]
        utterances.append({"name": name, "text": text, "samples": len(wav), "phones": rounded})
    (folder / f"{reader}-{chapter}.trans.txt").write_text("".join(f"{u['name']} {u['text']}\n" for u in utterances))
    reader_facts = {"speaker": reader, "sex": who.sex, "voice": who.voice.variant}
    return {"split": item.split, "chapter": chapter, "utterances": utterances, **reader_facts}


def recording(who: Speaker, seed: int, chapter: int, number: int) -> tuple[str, np.ndarray, list[Segment]]:
    """One sentence in noise with up to half a second of pause before and after.

    Returns:
        Upper-case text, (n,) float32 at 16 kHz, and the phones from 0 to the end.
    """
    rng = generator(seed, "utterance", chapter, number)
    text = texts.sentence(rng, who.split)
    spoken = synthesize(text, vary(who.voice, rng), int(rng.integers(2**31)))
    wav, phones = with_margins(spoken, *rng.uniform(*_MARGIN_S, 2))
    start, end = (int(second * SAMPLE_RATE) for second in (phones[0].end, phones[-1].start))
    return texts.words_of(text).upper(), noisy(wav, slice(start, end), rng, seed), phones


def with_margins(spoken: Utterance, before: float, after: float) -> tuple[np.ndarray, list[Segment]]:
    """Speech between pauses of given lengths (seconds), with the phones moved along."""
    start, end = spoken.speech
    first, last = (round(second * SAMPLE_RATE) for second in (start, end))
    lead, tail = (np.zeros(round(seconds * SAMPLE_RATE), np.float32) for seconds in (before, after))
    wav = np.concatenate([lead, spoken.wav[first:last], tail])
    shift = (len(lead) - first) / SAMPLE_RATE
    inner = [Segment(phone.start + shift, phone.end + shift, phone.label) for phone in spoken.phones if start <= phone.start < end]
    return wav, [Segment(0.0, inner[0].start, SILENCE), *inner, Segment(inner[-1].end, len(wav) / SAMPLE_RATE, SILENCE)]


def pronounce(words: list[str]) -> dict[str, str]:
    """Words as they are spoken within a sentence, phones separated by spaces."""
    spoken = synthesize(", ".join(f"they saw {word} soon" for word in words), _LEXICON_VOICE)
    timed = iter(spoken.words)
    found = {}
    for word in words:
        place = next(segment for segment in timed if segment.label == word)
        found[word] = " ".join(phone.label for phone in spoken.phones if place.start <= phone.start < place.end)
    return found


def finish(records: dict[str, dict[str, Any]], size: int, seed: int, out: Path) -> None:
    """Tables of speakers and chapters, alignments, frame labels and lexicon."""
    chapters = [record for record in records.values() if "chapter" in record]
    _write_tables(chapters, out / ROOT)
    _write_alignments(chapters, out / ALIGNMENTS)
    _write_frame_labels([chapter for chapter in chapters if chapter["split"] == "train-clean-100"], out / LABELS)
    lexicon = {word: phones for record in records.values() for word, phones in record.get("lexicon", {}).items()}
    (out / LEXICON).write_text("".join(f"{word.upper()}\t{phones}\n" for word, phones in sorted(lexicon.items())))


def _minutes(chapters: list[dict[str, Any]]) -> str:
    return f"{sum(u['samples'] for chapter in chapters for u in chapter['utterances']) / SAMPLE_RATE / 60:.2f}"


def _write_tables(chapters: list[dict[str, Any]], folder: Path) -> None:
    """SPEAKERS.TXT, CHAPTERS.TXT and README.TXT, columns as in the original."""
    readers: dict[int, list[dict[str, Any]]] = {}
    for chapter in chapters:
        readers.setdefault(chapter["speaker"], []).append(chapter)
    lines = [";ID  |SEX| SUBSET           |MINUTES| NAME"]
    for reader, own in sorted(readers.items()):
        lines.append(f"{reader:<4} | {own[0]['sex']} | {own[0]['split']:<16} | {_minutes(own):<5} | espeak-ng {own[0]['voice']}")
    (folder / "SPEAKERS.TXT").write_text("\n".join(lines) + "\n")
    lines = [";ID    |READER|MINUTES| SUBSET           | PROJ.|BOOK ID| CH. TITLE | PROJECT TITLE"]
    for chapter in sorted(chapters, key=lambda chapter: chapter["chapter"]):
        number, minutes = chapter["chapter"], _minutes([chapter])
        columns = (f"{number:<6}", f"{chapter['speaker']:<4}", f"{minutes:<5}", f"{chapter['split']:<16}", "0   ", "0    ")
        lines.append(" | ".join([*columns, f"Chapter {number}", "Synthetic sentences"]))
    (folder / "CHAPTERS.TXT").write_text("\n".join(lines) + "\n")
    (folder / "README.TXT").write_text("Synthetic speech by espeak-ng in the layout of LibriSpeech, without any of its recordings.\n")


def _write_alignments(chapters: list[dict[str, Any]], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for split in SPLITS:
        lines = [
            f"{utterance['name']} 1 {start:.4f} {end - start:.4f} {phone}\n"
            for chapter in chapters
            if chapter["split"] == split
            for utterance in chapter["utterances"]
            for start, end, phone in utterance["phones"]
        ]
        (folder / f"{split}.ctm").write_text("".join(lines))


def _write_frame_labels(chapters: list[dict[str, Any]], folder: Path) -> None:
    """Labels and lists of the phone classification probes: each fifth utterance is for testing, by the same speakers."""
    folder.mkdir(exist_ok=True)
    utterances = [utterance for chapter in chapters for utterance in chapter["utterances"]]
    lines = []
    for utterance in utterances:
        labels = frame_labels(utterance["phones"], utterance["samples"] / SAMPLE_RATE)
        lines.append(" ".join([utterance["name"], *map(str, labels)]))
    (folder / "converted_aligned_phones.txt").write_text("\n".join(lines) + "\n")
    names = [utterance["name"] for utterance in utterances]
    (folder / "train_split.txt").write_text("\n".join(name for index, name in enumerate(names) if index % 5 != 4))
    (folder / "test_split.txt").write_text("\n".join(names[4::5]))
    (folder / "phones.txt").write_text("".join(f"{phone} {index}\n" for index, phone in enumerate(FRAME_CLASSES)))


CORPUS = Corpus("librispeech", (ROOT, ALIGNMENTS, LABELS, LEXICON), {"tiny": 2, "small": 40, "medium": 200}, plan, render, finish)
