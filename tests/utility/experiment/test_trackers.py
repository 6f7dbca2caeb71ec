"""Where the numbers of a run go."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from utility.errors import MissingDependencyError, ToolkitError
from utility.experiment.mlflow_run import MlflowRun, Store
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


OF_OTHERS = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # between MLflow and its database


@pytest.fixture
def mlflow():
    return pytest.importorskip("mlflow")


def history(mlflow, uri: str, experiment: str, name: str) -> list[tuple[str, int, float]]:
    """(run, step, value) of a metric, read by MLflow's own client."""
    client = mlflow.MlflowClient(tracking_uri=uri)
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    found = [(run.info.run_name, m.step, m.value) for run in runs for m in client.get_metric_history(run.info.run_id, name)]
    return sorted(found)


@OF_OTHERS
def test_mlflow_gets_the_same_numbers_and_a_resumed_run_goes_on_in_its_own(tmp_path, mlflow):
    store = Store(str(tmp_path / "store/mlruns"), "an experiment")
    for number, folder in ((1, "first"), (2, "first"), (3, "second")):
        tracker = Tracker(tmp_path / folder, mlflow=store) if (tmp_path / folder).mkdir(exist_ok=True) is None else None
        tracker.add_scalar("task/dev-acc@1", number / 4, global_step=number)
        tracker.close()
    found = history(mlflow, f"sqlite:///{tmp_path}/store/mlflow.db", "an experiment", "task.dev-acc.1")
    assert found == [("first", 1, 0.25), ("first", 2, 0.5), ("second", 3, 0.75)]


@pytest.mark.slow
@OF_OTHERS
def test_mlflow_without_the_former_run_begins_a_new_one(tmp_path, mlflow):
    (tmp_path / "mlflow.json").write_text('{"run": "gone"}')
    run = MlflowRun(tmp_path, Store(str(tmp_path / "other")), {"mode": "training"})
    run.close()
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/other/mlflow.db")
    (only,) = client.search_runs([client.get_experiment_by_name("Default").experiment_id])
    assert only.data.params == {"mode": "training"} and only.info.status == "FINISHED"
    assert only.info.run_id in (tmp_path / "mlflow.json").read_text()


@OF_OTHERS
def test_a_store_that_cannot_be_used_is_one_sentence(tmp_path, mlflow):
    with pytest.raises(ToolkitError, match="MLflow cannot use nonsense://somewhere"):
        MlflowRun(tmp_path, Store("nonsense://somewhere"))


def test_absent_mlflow_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingDependencyError, match="pip install mlflow"):
        Tracker(tmp_path, mlflow=Store())
