"""One run in MLflow: curves of a training and, in the same run, what its checkpoints are evaluated to.

Nothing of MLflow's global state is used. A local folder as the address of the store means a database in it: today's MLflow refuses folders
of files. ``X/mlruns`` means ``X/mlflow.db`` beside it, which is what ``mlflow ui`` opens when it is started in ``X``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utility.errors import MissingDependencyError, ToolkitError
from utility.experiment.texts import write_text

FILE = "mlflow.json"  # in the experiment folder: which run is this folder's
_FOREIGN = re.compile(r"[^\w\-. ]")  # that names of metrics must not have


@dataclass(frozen=True)
class Store:
    """Where runs are kept.

    Args:
        uri: address of the tracking server, or a local folder; None: MLflow's default (``MLFLOW_TRACKING_URI``, ``mlflow.db``).
        experiment: name of the experiment; None: MLflow's default (``MLFLOW_EXPERIMENT_NAME``, ``Default``).
    """

    uri: str | None = None
    experiment: str | None = None


class MlflowRun:
    """The run of an experiment folder: the one that it had before, if the store still has it, or a new one of the folder's name.

    Args:
        folder: the experiment folder.
        store: where runs are kept.
        params: what is noted of a new run.

    Raises:
        MissingDependencyError: MLflow is not installed.
        ToolkitError: the store cannot be used.
    """

    def __init__(self, folder: Path, store: Store, params: Mapping[str, Any] | None = None):
        client_class, self._failure = _mlflow()
        folder = Path(folder).absolute()
        self._where = store.uri or "its default store"
        with self._one_sentence():
            self._client = client_class(tracking_uri=_address(store.uri))
            self._id = self._former(folder) or self._begin(folder, store, params or {})
            self._client.update_run(self._id, status="RUNNING")

    def log(self, name: str, value: float, step: int = 0) -> None:
        """One number; of its name, characters that MLflow refuses become dots."""
        with self._one_sentence():
            self._client.log_metric(self._id, _FOREIGN.sub(".", name), value, step=step)

    def close(self) -> None:
        """The run is finished for now."""
        with self._one_sentence():
            self._client.set_terminated(self._id)

    def _former(self, folder: Path) -> str | None:
        try:
            noted = json.loads((folder / FILE).read_text(encoding="utf-8"))["run"]
            return self._client.get_run(noted).info.run_id
        except (OSError, ValueError, KeyError, TypeError, self._failure):
            return None

    def _begin(self, folder: Path, store: Store, params: Mapping[str, Any]) -> str:
        name = store.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "Default"
        known = self._client.get_experiment_by_name(name)
        place = _artifacts(store.uri)
        experiment = known.experiment_id if known else self._client.create_experiment(name, artifact_location=place)
        run = self._client.create_run(experiment, run_name=folder.name).info.run_id
        for key, value in params.items():
            self._client.log_param(run, key, value)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / FILE, json.dumps({"run": run, "experiment": name}) + "\n")
        return run

    def _one_sentence(self) -> _Sentence:
        return _Sentence(self._failure, self._where)


class _Sentence:
    """MLflow's failures as one sentence."""

    def __init__(self, failure: type[Exception], where: str):
        self.failure, self.where = failure, where

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, self.failure):
            raise ToolkitError(f"MLflow cannot use {self.where}: {str(error).splitlines()[0]}") from error


def require_mlflow() -> None:
    """Does nothing where MLflow is installed.

    Raises:
        MissingDependencyError: it is not.
    """
    _mlflow()


def _mlflow() -> tuple[Any, type[Exception]]:
    """The class of clients, and what they raise."""
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise MissingDependencyError("mlflow", "runner.mlflow: true") from error
    return MlflowClient, MlflowException


def _local(uri: str | None) -> Path | None:
    """The folder that an address means, if it means one."""
    if uri is None or (re.match(r"[\w+]+:", uri) and not uri.startswith("file:")) or uri == "databricks":
        return None
    folder = Path(uri.removeprefix("file://").removeprefix("file:")).expanduser().absolute()
    return folder.parent if folder.name == "mlruns" else folder


def _address(uri: str | None) -> str | None:
    folder = _local(uri)
    if folder is None:
        return uri
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'mlflow.db'}"


def _artifacts(uri: str | None) -> str | None:
    folder = _local(uri)
    return (folder / "mlruns").as_uri() if folder else None
