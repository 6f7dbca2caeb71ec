"""Names and lists of the synthetic MOS data sets, as those of the original archives are."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

Records = Sequence[dict[str, Any]]
BVCC_SETS = {"train": "TRAINSET", "dev": "DEVSET", "test": "TESTSET"}
SOMOS_SETS = {"train": "TRAINSET", "dev": "VALIDSET", "test": "TESTSET"}
SINGMOS_SETS = {"train": "train", "dev": "val", "test": "eval"}
_FIRST = {"train": 0, "dev": 1000, "test": 2000}  # of the numbers of systems


PLACES = {
    "bvcc": "bvcc/main/DATA/wav/sys{system}-utt{key}.wav",
    "bc19": "bc19/ood/DATA/wav/sys{system}-utt{key}.wav",
    "somos": "somos/audios/novel_2007_{number:04d}_{voice:03d}.wav",
    "nisqa": "nisqa/NISQA_Corpus/NISQA_{part}/deg/c{index:05d}_{key}.wav",
    "tmhint-qi": "tmhint-qi/TMHINTQI/{part}/{system}_{noise}_{snr}_{key}.wav",
    "pstn": "pstn/train/{index:06d}_{key}.wav",
    "singmos": "singmos/DATA/wav/voicemos2024-track2-sys{voice:04d}-utt{number:04d}.wav",
    "tencent": "tencent/TencentCorups/{part}TrainDev/{key}_{index:05d}.wav",
    "urgent2024-mos": "urgent2024-mos/wavs/fileid_{index}{number:02d}.wav",
}


def place(name: str, part: str, index: int, number: int, key: str, names: dict[str, Any]) -> str:
    """The path of a recording below the corpus' folder."""
    return PLACES[name].format(part=part, index=index, number=number, key=key, voice=_FIRST.get(part, 0) + index, **names)


def write_lists(records: dict[str, dict[str, Any]], size: int, seed: int, out: Path, hidden: str = "hidden") -> None:
    """All lists of the data sets that there are records of, and the settings of each in the folder ``hidden``."""
    by_set: dict[str, list[dict[str, Any]]] = {}
    for record in records.values():
        by_set.setdefault(record["set"], []).append(record)
    for name, own in by_set.items():
        LISTS[name](own, out / name)
        _hidden(own, out / hidden / f"{name}.csv")


def _bvcc(records: Records, folder: Path) -> None:
    for part, name in BVCC_SETS.items():
        _write(folder / "main/DATA/sets" / name, (), _voicemos([record for record in records if record["part"] == part], ".wav"))
    words = [(Path(row["path"]).name, row["text"], number, row["text"]) for number, row in enumerate(_rows(records))]
    _write(folder / "text", ("wav_name", "transcription", "cluster", "reference"), words)


def _voicemos(records: Records, suffix: str) -> Iterable[tuple]:
    """The lines of the VoiceMOS Challenge 2022: system, recording, rating, task, listener."""
    for record in records:
        for row in record["rows"]:
            for listener, score in row["ratings"]:
                yield f"sys{record['system']}", Path(row["path"]).stem + suffix, score, f"task_{row['key']}", listener


def _bc19(records: Records, folder: Path) -> None:
    _write(folder / "ood/DATA/sets/TESTSET", (), _voicemos(records, ""))


def _somos(records: Records, folder: Path) -> None:
    for part, name in SOMOS_SETS.items():
        lines = [
            (f"{_FIRST[part] + record['index']:03d}", Path(row["path"]).name, score, listener)
            for record in records
            if record["part"] == part
            for row in record["rows"]
            for listener, score in row["ratings"]
        ]
        _write(folder / "training_files/split1/clean" / name, ("systemId", "utteranceId", "choice", "listenerId"), lines)


def _nisqa(records: Records, folder: Path) -> None:
    header = ("db", "con", "file", "con_description", "filename_deg", "filename_ref", "source", "lang", "votes", "mos", "filepath_deg")
    for part in dict.fromkeys(record["part"] for record in records):
        own, lines = [record for record in records if record["part"] == part], []
        for record in own:
            for row in record["rows"]:
                name, count, mos = Path(row["path"]).name, len(row["ratings"]), round(statistics.fmean(_scores(row)), 3)
                lines.append((f"NISQA_{part}", record["index"], len(lines), "", name, "", "espeak", "en", count, mos, f"deg/{name}"))
        _write(folder / f"NISQA_Corpus/NISQA_{part}" / f"NISQA_{part}_file.csv", header, lines)


def _tmhint(records: Records, folder: Path) -> None:
    header = ("idx", "method", "uttr", "snr", "noise", "quality_score", "intelligibility_score", "file_name")
    lines: list[tuple] = []
    for record in records:
        for number, row in enumerate(record["rows"]):
            for _, score in row["ratings"]:
                names = (record["system"], number, record["snr"], record["noise"])
                lines.append((len(lines), *names, score, "", Path(row["path"]).stem))
    _write(folder / "TMHINTQI/raw_data.csv", header, lines)


def _pstn(records: Records, folder: Path) -> None:
    lines = []
    for row in _rows(records):
        scores, deviation = _scores(row), statistics.stdev(_scores(row))
        numbers = statistics.fmean(scores), deviation, 1.96 * deviation / len(scores) ** 0.5
        lines.append((Path(row["path"]).name, *(round(number, 4) for number in numbers), len(scores)))
    _write(folder / "train/pstn_train.csv", ("filename", "MOS", "std", "95%CI", "votes"), lines)


def _singmos(records: Records, folder: Path) -> None:
    for part, name in SINGMOS_SETS.items():
        own = _rows([record for record in records if record["part"] == part])
        lines = [(Path(row["path"]).stem, f"{statistics.fmean(_scores(row)):.6f}") for row in own]
        _write(folder / f"DATA/sets/{name}_mos_list.txt", (), lines)


def _tencent(records: Records, folder: Path) -> None:
    for part in dict.fromkeys(record["part"] for record in records):
        own = _rows([record for record in records if record["part"] == part])
        lines = [(f"./{part}TrainDev/{Path(row['path']).name}", f"{statistics.fmean(_scores(row)):.6f}") for row in own]
        _write(folder / f"TencentCorups/{part}TrainDevMOS.csv", ("deg_wav", "mos"), lines)


def _urgent(records: Records, folder: Path) -> None:
    lines = [
        (f"wavs/{path.name}", record["system"], path.stem, row["rate"], statistics.fmean(_scores(row)), _scores(row))
        for record in records
        for row in record["rows"]
        for path in [Path(row["path"])]
    ]
    _write(folder / "metadata.csv", ("wav_path", "system_id", "sample_id", "sampling_rate", "score", "raw_ratings"), lines)


LISTS: dict[str, Callable[[Records, Path], None]] = {
    "bvcc": _bvcc,
    "somos": _somos,
    "nisqa": _nisqa,
    "tmhint-qi": _tmhint,
    "bc19": _bc19,
    "pstn": _pstn,
    "singmos": _singmos,
    "tencent": _tencent,
    "urgent2024-mos": _urgent,
}
"""By data set: what writes its lists from its records, below its folder."""


def _hidden(records: Records, path: Path) -> None:
    ways = ("noise", "clipping", "band", "codec", "loss")
    lines = [
        (row["path"], record["part"], *(round(record["how"][way], 6) for way in ways), record["how"]["kind"], round(record["quality"], 6))
        for record in records
        for row in record["rows"]
    ]
    _write(path, ("wav", "part", *ways, "kind", "quality"), lines)


def _rows(records: Records) -> list[dict[str, Any]]:
    return [row for record in records for row in record["rows"]]


def _scores(row: dict[str, Any]) -> list[int]:
    return [score for _, score in row["ratings"]]


def _write(path: Path, header: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *lines] if header else lines)
