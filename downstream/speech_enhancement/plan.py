"""Reads the config file of the STM32 model zoo (``-c user_config.yaml``) as stages of training, evaluation, quantisation and so on.

The command line wins: ``-m`` over ``operation_mode``, ``--device`` over ``training.device``, ``-n`` and ``-p`` over ``hydra.run.dir``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from utility.errors import ConfigError, UsageError
from utility.experiment.config import load_config
from utility.experiment.dialect import Dumper
from utility.experiment.plan import Order, Plan, Stage

from .zoo.fields import MODES, at, needs_of
from .zoo.reading import UserConfig, is_foreign, read
from .zoo.stages import Chain
from .zoo.translation import translated

LOG = "stm32ai_main.log"
_MODES = {"train": "training", "evaluate": "evaluation"}


def plan(order: Order) -> Plan | None:
    """The stages of a config of the zoo; None for one of ours.

    Raises:
        ConfigError: every fault of the file at once.
        UsageError: the command line and the file do not go together.
    """
    if not is_foreign(load_config(order.source)):
        return None
    found = read(order.source, order.args["override"], order.now)
    mode = _mode(order, found.config)
    config = translated(found.config, found.warnings)
    chain = _chain(order, found, mode, config)
    stages = _stages(order, chain)
    trains, takes_up = stages[0].mode == "train", bool(order.args["past_exp"] or order.args["auto_resume"])
    if trains and (takes_up or chain.past):  # the number of epochs may have grown since
        found.left.append(f"config.runner.total_epochs={config['runner']['total_epochs']}")
    return Plan(
        stages,
        override=",,".join(found.left) or None,
        resumes=takes_up,
        files=_hydra(order, found, chain.folder),
        log=(LOG, _head(mode, found.config)),
        warnings=tuple(found.warnings),
    )


def _mode(order: Order, config: dict[str, Any]) -> str:
    """The operation mode: of ``-m`` if it is given, else the file's."""
    given = _MODES.get(order.args["mode"]) if "mode" in order.given else None
    mode = given or config.get("operation_mode")
    if "mode" in order.given and given is None:
        return "evaluation"  # inference, on the recordings of -t
    if mode is None:
        raise ConfigError("operation_mode is empty", order.source)
    faults = needs_of(mode, config)
    unused = ("onnx_path", "state_dict_path")
    if mode in MODES and "t" not in MODES[mode] and not _checkpoint(order) and not any(at(config, f"model.{name}") for name in unused):
        faults.append(f"model.onnx_path is empty, which {mode} needs (or model.state_dict_path, or a checkpoint with -e)")
    if faults:
        raise ConfigError(faults, order.source)
    return mode


def _checkpoint(order: Order) -> str | None:
    return order.args["past_exp"] or order.args["init_ckpt"]


def _chain(order: Order, found: UserConfig, mode: str, config: dict[str, Any]) -> Chain:
    typed = order.args["device"] if "device" in order.given else None
    if typed:
        config["downstream_expert"]["evaluation"]["device"] = typed
    past, trains = order.args["past_exp"], "t" in MODES[mode]
    snapshot = at(found.config, "training.snapshot_path") if trains else None
    if snapshot and not Path(snapshot).exists():
        raise ConfigError(f"training.snapshot_path: there is no {snapshot}", order.source)
    file = past if past and not Path(past).is_dir() else None
    return Chain(
        mode,
        config,
        _folder(order, found.config),
        device=typed or at(found.config, "training.device") or "auto",
        evaluation_device=typed or at(found.config, "evaluation.device") or "auto",
        weights=order.args["init_ckpt"] if trains else _checkpoint(order),
        past=(file or (str(Path(snapshot).resolve()) if snapshot else None)) if trains else None,
    )


def _folder(order: Order, config: dict[str, Any]) -> str:
    """The experiment folder: ``-p``, ``-n``, the folder of ``-e``, ``hydra.run.dir``."""
    if order.args["expdir"]:
        return order.args["expdir"]
    if order.args["expname"]:
        return str(Path("result", "downstream", order.args["expname"]))
    if past := order.args["past_exp"]:
        return past if Path(past).is_dir() else str(Path(past).parent)
    wanted = at(config, "hydra.run.dir")
    if not isinstance(wanted, str):
        raise ConfigError(f"hydra.run.dir is {wanted!r}, which names no folder", order.source)
    return wanted


def _stages(order: Order, chain: Chain) -> tuple[Stage, ...]:
    """Those of the operation mode; or the one of ``-m`` with ``-t``."""
    mode = order.args["mode"]
    if "mode" in order.given and (mode == "inference" or (mode == "evaluate" and "evaluate_split" in order.given)):
        if mode == "inference" and not _checkpoint(order):
            raise UsageError("inference needs a trained checkpoint: -e CHECKPOINT_OR_FOLDER or -i CHECKPOINT")
        splits = tuple(order.args["evaluate_split"])
        return (Stage(mode, chain.config, chain.folder, splits, weights=_checkpoint(order), device=chain.evaluation_device),)
    return chain.stages()


def _hydra(order: Order, found: UserConfig, folder: str) -> dict[str, str]:
    """What Hydra leaves in ``.hydra/``: the config as it was read, the folder, and what the command line changed."""
    job = {"name": "run_downstream", "config_name": Path(order.source).stem, "override_dirname": ",".join(found.overrides)}
    settings = {
        "hydra": {"run": {"dir": folder}, "job": job, "runtime": {"cwd": str(Path.cwd()), "output_dir": str(Path(folder).absolute())}}
    }
    return {
        ".hydra/config.yaml": _dumped({name: value for name, value in found.config.items() if name != "hydra"}),
        ".hydra/hydra.yaml": _dumped(settings),
        ".hydra/overrides.yaml": _dumped(found.overrides),
    }


def _dumped(content: Any) -> str:
    return yaml.dump(content, Dumper=Dumper, sort_keys=False, allow_unicode=True)


def _head(mode: str, config: dict[str, Any]) -> tuple[str, ...]:
    """The first lines of the log."""
    told = {"dataset": at(config, "dataset.name"), "model": at(config, "model.onnx_path") or at(config, "model.model_type")}
    return (f"operation_mode : {mode}", *(f"{name} : {value}" for name, value in told.items() if value))
