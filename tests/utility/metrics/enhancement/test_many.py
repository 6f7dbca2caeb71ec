"""Many pairs: order, processes, faults, tables."""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from utility.errors import DataError, MissingDependencyError, UnknownNameError
from utility.metrics.enhancement import METRICS, Pair, score_pair, score_pairs, summarise, write_csv

NAMES = ("stoi", "snr", "si-snr", "mse", "segsnr")


def pairs(count: int) -> list[Pair]:
    rng = np.random.default_rng(1)
    cleans = rng.normal(0, 0.1, (count, 8000)).astype(np.float32)
    return [Pair(f"clip{k}", clean, clean + rng.normal(0, 0.01 * (k + 1), 8000).astype(np.float32)) for k, clean in enumerate(cleans)]


def test_processes_give_what_one_gives():
    given = pairs(13)
    alone = list(score_pairs(given, 16000, NAMES, processes=1))
    assert list(score_pairs(iter(given), 16000, NAMES, processes=2)) == alone
    assert [row["snr"] for row in alone] == sorted((row["snr"] for row in alone), reverse=True)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_fault_names_its_pair(processes: int):
    given = pairs(13)
    given[5] = Pair("empty", given[5].reference, np.zeros(0, np.float32))
    with pytest.raises(DataError, match=r"^empty: a waveform without samples"):
        list(score_pairs(given, 16000, NAMES, processes))


def test_the_longer_wave_is_cut():
    reference, estimate = pairs(1)[0].reference, pairs(1)[0].estimate
    longer = np.concatenate([estimate, np.ones(7, np.float32)])
    assert score_pair(reference, longer, 16000, NAMES) == score_pair(reference, estimate, 16000, NAMES)


def test_si_sdr_takes_the_means_out():
    reference, estimate = pairs(1)[0].reference, pairs(1)[0].estimate
    shifted = score_pair(reference, estimate + 1, 16000, ("si-snr", "si-sdr"))
    plain = score_pair(reference, estimate, 16000, ("si-snr", "si-sdr"))
    assert shifted["si-sdr"] == pytest.approx(plain["si-sdr"], abs=1e-3)
    assert shifted["si-snr"] < plain["si-snr"] - 10


def test_other_rates_reach_pesq():
    pytest.importorskip("pesq")
    time = np.arange(48000) / 48000
    speechlike = (np.sin(2 * np.pi * 220 * time) * (np.sin(2 * np.pi * 3 * time) > 0)).astype(np.float32)
    found = score_pair(speechlike, speechlike, 48000, ("pesq", "pesq_nb", "csig"))
    assert found == pytest.approx({"pesq": 4.644, "pesq_nb": 4.549, "csig": 5}, abs=1e-3)


def test_bad_requests():
    wave = pairs(1)[0].reference
    with pytest.raises(UnknownNameError, match=r"unknown metric 'pesk'; did you mean 'pesq'\?"):
        score_pair(wave, wave, 16000, ["pesk"])


def test_wide_band_pesq_of_narrow_band_audio():
    pytest.importorskip("pesq")
    wave = pairs(1)[0].reference
    with pytest.raises(DataError, match="these have 8000 Hz; narrow-band PESQ is called pesq_nb"):
        score_pair(wave, wave, 8000, ["pesq"])


@pytest.mark.parametrize("name", ["pesq", "covl"])
def test_without_pesq(monkeypatch, name: str):
    monkeypatch.setitem(sys.modules, "pesq", None)
    wave = pairs(1)[0].reference
    with pytest.raises(MissingDependencyError, match="pip install pesq"):
        list(score_pairs([Pair("a", wave, wave)], 16000, [name]))
    assert score_pair(wave, wave, 16000, ["mse"]) == {"mse": 0}


def test_summaries_count_what_has_no_value():
    summary = summarise([{"pesq": 1.0, "snr": math.inf}, {"pesq": 5.0, "snr": 2.0}, {"pesq": math.nan, "snr": 4.0}])
    assert (summary["pesq"].mean, summary["pesq"].std, summary["pesq"].count, summary["pesq"].failures) == (3, 2, 2, 1)
    assert (summary["snr"].mean, summary["snr"].infinite, summary["snr"].failures) == (3, 1, 0)
    assert math.isnan(summarise([{"pesq": math.nan}])["pesq"].mean)
    assert summarise([]) == {}


def test_table(tmp_path: Path):
    rows = [{"pesq": 1.25, "mse": 0.5}, {"pesq": math.nan, "mse": 0.25}]
    write_csv(tmp_path / "a.csv", ["p1", "p2"], rows)
    table = list(csv.reader((tmp_path / "a.csv").read_text().splitlines()))
    assert table == [["", "pesq", "mse", "name"], ["0", "1.25", "0.5", "p1"], ["1", "nan", "0.25", "p2"]]


def test_each_metric_has_a_value():
    pytest.importorskip("pesq")
    rng = np.random.default_rng(2)
    envelope = np.repeat(rng.uniform(0, 1, 20), 1000)
    clean = (rng.normal(0, 0.1, 20000) * envelope).astype(np.float32)
    found = score_pair(clean, clean + rng.normal(0, 0.02, 20000).astype(np.float32), 16000, METRICS)
    assert all(math.isfinite(value) for value in found.values())
