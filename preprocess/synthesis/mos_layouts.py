"""Names and lists of the synthetic MOS data sets, as those of the original archives are."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Records = Sequence[dict[str, Any]]
BVCC_SETS = {"train": "TRAINSET", "dev": "DEVSET", "test": "TESTSET"}
SOMOS_SETS = {"train": "TRAINSET", "dev": "VALIDSET", "test": "TESTSET"}
_FIRST = {"train": 0, "dev": 1000, "test": 2000}  # of the numbers of systems


def place(name: str, part: str, index: int, number: int, key: str, names: dict[str, Any]) -> str:
    """The path of a recording below the corpus' folder."""
    if name == "bvcc":
        return f"bvcc/main/DATA/wav/sys{names['system']}-utt{key}.wav"
    if name == "bc19":
        return f"bc19/ood/DATA/wav/sys{names['system']}-utt{key}.wav"
    if name == "somos":
        return f"somos/audios/novel_2007_{number:04d}_{_FIRST[part] + index:03d}.wav"
    if name == "nisqa":
        return f"nisqa/NISQA_Corpus/NISQA_{part}/deg/c{index:05d}_{key}.wav"
    return f"tmhint-qi/TMHINTQI/{part}/{names['system']}_{names['noise']}_{names['snr']}_{key}.wav"


def write_lists(records: dict[str, dict[str, Any]], size: int, seed: int, out: Path) -> None:
    """All lists of all data sets."""
    all_records = list(records.values())
    by_set = {name: [record for record in all_records if record["set"] == name] for name in dict.fromkeys(r["set"] for r in all_records)}
    _bvcc(by_set["bvcc"], out / "bvcc")
    _somos(by_set["somos"], out / "somos" / "training_files" / "split1" / "clean")
    _nisqa(by_set["nisqa"], out / "nisqa" / "NISQA_Corpus")
    _tmhint(by_set["tmhint-qi"], out / "tmhint-qi" / "TMHINTQI")
    _write(out / "bc19/ood/DATA/sets/TESTSET", (), _voicemos(by_set["bc19"], ""))
    for name, own in by_set.items():
        _hidden(own, out / "hidden" / f"{name}.csv")


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


def _somos(records: Records, folder: Path) -> None:
    for part, name in SOMOS_SETS.items():
        lines = [
            (f"{_FIRST[part] + record['index']:03d}", Path(row["path"]).name, score, listener)
            for record in records
            if record["part"] == part
            for row in record["rows"]
            for listener, score in row["ratings"]
        ]
        _write(folder / name, ("systemId", "utteranceId", "choice", "listenerId"), lines)


def _nisqa(records: Records, folder: Path) -> None:
    header = ("db", "con", "file", "con_description", "filename_deg", "filename_ref", "source", "lang", "votes", "mos", "filepath_deg")
    for part in dict.fromkeys(record["part"] for record in records):
        own, lines = [record for record in records if record["part"] == part], []
        for record in own:
            for row in record["rows"]:
                name, scores = Path(row["path"]).name, [score for _, score in row["ratings"]]
                mos = round(sum(scores) / len(scores), 3)
                lines.append((f"NISQA_{part}", record["index"], len(lines), "", name, "", "espeak", "en", len(scores), mos, f"deg/{name}"))
        _write(folder / f"NISQA_{part}" / f"NISQA_{part}_file.csv", header, lines)


def _tmhint(records: Records, folder: Path) -> None:
    header = ("idx", "method", "uttr", "snr", "noise", "quality_score", "intelligibility_score", "file_name")
    lines: list[tuple] = []
    for record in records:
        for number, row in enumerate(record["rows"]):
            for _, score in row["ratings"]:
                names = (record["system"], number, record["snr"], record["noise"])
                lines.append((len(lines), *names, score, "", Path(row["path"]).stem))
    _write(folder / "raw_data.csv", header, lines)


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


def _write(path: Path, header: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *lines] if header else lines)
