"""The calls of ``run_downstream.py`` that the stages make, from the folder of a recipe."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from utility.errors import ConfigError, ToolkitError, UsageError
from utility.experiment.config import load_config

from .options import whole

ENTRY = Path(__file__).resolve().parents[3] / "run_downstream.py"
EXPERT = "config.downstream_expert"
SPECTROGRAM = ["-u", "stft_mag", "-g", str(Path(__file__).resolve().parents[1] / "stft.yaml")]


class StageError(ToolkitError):
    """A called program ended with an error, which it has told itself."""


def config_path(name: str) -> Path:
    """The file of ``--conf``, with or without ``.yaml``.

    Raises:
        ConfigError: there is none.
    """
    path = Path(name)
    for candidate in (path, path.with_name(f"{path.name}.yaml"), path.with_name(f"{path.name}.yml")):
        if candidate.is_file():
            return candidate
    there = ", ".join(sorted(own.stem for own in path.parent.glob("*.yaml"))) if path.parent.is_dir() else ""
    raise ConfigError(f"there is no config file {path}" + (f"; {path.parent} has {there}" if there else ""), "--conf")


def upstream_options(config: Mapping[str, Any]) -> list[str]:
    """``-u`` and the hidden state, of a config in SHEET's terms."""
    if config.get("model_input") == "mag_sgram":
        return list(SPECTROGRAM)
    params = config.get("model_params") or {}
    return ["-u", str(params.get("s3prl_name", "wav2vec2")), "-l", str(params.get("ssl_model_layer_idx", -1)), "-f"]


def override(fields: Mapping[str, object]) -> list[str]:
    """``-o`` for fields of the expert's config; those that are None or empty are left out."""
    parts = [f"{EXPERT}.{name}={_literal(value)}" for name, value in fields.items() if value not in (None, "", [])]
    return ["-o", ",,".join(parts)] if parts else []


def _literal(value: object) -> str:
    return repr(value) if isinstance(value, (str, list, dict)) else str(value)


def train(config: Path, expdir: Path, seed: str, fields: Mapping[str, object], resume: str, options: Mapping[str, str]) -> None:
    """Trains into ``expdir``, or goes on from the checkpoint ``resume``."""
    run = ["-m", "train", "-d", "mos_prediction"]
    if resume:
        call([*run[:2], "-e", resume], options)
        return
    call([*run, *upstream_options(load_config(config)), "-c", config, "-p", expdir, "--seed", seed, *override(fields)], options)


def evaluate(checkpoint: str | Path, work: str, fields: Mapping[str, object], options: Mapping[str, str]) -> None:
    """Does ``-t work`` with a checkpoint."""
    call(["-m", "evaluate", "-e", checkpoint, "-t", work, *override(fields)], options)


def call(arguments: Sequence[object], options: Mapping[str, str]) -> None:
    """Runs ``run_downstream.py``; with ``n_gpus`` above one, a process each.

    Raises:
        StageError: it ended with an error.
        SystemExit: it was ended by a signal, which ends all.
    """
    gpus = whole(options, "n_gpus") if options.get("n_gpus") else 1
    if gpus < 1:
        raise UsageError(f"--n_gpus must be 1 or more, not {gpus}")
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", str(gpus)] if gpus > 1 and list(arguments[:2]) == ["-m", "train"] else []
    device = ["--device", options["device"]] if options.get("device") else []
    line = [sys.executable, *launcher, str(ENTRY), *map(str, arguments), *device]
    print("+ " + shlex.join(line[1:]), file=sys.stderr, flush=True)
    status = status_of(line, {"PYTHONIOENCODING": "UTF-8", "MPLBACKEND": "Agg", **os.environ})
    if status < 0 or status > 128:
        raise SystemExit(128 - status if status < 0 else status)
    if status:
        raise StageError(f"run_downstream.py ended with status {status}")


def status_of(line: Sequence[str], environment: Mapping[str, str]) -> int:
    """Runs a program to its end, whatever signals come: Ctrl-C reaches it by itself, SIGTERM is handed on, and it needs time to save."""
    with subprocess.Popen(line, env=environment) as process:
        before = signal.signal(signal.SIGTERM, lambda number, frame: process.send_signal(number))
        try:
            while True:
                try:
                    return process.wait()
                except KeyboardInterrupt:
                    continue
        finally:
            signal.signal(signal.SIGTERM, before)
