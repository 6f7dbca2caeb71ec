"""The helper programs of the recipes, and the table over all test sets."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from downstream.mos_prediction.recipes.summary import best_scores, kinds, metrics_of, read_results
from downstream.mos_prediction.utils import (
    calculate_metrics,
    combine_datasets,
    inspect_csv,
    prettytable_results,
    print_seeds_results,
    subsample,
)
from tests.downstream.mos_prediction.layouts import rated_tones
from utility.errors import DataError

COLUMNS = ("wav_path", "system_id", "sample_id", "avg_score", "answer")


def results(folder: Path, name: str, noise: float, seed: int = 0) -> None:
    """Results on a test set: ten systems of four recordings each."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.linspace(1.2, 4.8, 10), 4) + rng.normal(0, 0.1, 40)
    answers = truth + noise * rng.normal(0, 1, 40)
    (folder / name).mkdir(parents=True)
    with (folder / name / "results.csv").open("w", newline="") as file:
        rows = [(f"{number}.wav", f"s{number // 4}", f"u{number}", truth[number], answers[number]) for number in range(40)]
        csv.writer(file).writerows([COLUMNS, *rows])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_metrics_as_sheet_prints_them(golden, capsys):
    folder = golden("mos/metrics")
    expected = json.loads((folder / "expected.json").read_text())
    checked = 0
    for name, case in expected.items():
        if case["printed"] and "nan" not in case["printed"]:
            assert calculate_metrics.main(["--csv", str(folder / f"{name}.csv")]) == 0
            assert capsys.readouterr().out.strip() == case["printed"].strip()
            checked += 1
    assert checked >= 3


def test_metrics_of_broken_files(tmp_path, capsys):
    path = tmp_path / "a.csv"
    path.write_text("system_id,avg_score,answer\ns,1,x\n")
    assert calculate_metrics.main(["--csv", str(path)]) == 2
    assert "line 2: 'x' or '1' is no number" in capsys.readouterr().err
    assert calculate_metrics.main(["--csv", str(path), "--gt_column", "score"]) == 2
    assert "has no column 'score'; did you mean 'avg_score'?" in capsys.readouterr().err


def test_the_table_of_one_predictor(tmp_path, capsys):
    for number, name in enumerate(("tmhintqi_test", "bvcc_test", "own_set")):
        results(tmp_path, name, 0.3, number)
    assert prettytable_results.main(["--dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in printed[2:5]] == ["bvcc_test", "tmhintqi_test", "own_set"]
    found = read_results(tmp_path)
    mean = (found["bvcc_test"]["sys_SRCC"] + found["tmhintqi_test"]["utt_SRCC"] + found["own_set"]["sys_SRCC"]) / 3
    assert f"{mean:.3f}" in printed[-1]
    assert prettytable_results.main(["--dir", str(tmp_path / "none")]) == 2


def test_best_scores(tmp_path, capsys):
    for model, noise in (("good", 0.2), ("bad", 1.5)):
        for name in ("bvcc_test", "nisqa_FOR"):
            results(tmp_path / model, name, noise)
    models = {model: read_results(tmp_path / model) for model in ("good", "bad")}
    found = best_scores(models)
    assert found["good"] == (0, 1)
    keys = {"bvcc_test": "sys_SRCC", "nisqa_FOR": "utt_SRCC"}
    pairs = [(models["bad"][name][key], models["good"][name][key]) for name, key in keys.items()]
    assert found["bad"] == pytest.approx((np.mean([a - b for a, b in pairs]), np.mean([a / b for a, b in pairs])))
    errors = best_scores(models, "MSE")
    assert errors["good"] == (0, 1)
    utterances = [(models["bad"][name]["utt_LCC"], models["good"][name]["utt_LCC"]) for name in keys]
    assert best_scores(models, "LCC", all_utt=True)["bad"][0] == pytest.approx(np.mean([a - b for a, b in utterances]))
    assert errors["bad"][0] > 0
    assert errors["bad"][1] > 1
    assert prettytable_results.main(["--dir", str(tmp_path / "good"), str(tmp_path / "bad")]) == 0
    printed = capsys.readouterr().out
    assert f"{100 * found['bad'][1]:.1f} %" in printed
    assert "nisqa_FOR (utt SRCC)" in printed
    with pytest.raises(DataError, match="no test set in common"):
        best_scores({"good": models["good"], "none": {}})


def test_a_best_score_below_zero_has_no_ratio(tmp_path, capsys):
    found = best_scores({"a": {"x": {"sys_SRCC": -0.2}, "y": {"sys_SRCC": 0.5}}, "b": {"x": {"sys_SRCC": -0.8}, "y": {"sys_SRCC": 0.4}}})
    assert found == {"a": (0, 1), "b": (pytest.approx(-0.35), pytest.approx(0.8))}
    results(tmp_path / "up", "bvcc_test", 0.2)
    results(tmp_path / "down", "bvcc_test", 0.2)
    for path in tmp_path.rglob("results.csv"):
        header, *lines = path.read_text().splitlines()
        place = header.split(",").index("answer")
        turned = [[*(cells := line.split(","))[:place], str(-float(cells[place])), *cells[place + 1 :]] for line in lines]
        path.write_text("\n".join([header, *map(",".join, turned)]) + "\n")
    assert prettytable_results.main(["--dir", str(tmp_path / "up"), str(tmp_path / "down")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].count("undefined") == 2


def test_an_undefined_number_is_said(tmp_path, capsys):
    (tmp_path / "bvcc_test").mkdir()
    (tmp_path / "bvcc_test/results.csv").write_text("system_id,avg_score,answer\ns,1,2\ns,2,2.5\n")
    assert metrics_of(tmp_path / "bvcc_test/results.csv")["sys_SRCC"] is None
    assert prettytable_results.main(["--dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "undefined" in printed
    assert "headline" not in printed
    assert "nan" not in printed


def test_the_table_over_seeds(tmp_path, capsys):
    for seed, sets in (
        (7, ("tmhintqi_test", "bvcc_test", "own")),
        (30, ("bvcc_test", "tmhintqi_test")),
        (100, ("tmhintqi_test", "bvcc_test")),
    ):
        for name in sets:
            results(tmp_path / f"mine-{seed}/results/checkpoint-best", name, 0.5, seed)
    (tmp_path / "mine-too-7").mkdir()
    words = ["--tag", "mine", "--exp_root", str(tmp_path)]
    assert print_seeds_results.main(words) == 0
    captured = capsys.readouterr()
    assert captured.err == "seed 30 lacks own\nseed 100 lacks own\n"
    printed = captured.out.splitlines()
    assert [line.split("|")[1].strip() for line in printed[2:4]] == ["bvcc_test", "tmhintqi_test"]
    own = [read_results(tmp_path / f"mine-{seed}/results/checkpoint-best") for seed in (7, 30, 100)]
    errors = [found["bvcc_test"]["utt_MSE"] for found in own]
    assert printed[2].split("|")[2].strip() == f"{np.mean(errors):.3f} ± {np.std(errors, ddof=1):.3f}"
    means = [(found["bvcc_test"]["sys_SRCC"] + found["tmhintqi_test"]["utt_SRCC"]) / 2 for found in own]
    assert printed[4].endswith(f"over 3 seeds (7, 30, 100): {np.mean(means):.3f} ± {np.std(means, ddof=1):.3f}")
    assert print_seeds_results.main([*words, "--seeds", "7"]) == 0
    assert "±" not in capsys.readouterr().out
    for more, message in (
        (["--tag", "mina"], "did you mean 'mine'"),
        (["--seeds", "8"], "the seeds 7, 30, 100"),
        (["--results", "x"], "no results"),
    ):
        assert print_seeds_results.main([*words, *more]) == 2
        assert message in capsys.readouterr().err


def test_seeds_without_a_set_in_common(tmp_path, capsys):
    for seed, name in ((1, "bvcc_test"), (2, "somos_test")):
        results(tmp_path / f"mine-{seed}/results/checkpoint-best", name, 0.5)
    assert print_seeds_results.main(["--tag", "mine", "--exp_root", str(tmp_path)]) == 2
    assert capsys.readouterr().err.endswith("the trainings with seeds 1, 2 have no test set in common\n")


def test_kinds_are_those_of_the_benchmark():
    distorted = {name for name, kind in kinds().items() if kind == "distorted" and not name.startswith("vmc23")}
    assert distorted == {
        "nisqa_FOR",
        "nisqa_LIVETALK",
        "nisqa_P501",
        "tmhintqi_test",
        "tmhint_qi_s_test",
        "tcd_voip_test",
        "vmc24_track3_test",
    }


def test_joining_keeps_every_column_in_order(tmp_path):
    (tmp_path / "a.csv").write_text("wav_path,score\nx,1\n")
    (tmp_path / "b.csv").write_text("wav_path,system_id,score\ny,s,2\n")
    words = ["--original-paths", str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--out", str(tmp_path / "out.csv")]
    assert combine_datasets.main(words) == 0
    assert (tmp_path / "out.csv").read_bytes() == b"wav_path,score,system_id\r\nx,1,\r\ny,2,s\r\n"
    assert combine_datasets.main([*words, "--pool"]) == 2


def test_pooling_tells_data_sets_apart(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text("wav_path,score,system_id,sample_id\nx,1,s,u\n")
    words = ["--original-paths", str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--out", str(tmp_path / "out.csv"), "--pool"]
    assert combine_datasets.main(words) == 0
    assert [(row["sample_id"], row["domain_idx"]) for row in rows(tmp_path / "out.csv")] == [("0_u", "0"), ("1_u", "1")]


def test_drawing_keeps_all_ratings_of_a_sample(tmp_path, capsys):
    table = rated_tones(tmp_path, "all")
    drawn = []
    for number in range(2):
        out = tmp_path / f"{number}.csv"
        assert subsample.main(["--original-path", str(table), "--out", str(out), "--num-samples", "5", "--seed", "3"]) == 0
        drawn.append(rows(out))
    assert drawn[0] == drawn[1]
    assert len({row["sample_id"] for row in drawn[0]}) == 5
    assert len(drawn[0]) == 10
    assert subsample.main(["--original-path", str(table), "--out", str(tmp_path / "x.csv"), "--ratio", "0.25"]) == 0
    assert len({row["sample_id"] for row in rows(tmp_path / "x.csv")}) == 3
    assert subsample.main(["--original-path", str(table), "--out", str(tmp_path / "x.csv"), "--num-samples", "99"]) == 2
    assert "is more than the 12 samples" in capsys.readouterr().err


def test_looking_into_a_file(tmp_path, capsys):
    table = rated_tones(tmp_path, "all")
    assert inspect_csv.main([str(table)]) == 0
    printed = capsys.readouterr().out
    assert "24 rows, 12 recordings, 3 systems" in printed
    assert "2 listeners, 2.0 ratings a recording" in printed
    assert "16000 Hz (12)" in printed
    infos = [soundfile.info(path) for path in (tmp_path / "all").glob("*.wav")]
    assert f"median {np.median([info.duration for info in infos]):.2f} s" in printed
    assert not math.isnan(float(printed.rsplit(" ", 1)[1]))
