"""What mos.py makes of results, and what it refuses."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from downstream.audio_generation.mturk import mos
from downstream.audio_generation.mturk.opinion import speech
from downstream.audio_generation.mturk.results import Answer
from tests.downstream.audio_generation.mturk.conditions import batched
from utility.errors import DataError


def test_results_that_are_none(condition: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    def refused(text: str | None, *more: str) -> str:
        path = tmp_path / "results.csv"
        path.write_text(text) if text is not None else path.unlink(missing_ok=True)
        assert mos.main([str(path), "--batches", str(condition), *more]) == 2
        return capsys.readouterr().err

    head = "WorkerId,Input.recording_0_url,Answer.recording_0_quality,Answer.recording_0_musicality\n"
    uid = (condition / "uids.txt").read_text().split()[2]
    assert "results.csv does not exist" in refused(None)
    assert "has no column 'WorkerId'" in refused("a,b\n1,2\n")
    assert "there are no answers" in refused(head)
    assert "recording hums/0 is in no uids.txt" in refused(f"{head}W,http://x/hums/0/0.wav,1,2\n")
    assert "line 2: Answer.recording_0_quality is 'good', not a number" in refused(f"{head}W,http://x/hums/0/{uid}.wav,good,2\n")
    for value in ("inf", "nan", "3.7", "0", "6"):
        said = refused(f"{head}W,http://x/hums/0/{uid}.wav,{value},2\n")
        assert f"line 2: Answer.recording_0_quality is {value}, not a whole number from 1 to 5" in said
    assert "line 2: recording" in refused(f"{head}W\n")
    (tmp_path / "wide.csv").write_text(head, encoding="utf-16")
    assert mos.main([str(tmp_path / "wide.csv"), "--batches", str(condition)]) == 2
    assert "is no UTF-8 text" in capsys.readouterr().err
    method = (condition / "uids.txt").read_text().split()[0]
    said = refused(f"{head}W,http://x/hums/0/{uid}.wav,1,2\n")
    assert f"the interval of the quality of {method} needs at least 2 independent answers, not 1" in said
    assert "--gold takes FILE=QUALITY,MUSICALITY" in refused(head + f"W,http://x/hums/0/{uid}.wav,1,2\n", "--gold", "4.wav")
    assert mos.main([str(tmp_path / "results.csv"), f"{tmp_path}/in/../results.csv", "--batches", str(condition)]) == 2
    assert "results.csv is given twice" in capsys.readouterr().err
    said = refused(head + f"W,http://x/hums/0/{uid}.wav,1,2\n", "--gold", "9.wav=2,2")
    assert "--gold names 9.wav, which nobody rated" in said
    assert "there is no uids.txt" in refused(head, "--batches", str(tmp_path / "in"))


# ---- assignments


def table(folder: Path, *raters: str, hit: int = 0, **more: str) -> list[dict[str, str]]:
    """An assignment of each rater to one batch of music, in MTurk's columns."""
    (header, *rows) = csv.reader((folder / "urls.csv").read_text().splitlines())
    urls = {f"Input.{name}": url for name, url in zip(header, rows[hit], strict=True)}
    scores = {f"Answer.recording_{number}_{question}": "3" for number in range(len(urls)) for question in ("quality", "musicality")}
    return [{"HITId": f"H{hit}", "AssignmentId": f"A{hit}{name}", "WorkerId": name, **urls, **scores, **more} for name in raters]


def spoken(folder: Path) -> dict[str, str]:
    """The same recordings as speech."""
    (row,) = table(folder, "Ann")
    row = {key: value for key, value in row.items() if not key.startswith("Answer.")} | {"Answer.quality": "3", "Answer.diversity": "3"}
    return row | {f"Answer.recording_{number}_{question}": "3" for number in range(2) for question in ("digit", "intelligibility")}


def mos_of(folder: Path, *files: Sequence[Mapping[str, str]]) -> dict[str, dict[str, list[float]]] | None:
    """What mos.py writes of them; None if it refuses."""
    paths = [folder.with_name(f"{number}.csv") for number in range(len(files))]
    for path, rows in zip(paths, files, strict=True):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    output = folder.with_name("mos.json")
    status = mos.main([*map(str, paths), "--batches", str(folder), "--gold", "--output", str(output)])
    assert status in (0, 2)
    return json.loads(output.read_text()) if status == 0 else None


@pytest.mark.parametrize("number", ["A", ""], ids=["numbered", "unnumbered"])
def test_an_assignment_that_was_downloaded_twice_counts_once(condition: Path, capsys: pytest.CaptureFixture, number: str):
    first = [row if number else {**row, "AssignmentId": ""} for row in table(condition, "Ann", "Ben")]
    later = [*first, *table(condition, "Cleo")]
    found = mos_of(condition, first, later)
    assert {method: found["quality"][method][1] for method in ("ours", "test")} == {"ours": 3, "test": 3}
    assert capsys.readouterr().err == "assignments left out: 2 that repeat others\n"
    later[1] = {**later[1], "Answer.recording_1_quality": "5"}
    assert mos_of(condition, first, later) is None
    said = capsys.readouterr().err
    assert "0.csv, line 3 and" in said
    assert "1.csv, line 3 hold one assignment of Ben with different answers" in said


def test_assignments_of_two_servers_have_the_same_numbers_and_all_count(condition: Path, capsys: pytest.CaptureFixture):
    """serve.py numbers from 0 in each of its files."""
    first, second = (table(condition, "Ann", "Ben", hit=hit, AssignmentId="A0") for hit in range(2))
    assert mos_of(condition, first, second)["quality"]["ours"][1] == 4
    assert capsys.readouterr().err == ""


def test_rejected_assignments_do_not_count(condition: Path, capsys: pytest.CaptureFixture):
    rows = table(condition, "Ann", "Ben", AssignmentStatus="Approved")
    bad = table(condition, "Cleo", AssignmentStatus="Rejected", **{"Answer.recording_0_quality": "none"})
    assert mos_of(condition, rows + bad)["quality"]["ours"][1] == 2
    assert capsys.readouterr().err == "assignments left out: 1 that were rejected\n"
    early, late = ([{**row, "AssignmentStatus": status} for row in table(condition, "Dan")] for status in ("Submitted", "Rejected"))
    for files in ([rows + early, late], [late, rows + early]):  # whatever the order of the downloads
        assert mos_of(condition, *files)["quality"]["ours"][1] == 2
    assert mos_of(condition, rows + late, table(condition, "Dan", AssignmentStatus="Approved"))["quality"]["ours"][1] == 3


@pytest.mark.parametrize("name", ["Input.recording_1_url", "Answer.recording_0_quality", "Answer.recording_1_musicality"])
def test_a_column_that_is_missing_is_said(condition: Path, capsys: pytest.CaptureFixture, name: str):
    rows = [{key: value for key, value in row.items() if key != name} for row in table(condition, "Ann", "Ben")]
    assert mos_of(condition, rows) is None
    assert f"0.csv has no column '{name}'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["Answer.diversity", "Answer.quality", "Answer.recording_1_intelligibility", "Answer.recording_1_digit"])
def test_a_column_of_speech_that_is_missing_is_said(condition: Path, capsys: pytest.CaptureFixture, name: str):
    assert mos_of(condition, [{key: value for key, value in spoken(condition).items() if key != name}]) is None
    assert f"0.csv has no column '{name}'" in capsys.readouterr().err


def test_results_of_no_kind_or_of_two(condition: Path, capsys: pytest.CaptureFixture):
    rows = table(condition, "Ann")
    assert mos_of(condition, [{key: value for key, value in rows[0].items() if "Answer" not in key}]) is None
    assert "0.csv has neither a column 'Answer.recording_0_musicality' nor 'Answer.recording_0_digit'" in capsys.readouterr().err
    assert mos_of(condition, [{**rows[0], "Answer.recording_0_digit": "3"}]) is None
    assert "0.csv has columns of both music and speech" in capsys.readouterr().err
    assert mos_of(condition, rows, [{**spoken(condition), "WorkerId": "Ben"}]) is None
    assert "some result files are of music, some of speech" in capsys.readouterr().err


def test_an_answer_of_nobody_is_said(condition: Path, capsys: pytest.CaptureFixture):
    assert mos_of(condition, table(condition, "Ann", " ")) is None
    assert "0.csv, line 3: WorkerId is empty" in capsys.readouterr().err


def test_an_address_that_is_none_is_said(condition: Path, capsys: pytest.CaptureFixture):
    first, second = table(condition, "Ann", "Ben")
    assert mos_of(condition, [first, {**second, "Input.recording_1_url": "http://[x/hums/0/0.wav"}]) is None
    assert "0.csv, line 3: 'http://[x/hums/0/0.wav' is no address" in capsys.readouterr().err


def test_few_raters_have_a_wide_interval_beside_that_of_their_answers(condition: Path, capsys: pytest.CaptureFixture):
    """Ann says 2 and Ben 5 of all that they hear: two opinions, however often they are asked."""
    rows = [row for hit in range(4) for row in table(condition, "Ann", "Ben", hit=hit)]
    for row in rows:
        row |= {f"Answer.recording_{number}_quality": "2" if row["WorkerId"] == "Ann" else "5" for number in range(2)}
    found = mos_of(condition, rows)
    half = 12.7062047 * math.sqrt(4.5) / math.sqrt(2)
    assert found["quality_of_raters"]["ours"] == pytest.approx([3.5, 2, math.sqrt(4.5), 3.5 - half, 3.5 + half])
    assert found["quality"]["ours"][4] - 3.5 == pytest.approx(1.96 * math.sqrt(18 / 7) / math.sqrt(8))
    assert "ours: 3.50 ± 1.11 (8 answers); 3.50 ± 19.06 (means of 2 raters)" in capsys.readouterr().out
    alone = mos_of(condition, [row for row in rows if row["WorkerId"] == "Ann"])
    assert (alone["quality"]["ours"][:2], alone["quality_of_raters"]["ours"]) == ([2, 4], None)
    assert "ours: 2.00 ± 0.00 (4 answers); a single rater" in capsys.readouterr().out


# ---- speech


def said_of(worker: str, method: str, name: int, quality: int = 3, shared: int = 1, recordings: int = 500) -> Answer:
    given = {"digit": 0, "intelligibility": 3, "quality": quality, "diversity": quality}
    return Answer(worker, method, f"{name}.wav", given, shared, recordings)


def test_opinions_on_a_whole_page_count_once_for_each_method():
    """Pages of one method may have more recordings than those of another; what is asked once a page counts once, not once a recording."""
    answers = [
        said_of(worker, method, name, quality, shared)
        for method, shared in (("many", 4), ("few", 2))
        for worker, quality in (("Ann", 2), ("Ben", 4))
        for name in range(shared)
    ]
    for ordered in (answers, answers[::-1]):
        means, _, kappa = speech(ordered, per_class=50)
        quality = means["quality"]
        assert kappa == {"many": 1, "few": 1}  # nothing but zeros, all of them understood
        for method, n in (("many", 8), ("few", 4)):
            deviation = math.sqrt(n / (n - 1))
            assert quality[method].high - 3 == pytest.approx(1.96 * deviation / math.sqrt(2))
            assert means["quality_of_raters"][method].high - 3 == pytest.approx(12.7062047)
    with pytest.raises(DataError, match="the interval of the quality of few needs at least 2 independent answers, not 1"):
        speech([answer for answer in answers if answer.worker == "Ann"], per_class=50)


def test_digits_that_names_do_not_tell():
    """With another number of recordings for each digit than there are, kappa would be false."""
    for per_class in (1, 3):
        with pytest.raises(
            DataError, match=rf"uids\.txt holds 20 recordings of ours, not {10 * per_class}: --per_class {per_class} is wrong"
        ):
            speech([said_of(worker, "ours", 4, recordings=20) for worker in ("Ann", "Ben")], per_class)
    with pytest.raises(DataError, match=r"recording 20\.wav of ours is of no digit: the nines end with 19"):
        speech([said_of(worker, "ours", 20, recordings=20) for worker in ("Ann", "Ben")], per_class=2)


def test_a_per_class_that_is_too_large_is_no_false_kappa(tmp_path: Path, capsys: pytest.CaptureFixture):
    """All digits are understood, so that kappa is 1; were all recordings taken for zeros, it would be 0."""
    folder = batched(tmp_path, methods=("ours",), count=20, size=20)
    names = {line.split()[2]: line.split()[1] for line in (folder / "uids.txt").read_text().splitlines()}
    urls = (folder / "urls.csv").read_text().splitlines()[1].split(",")
    row = {f"Input.recording_{number}_url": url for number, url in enumerate(urls)} | {"Answer.quality": "3", "Answer.diversity": "3"}
    for number, url in enumerate(urls):
        digit = int(Path(names[Path(url).stem]).stem) // 2
        row |= {f"Answer.recording_{number}_digit": str(digit), f"Answer.recording_{number}_intelligibility": "3"}
    path = tmp_path / "speech.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["WorkerId", *row])
        writer.writeheader()
        writer.writerows({"WorkerId": worker, **row} for worker in ("Ann", "Ben"))
    words = [str(path), "--batches", str(folder), "--per_class"]
    assert mos.main([*words, "2"]) == 0
    assert "kappa\n    ours: 1.000" in capsys.readouterr().out
    assert mos.main([*words, "50"]) == 2
    assert "uids.txt holds 20 recordings of ours, not 500: --per_class 50 is wrong" in capsys.readouterr().err
