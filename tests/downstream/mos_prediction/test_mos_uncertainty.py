"""How likely scores are under the uncertainty that a predictor tells."""

from __future__ import annotations

import csv
import json

import pytest

from downstream.mos_prediction.losses import Criterion
from downstream.mos_prediction.reports import Predictions, write_report
from downstream.mos_prediction.table import Rating
from tests.downstream.mos_prediction.layouts import override, rated_tones
from utility.metrics.mos import NLL, gaussian_nll

EXPERT = "config.downstream_expert"


@pytest.mark.parametrize(("name", "loss"), [("Gaussian", "GaussianNLLLoss"), ("Laplace", "LaplaceNLLLoss")])
def test_a_report_tells_it_after_the_loss(name, loss, tmp_path, capsys):
    samples = [Rating(f"{i}.wav", f"s{i % 2}", f"u{i}", 3.0, 2.0 + i) for i in range(4)]
    answers, spread = [2.5, 3.0, 3.0, 5.0], [0.0, 0.2, -0.1, 0.5]
    kinds = Criterion([{"criterion_type": loss}, {"criterion_type": "ScalarLoss"}], "losses").distributions()
    scores = write_report(tmp_path, Predictions(samples, answers, spread, distributions=kinds))
    score = scores[f"utt_{name}_NLL"]
    assert score.value == NLL[name]([2, 3, 4, 5], answers, spread)
    assert not score.higher_is_better
    log = (tmp_path / "inference.log").read_text()
    assert f"Mean log variance: 0.150\n{name} negative log likelihood: {score.value:.3f}\n" in log
    assert log == capsys.readouterr().out
    assert sum("NLL" in key for key in scores) == 1
    certain = write_report(tmp_path, Predictions(samples, answers, distributions=kinds))
    assert not any("NLL" in key for key in certain)


@pytest.mark.parametrize("answer", [float("nan"), float("inf"), 3.0])
def test_what_is_not_finite_is_undefined(answer, tmp_path, capsys):
    samples = [Rating(f"{i}.wav", "s", f"u{i}", 3.0, 2.0 + i) for i in range(2)]
    scores = write_report(tmp_path, Predictions(samples, [answer, 2.0], [-1e4, 0.0], distributions={"Gaussian", "Laplace"}))
    assert not any("NLL" in key for key in scores)
    printed = capsys.readouterr().out
    assert "Gaussian negative log likelihood: undefined\nLaplace negative log likelihood: undefined\n" in printed


@pytest.mark.slow
def test_inference_of_a_trained_predictor(tmp_path, server):
    train, dev = rated_tones(tmp_path, "train"), rated_tones(tmp_path, "dev", seed=1)
    losses = [{"criterion_type": "GaussianNLLLoss"}]
    fields = (f"{EXPERT}.modelrc.model_type=SSLMOS_U", f"{EXPERT}.lossrc.mean_score_criterions={losses}")
    steps = ("config.runner.total_steps=2", "config.runner.eval_step=2", "config.runner.save_step=2", "config.runner.tensorboard=False")
    run = tmp_path / "run"
    words = ["-m", "train", "-u", "fbank", "-d", "mos_prediction", "-p", str(run), "--device", "cpu"]
    process = server.run([*words, "-o", override(train, dev, *fields, *steps)], tmp_path)
    assert process.status == 0, process.err
    words = ["-m", "evaluate", "-e", str(run / "checkpoint-best.pkl"), "-t", "inference", "--device", "cpu"]
    process = server.run([*words, "-o", f"{EXPERT}.inference.csv={dev},,{EXPERT}.inference.outdir={tmp_path}/out"], tmp_path)
    assert process.status == 0, process.err
    with (tmp_path / "out/results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = gaussian_nll(*([float(row[name]) for row in rows] for name in ("avg_score", "answer", "logvar")))
    (path,) = run.glob("results/*/inference-*.json")
    assert json.loads(path.read_text())["scores"]["utt_Gaussian_NLL"]["value"] == pytest.approx(expected, rel=1e-6)
    assert f"Gaussian negative log likelihood: {expected:.3f}" in (tmp_path / "out/inference.log").read_text()
