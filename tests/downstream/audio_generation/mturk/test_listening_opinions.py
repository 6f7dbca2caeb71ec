"""What mos.py makes of results, and what it refuses."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from downstream.audio_generation.mturk import mos
from downstream.audio_generation.mturk.opinion import Answer, speech
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


def test_opinions_on_a_whole_page_count_once_for_each_method():
    """Pages of one method may have more recordings than those of another; what is asked once a page counts once, not once a recording."""
    answers = [
        Answer(worker, method, f"{name}.wav", {"digit": 0, "intelligibility": 3, "quality": quality, "diversity": quality}, shared)
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
    with pytest.raises(DataError, match="the interval of the quality of few needs at least 2 independent answers, not 1"):
        speech([answer for answer in answers if answer.worker == "Ann"], per_class=50)
    beyond = [
        Answer(worker, "ours", "20.wav", {"digit": 0, "intelligibility": 3, "quality": 3, "diversity": 3}, 1) for worker in ("Ann", "Ben")
    ]
    with pytest.raises(DataError, match=r"recording 20\.wav of ours is of no digit: --per_class 2 is too small"):
        speech(beyond, per_class=2)
