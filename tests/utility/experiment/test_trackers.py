"""Where the numbers of a run go."""

from __future__ import annotations

import json
import sys
import types

import pytest
import torch

from utility.errors import MissingDependencyError
from utility.experiment.trackers import METRICS, Tracker


def test_lines_are_json_whatever_the_numbers(tmp_path):
    tracker = Tracker(tmp_path)
    tracker.write_line({"loss": float("nan"), "nested": {"a": [float("inf")]}, "acc": 0.5, "epoch": 7, "time": 8}, step=1, epoch=0)
    tracker.close()
    (line,) = [json.loads(text, parse_constant=pytest.fail) for text in (tmp_path / METRICS).read_text().splitlines()]
    assert (line["loss"], line["nested"], line["acc"]) == ("nan", {"a": ["inf"]}, 0.5)
    assert (line["step"], line["epoch"], line["task/epoch"], line["task/time"]) == (1, 0, 7, 8)


def test_scalars_are_collected_and_tensors_are_numbers(tmp_path):
    tracker = Tracker(tmp_path)
    tracker.add_scalar("task/dev-acc", torch.tensor([0.25]), global_step=3)
    assert tracker.take() == {"task/dev-acc": 0.25}
    assert tracker.take() == {}
    tracker.close()


def test_other_methods_do_nothing_without_an_event_file():
    tracker = Tracker()
    tracker.add_figure("a", object(), global_step=1)
    tracker.add_text("a", "b")
    with pytest.raises(AttributeError):
        tracker.no_such_method()


def test_event_files_hold_the_scalars(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = Tracker(tmp_path, tensorboard=True)
    tracker.add_scalar("task/dev-acc", 0.5, global_step=2)
    tracker.add_text("note", "text", global_step=2)
    tracker.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("task/dev-acc")] == [(2, 0.5)]


def test_mlflow_gets_the_same_numbers(tmp_path, monkeypatch):
    calls = []
    stub = types.ModuleType("mlflow")
    stub.start_run = lambda **kwargs: calls.append(("start", kwargs["run_name"]))
    stub.log_metric = lambda name, value, step: calls.append((name, value, step))
    stub.end_run = lambda: calls.append(("end",))
    monkeypatch.setitem(sys.modules, "mlflow", stub)
    tracker = Tracker(tmp_path, mlflow=True)
    tracker.add_scalar("task/dev-acc", 0.5, global_step=2)
    tracker.close()
    assert calls == [("start", tmp_path.name), ("task.dev-acc", 0.5, 2), ("end",)]


def test_absent_mlflow_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingDependencyError, match="pip install mlflow"):
        Tracker(tmp_path, mlflow=True)
