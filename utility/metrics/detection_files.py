"""Files of spoken term detection, as MediaEval's scorer for QUESST reads them (spec: downstream-content.md 5).

*.stdlist.xml   a system's answer: per query a score and a decision for each document
*.tlist.xml     the queries of the evaluation
*.ecf.xml       its documents
*.rttm          which query occurs in which document (lines LEXEME)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET
from xml.sax.saxutils import quoteattr

from utility.errors import DataError
from utility.metrics.detection import Detection
from utility.text.files import lines_of

STDLIST = "benchmark.stdlist.xml"
_HEAD = '<stdlist termlist_filename="benchmark.stdlist.xml" indexing_time="1.00" language="english" index_size="1" system_id="benchmark">\n'
_LEXEME_FIELDS = 6


@dataclass(frozen=True)
class GroundTruth:
    """The truth of an evaluation.

    Args:
        queries: ids of all queries.
        documents: names of all documents, without suffix.
        targets: (query, document) pairs where the query occurs.
    """

    queries: list[str]
    documents: list[str]
    targets: set[tuple[str, str]]


def read_ground_truth(folder: str | Path) -> GroundTruth:
    """Reads the one ``.tlist.xml``, ``.ecf.xml`` and ``.rttm`` of a folder such as ``groundtruth_quesst14_eval``.

    Raises:
        DataError: the folder or one of the files is missing, there are several, or one cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder} with the ground truth (.ecf.xml, .rttm and .tlist.xml)")
    tlist, ecf, rttm = (only_file(folder, suffix) for suffix in (".tlist.xml", ".ecf.xml", ".rttm"))
    return GroundTruth(read_tlist(tlist), read_ecf(ecf), read_rttm(rttm))


def only_file(folder: Path, suffix: str) -> Path:
    """The one file of a folder with this suffix.

    Raises:
        DataError: there is none, or more than one.
    """
    found = sorted(path for path in folder.glob(f"*{suffix}") if not path.name.startswith("."))
    if len(found) != 1:
        what = f"has {len(found)} files" if found else "has no file"
        raise DataError(f"{folder} {what} *{suffix}; there must be one" + (f": {', '.join(p.name for p in found)}" if found else ""))
    return found[0]


def read_tlist(path: str | Path) -> list[str]:
    """The ids of the queries, in the order of the file."""
    return _some([_attribute(term, "termid", path) for term in _elements(path, "term")], path, "term")


def read_ecf(path: str | Path) -> list[str]:
    """The names of the documents without folder and suffix, in the order of the file, each once."""
    names = [Path(_attribute(excerpt, "audio_filename", path)).stem for excerpt in _elements(path, "excerpt")]
    return _some(list(dict.fromkeys(names)), path, "excerpt")


def read_rttm(path: str | Path) -> set[tuple[str, str]]:
    """The (query, document) pairs of the lines ``LEXEME <document> <channel> <begin> <duration> <query> ...``; other lines are comments."""
    pairs = set()
    for number, line in enumerate(lines_of(path, "RTTM file"), start=1):
        fields = line.split()
        if not fields or fields[0] != "LEXEME":
            continue
        if len(fields) < _LEXEME_FIELDS:
            raise DataError(f"line {number} of {path} has {len(fields)} fields, a LEXEME has at least {_LEXEME_FIELDS}")
        pairs.add((fields[5], fields[1]))
    return pairs


def read_stdlist(path: str | Path) -> dict[tuple[str, str], Detection]:
    """A system's answers by (query, document); of several for one pair the highest score stands, and any yes.

    Raises:
        DataError: the file cannot be read, or a score is no finite number.
    """
    found: dict[tuple[str, str], Detection] = {}
    for query in _elements(path, "detected_termlist"):
        name = _attribute(query, "termid", path)
        for term in query.iter("term"):
            pair = name, Path(_attribute(term, "file", path)).name.removesuffix(".wav")
            detection = Detection(_score(term, path), _attribute(term, "decision", path).strip().upper() == "YES")
            before = found.get(pair, detection)
            found[pair] = Detection(max(before.score, detection.score), before.decision or detection.decision)
        query.clear()
    return found


def write_stdlist(path: str | Path, answers: Mapping[str, Sequence[tuple[str, float, bool]]]) -> None:
    """Writes a system's answers with scores of four decimals, as S3PRL does.

    Args:
        path: the file; it is replaced at once when all is written.
        answers: by query: (document, score, decision) of each trial.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.tmp")
    with draft.open("w", encoding="utf-8") as file:
        file.write(_HEAD)
        for query, trials in answers.items():
            file.write(f'  <detected_termlist termid={quoteattr(query)} term_search_time="1.0" oov_term_count="1">\n')
            file.writelines(_lines(trials))
            file.write("  </detected_termlist>\n")
        file.write("</stdlist>\n")
    draft.replace(path)


def _lines(trials: Iterable[tuple[str, float, bool]]) -> Iterator[str]:
    for document, score, decision in trials:
        said = "YES" if decision else "NO"
        yield f'    <term file={quoteattr(document)} channel="1" tbeg="0.000" dur="0.00" score="{score:.4f}" decision="{said}"/>\n'


def _score(term: ET.Element, path: str | Path) -> float:
    text = _attribute(term, "score", path)
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise DataError(f"{path}: the score {text!r} is no finite number")
    return score


def _elements(path: str | Path, tag: str) -> Iterator[ET.Element]:
    """The elements of that name, one at a time."""
    try:
        with Path(path).open("rb") as file:
            yield from (element for _, element in ET.iterparse(file) if element.tag == tag)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except ET.ParseError as error:
        raise DataError(f"{path} is no proper XML: {error}") from error


def _attribute(element: ET.Element, name: str, path: str | Path) -> str:
    value = element.get(name)
    if value is None:
        raise DataError(f"{path}: a <{element.tag}> has no {name}")
    return value


def _some(names: list[str], path: str | Path, tag: str) -> list[str]:
    if not names:
        raise DataError(f"{path} has no <{tag}>")
    return names
