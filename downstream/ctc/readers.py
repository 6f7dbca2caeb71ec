"""Which recordings a part of a corpus has, and what is said in them, before anything becomes an id.

    libriphone, librispeech     LibriSpeech's layout (downstream/blocks/librispeech.py); a part is a folder such as train-clean-100
    snips                       Audio SNIPS: <path>/<part>/<Speaker>-snips-....wav, <path>/all.iob.snips.txt or all-trans.txt
    sbcsae, common_voice, tsv   a part is a table with a header and the columns path and text, separated by tabs

Each reader takes the ``corpus`` section of the config, the name of the split and the name of one of its parts, and gives utterances in the
order of their paths; texts may be missing and are then counted, no recording is opened.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from downstream.blocks.librispeech import Utterance, existing_split, scan_split
from utility.audio.io import AUDIO_EXTENSIONS
from utility.errors import ConfigError, DataError
from utility.text.files import lines_of, rows_of

log = logging.getLogger(__name__)
FIELD = "config.downstream_expert.corpus"
SLOT_TEXTS, PLAIN_TEXTS = "all.iob.snips.txt", "all-trans.txt"

Reader = Callable[[Mapping[str, Any], str, bool], list[Utterance]]


def root_of(corpus: Mapping[str, Any]) -> Path:
    """The folder ``corpus.path``.

    Raises:
        ConfigError: it is not given.
        DataError: it does not exist.
    """
    if not corpus.get("path"):
        raise ConfigError("field 'path' is missing", source=FIELD)
    root = Path(corpus["path"])
    if not root.is_dir():
        raise DataError(f"{FIELD}.path: folder {root} does not exist; downstream/ctc/README.md says where to get the corpus")
    return root


def read_librispeech(corpus: Mapping[str, Any], part: str, slots: bool) -> list[Utterance]:
    """Upper-case words of LibriSpeech."""
    return scan_split(root_of(corpus), part, f"{FIELD}.path")


def read_snips(corpus: Mapping[str, Any], part: str, slots: bool) -> list[Utterance]:
    """Commands by the speakers in ``<part>_speakers``, of all speakers without that field.

    Args:
        corpus: the section of the config.
        part: ``train``, ``valid`` or ``test``.
        slots: with labels (``WORDS<TAB>LABELS``), or the words alone.

    Raises:
        DataError: files are missing, or nothing is left.
    """
    root = root_of(corpus)
    folder = existing_split(root, part, f"{FIELD}.path")
    speakers = corpus.get(f"{part}_speakers")
    with os.scandir(folder) as entries:
        files = {Path(entry.name).stem: entry.path for entry in entries if Path(entry.name).suffix.lower() in AUDIO_EXTENSIONS}
    wanted = {name: path for name, path in sorted(files.items()) if not speakers or name.split("-")[0] in speakers}
    if not wanted:
        known = ", ".join(sorted({name.split("-")[0] for name in files})) or "none"
        raise DataError(f"{FIELD}.{part}_speakers: {folder} has no recording of {', '.join(speakers or ['any speaker'])}; it has: {known}")
    source = root / (SLOT_TEXTS if slots else PLAIN_TEXTS)
    texts = {name: text for name, text in _lines(source) if name in wanted}
    if slots:
        check_commands(texts, source)
    return with_texts([Utterance(name, path, texts.get(name, "")) for name, path in wanted.items()], folder)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """(name, text) of ``<name> <text>`` lines."""
    for line in lines_of(path, "file", f"{FIELD}.path", "preprocess/snips_prepare_data.sh writes it"):
        name, _, text = line.partition(" ")
        yield name, text


def check_commands(texts: Mapping[str, str], source: Path) -> None:
    """Refuses lines whose words would be given the labels of others; labels beyond the words are counted in one warning.

    Args:
        texts: ``BOS WORDS EOS<TAB>O LABELS INTENT`` by utterance.
        source: the file that they come from.

    Raises:
        DataError: the tab, BOS or EOS are missing, or there are fewer labels than words.
    """
    longer = []
    for name, text in texts.items():
        if not text.strip():
            continue
        sentence, tab, labels = text.partition("\t")
        words, tags = sentence.strip(" ").split(" "), labels.strip(" ").split(" ")  # an empty word has its label, too
        fault = ""
        if not tab:
            fault = "has no tab between words and labels"
        elif words[:1] != ["BOS"] or words[-1:] != ["EOS"]:
            fault = "does not begin with BOS and end with EOS"
        elif len(tags) < len(words):
            fault = f"has {len(words)} words but {len(tags)} labels"
        elif len(tags) > len(words):
            longer.append(f"{name} ({len(words)} words, {len(tags)} labels)")
        if fault:
            form = "a line is UTTERANCE BOS WORDS EOS, a tab, O, a label per word, and the intent"
            raise DataError(f"{FIELD}.path: {source}: utterance {name} {fault}; {form}")
    if longer:
        what = "%s: %d commands have more labels than words, such as %s; as in S3PRL, a word has the label of its place"
        log.warning(what, source, len(longer), longer[0])


def with_texts(utterances: list[Utterance], place: Path) -> list[Utterance]:
    """Those that have a text; the others are counted in one warning.

    Raises:
        DataError: none has.
    """
    found = [utterance for utterance in utterances if utterance.text.strip()]
    if not found:
        raise DataError(f"{FIELD}.path: {place} has no recording with a text")
    if len(found) < len(utterances):
        without = next(utterance.name for utterance in utterances if not utterance.text.strip())
        log.warning("%s: %d recordings without a text are left out, such as %s", place, len(utterances) - len(found), without)
    return found


def read_table(corpus: Mapping[str, Any], part: str, slots: bool) -> list[Utterance]:
    """The rows of a table; its path and those in it are below ``corpus.path``, or stand for themselves.

    Raises:
        DataError: the table is missing or lacks a column.
    """
    root = root_of(corpus)
    table = next((path for path in (root / part, Path(part)) if path.is_file()), None)
    if table is None:
        raise DataError(f"{FIELD}: there is no table {part}, neither in {root} nor by itself")
    rows = rows_of(table, ("path", "text"), "table", FIELD, delimiter="\t", quoted=False)
    found = [Utterance(Path(row["path"]).stem, str(root / row["path"]), row["text"]) for _, row in rows]
    return with_texts(sorted(found, key=lambda utterance: utterance.path), table)


READERS: dict[str, Reader] = {
    "libriphone": read_librispeech,
    "librispeech": read_librispeech,
    "snips": read_snips,
    **dict.fromkeys(("sbcsae", "common_voice", "tsv"), read_table),
}
