"""The values of ``user_config.yaml`` as a config of this task."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from .fields import at

TRACKING_URI = "./experiment_outputs/mlruns"
_ELSEWHERE = ("device", "epochs", "optimizer", "optimizer_arguments", "snapshot_path", "onnx_version")
_SECTIONS = ("dataset", "model_specific", "preprocessing", "quantization", "evaluation", "tools", "benchmarking", "deployment")
_DISPLAY = "general.display_figures: figures are written into files, and not shown"
_CLOUD = "tools.stedgeai.on_cloud: ST's cloud is not used here; stedgeai on this machine measures if it is installed, and onnxruntime"
_NO_MLFLOW = "mlflow: the package 'mlflow' is not installed, so this run is not logged there: pip install mlflow"


def translated(config: Mapping[str, Any], warnings: list[str]) -> dict[str, Any]:
    """A config with the sections ``runner``, ``optimizer`` and ``downstream_expert``.

    Args:
        config: the file, read and checked.
        warnings: grows by sentences about what is done otherwise here.
    """
    training = dict(config.get("training") or {})
    runner = {
        "gradient_clipping": float("inf"),
        "gradient_accumulate_steps": 1,
        "log_epoch": 1,
        "eval_epoch": 1,
        "save_epoch": 1,
        "max_keep": 1,
        "eval_dataloaders": ["dev"],
        "total_epochs": training.get("epochs") or 1,
        **_tracking(config, warnings),
    }
    optimizer = {
        "name": "TorchOptim",
        "torch_optim_name": training.get("optimizer") or "Adam",
        **(training.get("optimizer_arguments") or {}),
    }
    optimizer.setdefault("lr", 1e-3)
    return {"runner": runner, "optimizer": optimizer, "downstream_expert": _task(config, training, warnings)}


def _tracking(config: Mapping[str, Any], warnings: list[str]) -> dict[str, Any]:
    if config.get("mlflow") is None:
        return {}
    if find_spec("mlflow") is None:
        warnings.append(_NO_MLFLOW)
        return {}
    experiment = at(config, "general.project_name") or "<unnamed>"
    return {"mlflow": True, "mlflow_uri": at(config, "mlflow.uri") or TRACKING_URI, "mlflow_experiment": experiment}


def _task(config: Mapping[str, Any], training: Mapping[str, Any], warnings: list[str]) -> dict[str, Any]:
    general = config.get("general") or {}
    if general.get("display_figures"):
        warnings.append(_DISPLAY)
    kept = {name: general[name] for name in ("saved_models_dir", "gpu_memory_limit") if general.get(name) is not None}
    task = {name: dict(config.get(name) or {}) for name in _SECTIONS}
    task["dataset"].setdefault("name", "valentini")
    if at(task, "tools.stedgeai.on_cloud"):
        warnings.append(_CLOUD)
        task["tools"]["stedgeai"] = task["tools"]["stedgeai"] | {"on_cloud": False}
    return {
        **task,
        "general": kept,
        "model": {"model_type": "STFTTCNN", **_filled(config.get("model") or {})},
        "training": _filled({name: value for name, value in training.items() if name not in _ELSEWHERE}),
    }


def _filled(section: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in section.items() if value is not None}
