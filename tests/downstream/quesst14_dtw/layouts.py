"""Real recordings in the layout of QUESST 2014."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

PART = "eval"


@dataclass(frozen=True)
class Spoken:
    """A waveform with the words in it.

    Args:
        wav: (n,) at 16 kHz.
        words: what it says; a query is one word.
    """

    wav: np.ndarray
    words: frozenset[str]


def lay_out(root: Path, documents: Mapping[str, Spoken], queries: Mapping[str, Spoken]) -> Path:
    """Writes a corpus whose queries are those of the test split.

    Args:
        root: where; becomes quesst14Database.
        documents, queries: by name.
    """
    truth = root / "scoring" / f"groundtruth_quesst14_{PART}"
    truth.mkdir(parents=True)
    for kind, folder, spoken in (("utterances", "Audio", documents), (PART, f"{PART}_queries", queries)):
        (root / folder).mkdir()
        for name, item in spoken.items():
            soundfile.write(root / folder / f"{name}.wav", item.wav, 16000)
        (root / f"scoring/language_key_{kind}.lst").write_text("".join(f"quesst/{folder}/{name}.wav nnenglish\n" for name in spoken))
    excerpts = "".join(f'<excerpt audio_filename="{name}.wav"/>' for name in documents)
    (truth / "x.ecf.xml").write_text(f"<ecf>{excerpts}</ecf>")
    terms = "".join(f'<term termid="{name}"/>' for name in queries)
    (truth / "x.tlist.xml").write_text(f"<termlist>{terms}</termlist>")
    targets = [(q, d) for q, asked in queries.items() for d, said in documents.items() if asked.words <= said.words]
    (truth / "x.rttm").write_text("".join(f"LEXEME {d} 1 0.0 1.0 {q} lex <NA> <NA>\n" for q, d in targets))
    return root


def timit(folder: Path, root: Path, speakers_asking: int, least_seconds: float = 0.2) -> Path:
    """The words of some speakers' two common sentences, looked for in the common sentences of all other speakers."""
    documents, queries = {}, {}
    speakers = sorted(path.name for path in folder.glob("dr*-*"))
    for number, speaker in enumerate(speakers):
        for sentence in ("sa1", "sa2"):
            wav, _ = soundfile.read(folder / speaker / f"{sentence}.wav")
            timed = [line.split() for line in (folder / speaker / f"{sentence}.wrd").read_text().splitlines()]
            if number >= speakers_asking:
                documents[f"{speaker}-{sentence}"] = Spoken(wav, frozenset(word for *_, word in timed))
                continue
            for start, end, word in timed:
                if int(end) - int(start) >= least_seconds * 16000:
                    queries[f"{speaker}-{sentence}-{word.replace(chr(39), '')}"] = Spoken(wav[int(start) : int(end)], frozenset([word]))
    return lay_out(root, documents, queries)


def wake_words(folder: Path, root: Path, asked: int, searched: int) -> Path:
    """Recordings of three words by unknown speakers: the first few of each as queries, the next as documents."""
    documents, queries = {}, {}
    for word in ("alexa", "computer", "jarvis"):
        files = sorted((folder / word).iterdir())[: asked + searched]
        for number, path in enumerate(files):
            wav, _ = soundfile.read(path)
            (queries if number < asked else documents)[f"{word}-{path.stem}"] = Spoken(wav, frozenset([word]))
    return lay_out(root, documents, queries)
