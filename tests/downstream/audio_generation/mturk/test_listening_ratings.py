"""Who is handed which batch, and what stays of the answers when a server is killed."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from downstream.audio_generation.mturk.hits import identity_of, read_hits
from downstream.audio_generation.mturk.pages import music_page, speech_page
from downstream.audio_generation.mturk.rating import ALLOTTED, AnswerError, Ratings, check_worker
from tests.downstream.audio_generation.mturk.conditions import answers, batched
from utility.errors import DataError


def test_a_server_that_was_killed_goes_on(condition: Path, tmp_path: Path):
    results = tmp_path / "results.csv"
    hits, page = read_hits(condition), music_page(2)
    ratings = Ratings(hits, page, results)
    given = {name: str(value) for name, value in answers().items()}
    first = ratings.next_for("Ann")
    assert ratings.submit("Ann", first.number, given)
    with pytest.raises(DataError, match="another server writes to"):
        Ratings(hits, page, results)
    ratings.close()
    with ratings.journal.open("a") as file:
        file.write('{"worker": "Ann", "hit": 3, "ti')  # cut short: never confirmed
    results.unlink()
    again = Ratings(hits, page, results)
    assert [entry["worker"] for entry in again.entries] == ["Ann"]
    assert again.next_for("Ann").number != first.number
    assert again.submit("Ben", first.number, given)
    assert len(results.read_text().splitlines()) == 3
    again.close()
    with pytest.raises(DataError, match="holds the answers of another listening test"):
        Ratings(hits, speech_page(2), results)
    again.journal.write_text("no json\n")
    with pytest.raises(DataError, match="is damaged"):
        Ratings(hits, page, results)
    again.journal.unlink()
    with pytest.raises(DataError, match="exists, but not its journal"):
        Ratings(hits, page, results)


def test_answers_to_other_recordings_are_refused(tmp_path: Path):
    results, given = tmp_path / "results.csv", {name: str(value) for name, value in answers().items()}
    folder = batched(tmp_path)
    hits, page = read_hits(folder), music_page(2)
    ratings = Ratings(hits, page, results, test=identity_of(folder))
    assert ratings.submit("Ann", 0, given)
    ratings.close()
    Ratings(hits, page, results, test=identity_of(folder)).close()
    for change in ({"methods": ("test", "ours")}, {"pitch": 400}):
        shutil.rmtree(folder)
        assert read_hits(batched(tmp_path, **change)) == hits  # the same addresses
        with pytest.raises(DataError, match="holds the answers of another listening test"):
            Ratings(hits, page, results, test=identity_of(folder))


@pytest.mark.parametrize("name", ["worker", "time", "seconds"])
def test_a_journal_that_lacks_something_is_damaged(condition: Path, tmp_path: Path, name):
    entry = {
        "worker": "Ann",
        "hit": 0,
        "time": 1.0,
        "seconds": 1.0,
        "answers": {key: str(value) for key, value in answers().items()},
        "test": "",
    }
    (tmp_path / "results.csv.jsonl").write_text(json.dumps({key: value for key, value in entry.items() if key != name}) + "\n")
    with pytest.raises(DataError, match=f"is damaged: '{name}'"):
        Ratings(read_hits(condition), music_page(2), tmp_path / "results.csv")


def test_every_rater_hears_what_is_rated_least(condition: Path, tmp_path: Path):
    ratings = Ratings(read_hits(condition), music_page(2), tmp_path / "results.csv")
    given = {name: str(value) for name, value in answers().items()}
    heard = []
    for worker in ("a", "b", "c", "d"):
        heard.append(ratings.next_for(worker).number)
        assert ratings.submit(worker, heard[-1], given)
    counts = Counter(entry["hit"] for entry in ratings.entries)
    assert counts == dict.fromkeys(range(4), 1)
    assert len(set(heard)) == 4
    ratings.close()


def test_a_batch_is_with_one_rater_at_a_time(condition: Path, tmp_path: Path):
    """Where one answer is wanted, two raters do not get the same batch, unless the first lets it lie; none of their answers is lost."""
    now = [0.0]
    ratings = Ratings(read_hits(condition)[:2], music_page(2), tmp_path / "results.csv", raters=1, clock=lambda: now[0])
    given = {name: str(value) for name, value in answers().items()}
    assert [ratings.next_for(worker).number for worker in ("Ann", "Ben", "Ann", "Ben")] == [0, 1, 0, 1]  # a page may be loaded again
    assert (ratings.next_for("Cleo"), ratings.may_return("Cleo")) == (None, True)
    assert ratings.submit("Ben", 1, given)
    assert (ratings.next_for("Ben"), ratings.may_return("Ben")) == (None, True)
    now[0] = ALLOTTED
    assert ratings.next_for("Ben").number == 0
    assert ratings.next_for("Ann") is None  # hers is with Ben now
    assert ratings.submit("Ben", 0, given)
    assert (ratings.next_for("Cleo"), ratings.may_return("Cleo")) == (None, False)
    assert ratings.submit("Ann", 0, given)  # late
    ratings.close()
    assert [(entry["worker"], entry["hit"]) for entry in ratings.entries] == [("Ben", 1), ("Ben", 0), ("Ann", 0)]
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize("name", ["", "  ", "x" * 65, "a\tb", "=1+1"])
def test_names_that_are_none(name: str):
    with pytest.raises(AnswerError, match="1 to 64"):
        check_worker(name)
