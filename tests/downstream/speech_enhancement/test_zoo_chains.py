"""Modes and chains of the STM32 model zoo from its config file, run whole: the tree of files, the log, resuming, MLflow."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml

from run_downstream import main
from tests.downstream.speech_enhancement import zoo_files
from tests.downstream.speech_enhancement.layouts import valentini
from utility.experiment.checkpoint import load

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the exporter and of MLflow's database


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return valentini(tmp_path_factory.mktemp("valentini"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(source: Path, *words: str) -> int:
    return main(["-u", "stft_mag", "-d", "speech_enhancement", "-c", str(source), *words])


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_training_leaves_the_zoos_tree(here: Path, corpus: Path):
    assert run(zoo_files.tiny(here / "user_config.yaml", corpus, "training", training={"epochs": 1, "save_every": 1})) == 0
    (folder,) = (here / "experiment_outputs").iterdir()
    assert tree(folder) >= {
        *(".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml", "stm32ai_main.log"),
        *("ckpts/best_model_state_dict.pth", "ckpts/checkpoint_epoch_1", "saved_models/best_trained_model.onnx"),
        *("saved_models/trained_model.onnx", "training_logs/training_logs.csv", "training_logs/training_metrics.png"),
        "training_logs/training_snapshot.pth",
    }
    assert (folder / "stm32ai_main.log").read_text().splitlines()[:4] == [
        *("operation_mode : training", "dataset : valentini", "model : STFTTCNN", "training finished")
    ]


@pytest.mark.slow
def test_a_training_goes_on_from_its_snapshot_for_more_epochs(here: Path, corpus: Path):
    assert run(zoo_files.tiny(here / "user_config.yaml", corpus, "training"), "-p", "first") == 0
    snapshot = here / "first/training_logs/training_snapshot.pth"
    longer = zoo_files.tiny(here / "longer.yaml", corpus, "training", training={"epochs": 3, "snapshot_path": str(snapshot)})
    assert run(longer, "-p", "longer") == 0
    with (here / "longer/training_logs/training_logs.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
    straight = zoo_files.tiny(here / "straight.yaml", corpus, "training", training={"epochs": 3})
    assert run(straight, "-p", "straight") == 0
    last = [load(next((here / name).glob("states-*.ckpt")))["Downstream"] for name in ("longer", "straight")]
    assert all((last[0][name] == value).all() for name, value in last[1].items() if hasattr(value, "shape"))


@pytest.mark.slow
def test_chain_tqeb_and_what_follows(here: Path, corpus: Path, capsys):
    changes = {"general": {"saved_models_dir": "models", "display_figures": False}}
    assert run(zoo_files.tiny(here / "user_config.yaml", corpus, "chain_tqeb", **changes), "-p", "run") == 0
    out = capsys.readouterr()
    assert [line.split(" - ")[1].split(":")[0].split(" ")[0] for line in out.out.splitlines()] == [
        *("training", "export", "export", "evaluate", "quantize", "evaluate_quantized", "benchmark")
    ]
    assert "untrained" not in out.err
    files = tree(here / "run")
    assert files >= {f"models/quantized_model_int8{end}.onnx" for end in ("", "_static")} | {"models/best_trained_model.onnx"}
    for folder, title in (("eval_logs", "Float"), ("eval_logs_quantized", "Quantized")):
        means = json.loads((here / "run" / folder / "metrics_dict.json").read_text())
        assert f"{title} stoi : {means['stoi']}" in (here / "run/stm32ai_main.log").read_text().splitlines()
    assert run(here / "user_config.yaml", "-p", "run", "-a") == 0
    assert capsys.readouterr().out == ""  # nothing is left to do
    static, best = (str(here / "run/models" / name) for name in ("quantized_model_int8_static.onnx", "best_trained_model.onnx"))
    for mode, model, made in (
        ("chain_eqe", best, "eval_logs_quantized/metrics_dict.json"),
        ("chain_eqeb", best, "results/initial/benchmark.json"),
        ("chain_qb", best, "results/initial/benchmark.json"),
        ("chain_qd", best, "C_header/ai_model_config.h"),
        ("evaluation", best, "eval_logs/detailed_metrics.csv"),
        ("quantization", best, "saved_models/quantized_model_int8_static.onnx"),
        ("benchmarking", static, "results/initial/benchmark.json"),
        ("deployment", static, "C_header/user_mel_tables.c"),
    ):
        source = zoo_files.tiny(here / f"{mode}.yaml", corpus, mode, model={"onnx_path": model})
        assert run(source, "-p", mode) == 0, mode
        assert made in tree(here / mode)
        assert yaml.safe_load((here / mode / ".hydra/config.yaml").read_text())["operation_mode"] == mode
    assert "untrained" not in capsys.readouterr().err
    assert run(zoo_files.tiny(here / "c.yaml", corpus, "chain_eqe", model={"onnx_path": static}), "-p", "twice") == 2
    assert not (here / "twice/results").exists() and not (here / "twice/stages.json").exists()


@pytest.mark.slow
def test_mlflow_has_the_curves_and_the_evaluations_in_one_run(here: Path, corpus: Path):
    mlflow = pytest.importorskip("mlflow")
    source = zoo_files.tiny(here / "user_config.yaml", corpus, "chain_tqe", mlflow={"uri": "./experiment_outputs/mlruns"})
    assert run(source) == 0
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{here}/experiment_outputs/mlflow.db")
    (found,) = client.search_runs([client.get_experiment_by_name("speech_enhancement_project").experiment_id])
    (folder,) = (path for path in (here / "experiment_outputs").iterdir() if path.is_dir() and path.name[0] == "2")
    assert found.info.run_name == folder.name and found.info.status == "FINISHED"
    for name in ("speech_enhancement.train-loss", "speech_enhancement.dev-si-snr"):
        assert len(client.get_metric_history(found.info.run_id, name)) == 2
    means = json.loads((folder / "eval_logs_quantized/metrics_dict.json").read_text())
    assert found.data.metrics["evaluate_quantized.stoi"] == means["stoi"]
    assert found.data.metrics["evaluate.stoi"] == json.loads((folder / "eval_logs/metrics_dict.json").read_text())["stoi"]
