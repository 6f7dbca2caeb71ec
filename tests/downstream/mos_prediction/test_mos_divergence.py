"""A predictor whose weights have run away: said, ranked last, and neither a traceback nor a number."""

from __future__ import annotations

import math

import pytest
import torch

from downstream.mos_prediction import expert as task
from downstream.mos_prediction import plots, reports
from downstream.mos_prediction.expert import DownstreamExpert
from downstream.mos_prediction.reports import Predictions, write_report
from downstream.mos_prediction.table import Rating
from tests.downstream.mos_prediction.layouts import rated_tones
from utility.errors import CheckpointError

SAMPLES = [Rating(f"{i}.wav", f"s{i % 2}", f"u{i}", 3.0, 2.0 + i) for i in range(4)]


def test_a_report_of_answers_that_are_no_numbers(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(reports, "draw_all", lambda *_: None)
    scores = write_report(tmp_path, Predictions(SAMPLES, [2.1, math.nan, 4.2, math.inf]), bootstrap=3)
    assert scores == {}
    assert "2 of 4 answers are not finite; the predictor has diverged" in capsys.readouterr().out


def test_pictures_show_what_is_finite(monkeypatch, tmp_path):
    figures = []
    monkeypatch.setattr(plots.Picture, "__exit__", lambda self, *_: figures.append(self.figure.axes[0]))
    plots.draw_all(tmp_path, ["a", "a", "b", "b"], [1, 3, 5, 2], [2, math.nan, 4, 3])
    _, utterances, systems = figures
    assert utterances.collections[0].get_offsets().tolist() == [[1, 2], [5, 4], [2, 3]]
    assert systems.collections[0].get_offsets().tolist() == [[3.5, 3.5]]


def test_an_evaluation_of_it_ranks_last_and_its_score_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(task, "draw_all", lambda *_: None)
    table = rated_tones(tmp_path, "train", systems=2, samples=1)
    data, losses = {"train_csv": str(table), "dev_csv": str(table)}, {"mean_score_criterions": [{"criterion_type": "ScalarLoss"}]}
    config = {"datarc": data, "modelrc": {"model_type": "SSLMOS"}, "lossrc": losses}
    expert = DownstreamExpert(4, 160, config, str(tmp_path), mode="train", runner={"eval_dataloaders": ["dev"]}).eval()
    expert.ranking.add(1, -0.5)
    with torch.no_grad():
        expert.model.mean_net_dnn.net[0].weight.fill_(math.nan)
        answers = expert.answer([torch.ones(5, 4)] * 4, SAMPLES).scores.tolist()
        expert._rank(2, Predictions(SAMPLES, answers), Predictions(SAMPLES, answers).metrics())
        assert expert.ranking.ranked == [1, 2]
        with pytest.raises(CheckpointError, match="the answer is not finite"):
            expert.inference([torch.ones(5, 4)], ["a.wav"])
