"""The scorers of diarization as programs."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from utility import score_diarization, tune_diarization


def test_the_overall_row_is_dscores(golden, capsys):
    folder = golden("tasks/der/real_dscore_fixture/files")
    pair = ["-r", str(folder / "ref.rttm"), "-s", str(folder / "sys.rttm")]
    assert score_diarization.main(pair) == 0
    *_, overall = capsys.readouterr().out.splitlines()
    assert overall.split()[2:] == ["***", "26.39", "33.22", "31.046", "3.726", "1.043", "3.425"]
    assert score_diarization.main([*pair, "--collar", "0.25", "--ignore_overlaps"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[3] == "21.53"


def test_regions(golden, capsys):
    folder = golden("tasks/der/synthetic_0/files")
    assert score_diarization.main(["-r", str(folder / "ref.rttm"), "-s", str(folder / "sys.rttm"), "-u", str(folder / "x.uem")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[3] == "16.80"


def test_mistakes_of_the_user(tmp_path: Path, capsys):
    one, other, empty = (tmp_path / f"{name}.rttm" for name in ("one", "other", "empty"))
    one.write_text("SPEAKER a 1 0 1 <NA> <NA> s <NA>\n")
    other.write_text("SPEAKER b 1 0 1 <NA> <NA> s <NA>\n")
    empty.write_text("")
    (tmp_path / "x.uem").write_text("c 1 0 1\n")
    for words, says in (
        (["-r", one, "-s", other], "have no recording in common: 'a' and 'b'"),
        (["-r", empty, "-s", other], "empty.rttm holds no speaker turn"),
        (["-r", one, one, "-s", other], "'a' is in two files"),
        (["-r", one, "-s", one, "-u", tmp_path / "x.uem"], "name no recording of the reference"),
        (["-r", one, "-s", one, "--collar", "-1"], "--collar must be a number"),
    ):
        assert score_diarization.main(list(map(str, words))) == 2
        assert says in capsys.readouterr().err
    assert score_diarization.main(["-r", str(one), "-s", str(empty)]) == 0
    printed = capsys.readouterr()
    assert "100.00" in printed.out.splitlines()[-1]
    assert "the system has no turn in 1 of the recordings" in printed.err


@pytest.fixture
def scored(tmp_path: Path) -> tuple[Path, Path, Path]:
    """An experiment with predictions of test and dev, and their Kaldi folders; a threshold of 0.3 is best on test, one of 0.6 on dev."""
    folder = tmp_path / "exp/results/best-states-dev"
    data = []
    for scoring, split, level in (("scoring", "test", 0.35), ("scoring-dev", "dev", 0.65)):
        (folder / scoring / "predictions").mkdir(parents=True)
        values = np.full((200, 2), level - 0.06)
        values[50:150, 0] = level
        np.save(folder / scoring / "predictions/r.npy", values)
        (tmp_path / split).mkdir()
        (tmp_path / split / "rttm").write_text("SPEAKER r 1 0.50 1.00 <NA> <NA> s <NA>\n")
        data.append(tmp_path / split)
    known = {"frame_shift": 160, "sample_rate": 16000, "chosen_on_dev": {"threshold": 0.4, "median": 1}}
    (folder / "scoring/settings.yaml").write_text(json.dumps(known))
    return tmp_path / "exp", *data


def test_settings_are_ranked(scored, capsys):
    expdir, test, dev = scored
    assert tune_diarization.main([str(expdir), str(test)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "chosen on dev (threshold 0.4, median 1): DER 100.00"
    assert lines[1] == "chosen on test, as S3PRL does (threshold 0.3, median 1): DER 0.00"
    ders = [float(line.split()[3]) for line in lines[2:]]
    assert len(ders) == 10
    assert ders == sorted(ders, reverse=True)
    assert "result_th0.3_med1:*** OVERALL ***  0.00" in lines[-1]
    scoring = expdir / "results/best-states-dev/scoring"
    assert len(list((scoring / "rttm").glob("hyp_*.rttm"))) == len(list(scoring.glob("result_th*"))) == 10
    assert (scoring / "rttm/hyp_0.3_11.rttm").read_text() == "SPEAKER r 1    0.50    1.00 <NA> <NA> r_0 <NA>\n"

    assert tune_diarization.main([str(expdir), str(test), "--dev", str(dev)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "chosen on dev (threshold 0.6, median 1): DER 100.00"
    assert tune_diarization.main([str(expdir), "--report"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "chosen on dev (threshold 0.6, median 1): DER 100.00"


def test_the_scores_are_printed_though_nothing_can_be_written(scored, capsys, monkeypatch: pytest.MonkeyPatch):
    expdir, test, dev = scored
    assert tune_diarization.main([str(expdir), str(test), "--dev", str(dev)]) == 0
    printed = capsys.readouterr().out

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    for method in ("write_text", "mkdir"):
        monkeypatch.setattr(Path, method, refuse)
    assert tune_diarization.main([str(expdir), str(test), "--dev", str(dev)]) == 2
    said = capsys.readouterr()
    assert said.out == printed
    assert said.err == f"Read-only file system: {expdir / 'results/best-states-dev/scoring'}\n"


def test_a_folder_of_s3prl(scored, tmp_path: Path, capsys):
    """Its frame_shift lies in the experiment folder, and there is no choice on dev."""
    expdir, test, _ = scored
    old = tmp_path / "old"
    (expdir / "results/best-states-dev").rename(old)
    (old / "scoring/settings.yaml").unlink()
    assert tune_diarization.main([str(old), str(test)]) == 2
    assert "does not say how many samples" in capsys.readouterr().err
    (old / "frame_shift").write_text("160\n")
    assert tune_diarization.main([str(old), str(test)]) == 0
    assert capsys.readouterr().out.startswith("chosen on dev: none")


def test_what_is_missing_is_named(scored, tmp_path: Path, capsys):
    expdir, test, dev = scored
    for words, says in (
        ([tmp_path, test], "has no predictions: run -m evaluate"),
        ([expdir], "name the Kaldi folder"),
        ([expdir, "--report"], "has not been scored yet"),
        ([expdir, tmp_path / "none"], "there is no RTTM file"),
    ):
        assert tune_diarization.main(list(map(str, words))) == 2
        assert says in capsys.readouterr().err
    (expdir / "results/best-states-dev").rename(expdir / "results/states-1")
    (expdir / "results/states-2/scoring/predictions").mkdir(parents=True)
    assert tune_diarization.main([str(expdir), str(dev)]) == 2
    assert "predictions of 2 checkpoints" in capsys.readouterr().err
