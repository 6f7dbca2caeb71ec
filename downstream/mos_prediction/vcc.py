"""The Voice Conversion Challenges 2018 and 2016 in their official folders, as S3PRL's MOS prediction reads them.

<2018>/Converted_speech_of_submitted_systems/*.wav, <2018>/VCC2018_Results/{train,valid,test}_judge.csv   WAV_PATH, MEAN, MOS, JUDGE
<2016>/unified_speech/*.wav, <2016>/system_mos.csv   a column per system, one row of mean opinion scores
"""

from __future__ import annotations

import math
from pathlib import Path

from utility.errors import DataError
from utility.text.files import naming, rows_of

from .table import Rating

JUDGED = {"train": "train_judge.csv", "dev": "valid_judge.csv", "vcc2018_test": "test_judge.csv"}
SPLIT_2016 = "vcc2016_test"
RESULTS, SPEECH_2018, SPEECH_2016 = "VCC2018_Results", "Converted_speech_of_submitted_systems", "unified_speech"


def read_2018(root: str | Path, split: str, field: str) -> list[Rating]:
    """The ratings of a split, one row each.

    Raises:
        DataError: the table is missing or damaged, or a recording is not there.
    """
    table, found = Path(root) / RESULTS / JUDGED[split], []
    for line, row in rows_of(table, ("WAV_PATH", "MEAN", "MOS", "JUDGE"), "table", field, hint="the folder must be VCC 2018's"):
        name = Path(row["WAV_PATH"]).name
        path = Path(root) / SPEECH_2018 / name
        where = f"{naming(table, 'table', field)}, line {line}"
        if not path.is_file():
            raise DataError(f"{where}: there is no recording {path}")
        scores = [_number(row[column], where, column) for column in ("MOS", "MEAN")]
        found.append(Rating(str(path), name[:3] + name[-8:-4], name.removesuffix(".wav"), *scores, listener=row["JUDGE"]))
    if not found:
        raise DataError(f"{naming(table, 'table', field)} has no row beneath its header")
    return found


def read_2016(root: str | Path, field: str) -> list[Rating]:
    """The recordings of the systems, each with the mean opinion score of its system.

    Raises:
        DataError: the table or all recordings are missing.
    """
    table = Path(root) / "system_mos.csv"
    rows = [row for _, row in rows_of(table, (), "table", field, hint="the folder must be VCC 2016's")]
    if not rows:
        raise DataError(f"{naming(table, 'table', field)} has no row beneath its header")
    scores = {system: _number(value, naming(table, "table", field), system) for system, value in rows[0].items() if system}
    paths = sorted((Path(root) / SPEECH_2016).glob("*.wav"))
    found = [
        Rating(str(path), system, path.stem, scores[system], scores[system])
        for path in paths
        if (system := path.stem.split("_", 1)[0]) in scores
    ]
    if not found:
        raise DataError(f"{field}: {Path(root) / SPEECH_2016} holds no recording of a system of {table.name}")
    return found


def _number(text: str, where: str, column: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: the {column} {text!r} is no number")
    return value
