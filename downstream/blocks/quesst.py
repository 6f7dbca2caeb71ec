"""QUESST 2014: which recordings are searched for which queries, and where the truth about it is (spec: downstream-content.md 5).

<root>/scoring/language_key_utterances.lst                    lines "quesst14Database/<path> <language>": all recordings
<root>/scoring/language_key_{dev,eval}.lst                    the same of the queries
<root>/scoring/groundtruth_quesst14_{dev,eval}/               what the scorer reads
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from utility.errors import DataError, did_you_mean
from utility.text.files import lines_of

FIELD = "config.downstream_expert.datarc.dataset_root"
DOCUMENTS = "utterances"
ENGLISH, ALL_LANGUAGES = "nnenglish", "all"
PARTS = {"dev": "dev", "test": "eval", "eval": "eval"}  # by the split that asks for its queries
_MORE = "downstream/README.md says where to get it"


@dataclass(frozen=True, slots=True)
class Recording:
    """A query or a document.

    Args:
        path: the audio file.
        is_query: what it is.
    """

    path: str
    is_query: bool

    @property
    def name(self) -> str:
        """Its id in lists and ground truth."""
        return Path(self.path).stem


def recordings(root: str | Path, part: str, language: str) -> list[Recording]:
    """The queries of a part, then the documents, each in the order of its list.

    Args:
        root: the folder quesst14Database.
        part: ``"dev"`` or ``"eval"``.
        language: those of this language only, or of ``"all"``.

    Raises:
        DataError: a list or a file of it is missing, or a list cannot be read or has nothing in this language.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"{FIELD}: folder {root} does not exist; {_MORE}")
    found = [Recording(path, kind != DOCUMENTS) for kind in (part, DOCUMENTS) for path in _listed(root, kind, language)]
    missing = [recording.path for recording in found if not Path(recording.path).is_file()]
    if missing:
        raise DataError(f"{FIELD}: {len(missing)} of {len(found)} listed audio files do not exist, the first is {missing[0]}")
    return found


def ground_truth_folder(root: str | Path, part: str) -> Path:
    """Where the ground truth of a part lies."""
    return Path(root) / "scoring" / f"groundtruth_quesst14_{part}"


def _listed(root: Path, kind: str, language: str) -> list[str]:
    path = root / "scoring" / f"language_key_{kind}.lst"
    lines = _lines(path)
    wanted = [str(root / file) for file, spoken in lines if language in (spoken, ALL_LANGUAGES)]
    if not wanted:
        languages = sorted({spoken for _, spoken in lines})
        raise DataError(f"{path} has nothing in the language {language!r}{did_you_mean(language, [*languages, ALL_LANGUAGES])}")
    return wanted


def _lines(path: Path) -> list[tuple[str, str]]:
    """(path below the root, language) of each line; the first folder of a path is the root's own name."""
    found = []
    for number, line in enumerate(lines_of(path, "list", FIELD, _MORE), start=1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2:
            raise DataError(f"line {number} of {path} has {len(fields)} columns instead of path and language")
        found.append((fields[0].partition("/")[2] or fields[0], fields[1]))
    return found
