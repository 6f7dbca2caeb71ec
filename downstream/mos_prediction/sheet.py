"""SHEET's config files and checkpoints in this task's terms (specs/mos-prediction.md, 8 and 9)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from utility.errors import CheckpointError, ConfigError, UnknownNameError
from utility.training.fields import check_fields

from .settings import LOSSES, Inference, Stacking, Store

TRAINING = {
    "train_max_steps": "total_steps",
    "gradient_accumulate_steps": "gradient_accumulate_steps",
    "log_interval_steps": "log_step",
    "eval_and_save_interval_steps": "eval_step",
}
SCHEDULERS = {"stepLR": "StepLR", "multistep": "MultiStepLR"}
WARMUP = "WarmupLR"
OBSOLETE = ("listener_score_criterion_type", "listener_score_criterion_params", "listener_score_criterion_weight")
WITHOUT_EFFECT = (
    *("dataset_type", "collater_type", "trainer_type", "pin_memory", "allow_cache", "load_wav_cache", "pref_criterions"),
    *("version", "outdir", "train_csv_path", "dev_csv_path", "additional_config", "init_checkpoint", "resume", "verbose", "rank", "seed"),
    *("local_rank", "distributed", "config", "num_listeners", "freeze-mods", "categorical", "meta_model_type", "meta_model_params"),
)
FIELDS = (
    *TRAINING,
    *LOSSES,
    *WITHOUT_EFFECT,
    *("sampling_rate", "model_input", "use_phoneme", "symbols", "model_type", "model_params", "num_domains", "inference_mode"),
    *("train_batch_size", "test_batch_size", "padding_mode", "wav_only", "num_workers", "dev_samples_per_eval_loop", "categorical_step"),
    *("optimizer_type", "optimizer_params", "grad_norm", "scheduler_type", "scheduler_params"),
    *("keep_nbest_models", "patience", "best_model_criterion", "init-mods"),
)
ENCODER = ("ssl_module", "s3prl_name", "ssl_model_output_dim", "ssl_model_layer_idx")
UNCLIPPED = ("LDNet", "UTMOS", "AlignNet", "AlignNet_U")
PREFIX = "ssl_model.upstream.model."


def is_sheet(config: Mapping[str, Any]) -> bool:
    """Whether a config is one of SHEET's."""
    return "model_type" in config and "downstream_expert" not in config


def translated(config: Mapping[str, Any], trained_there: bool = False) -> dict[str, Any]:
    """This task's config for one of SHEET's.

    Args:
        config: the whole file.
        trained_there: it belongs to a checkpoint of SHEET, whose LDNet, UTMOS and AlignNet are never clipped, whatever it says.

    Raises:
        ConfigError: unknown fields, all at once, or fields of SHEET's older releases.
    """
    if old := [name for name in OBSOLETE if name in config]:
        raise ConfigError(f"{old[0]} is of an old release, which SHEET itself passes over; write listener_score_criterions", "config")
    check_fields(config, FIELDS, ("model_type",), source="config")
    if config.get("sampling_rate", 16000) != 16000:
        raise ConfigError(f"sampling_rate must be 16000, not {config['sampling_rate']}", "config")
    return {"runner": _runner(config), **_optimisation(config), "downstream_expert": _expert(config, trained_there)}


def upstream_of(config: Mapping[str, Any]) -> tuple[str, int | None]:
    """The name of the upstream that a config asks for, and the number of its hidden state (-1: the last); None: no choice of states."""
    if config.get("model_input") == "mag_sgram":
        return "stft_mag", None
    params = config.get("model_params") or {}
    return str(params.get("s3prl_name", "wav2vec2")), int(params.get("ssl_model_layer_idx", -1))


def _runner(config: Mapping[str, Any]) -> dict[str, Any]:
    runner = {ours: config[theirs] for theirs, ours in TRAINING.items() if config.get(theirs) is not None}
    runner = {"total_steps": 100000, "log_step": 100, "eval_step": 100, "gradient_accumulate_steps": 1, **runner}
    runner |= {"save_step": runner["eval_step"], "max_keep": 1, "eval_dataloaders": ["dev"]}
    return runner | {"gradient_clipping": config["grad_norm"] if (config.get("grad_norm") or 0) > 0 else math.inf}


def _optimisation(config: Mapping[str, Any]) -> dict[str, Any]:
    given = {"name": "TorchOptim", "torch_optim_name": config.get("optimizer_type") or "Adam", **(config.get("optimizer_params") or {})}
    sections: dict[str, Any] = {"optimizer": given}
    if kind := config.get("scheduler_type"):
        sections["scheduler"] = _scheduler(kind, dict(config.get("scheduler_params") or {}))
    return sections


def _scheduler(kind: str, params: dict[str, Any]) -> dict[str, Any]:
    if kind in SCHEDULERS:
        return {"name": "TorchScheduler", "torch_scheduler_name": SCHEDULERS[kind], **params}
    if kind != WARMUP:
        raise UnknownNameError("scheduler_type", str(kind), (*SCHEDULERS, WARMUP))
    steps = {"num_warmup_steps": params.pop("warmup_steps", 25000)}
    return {"name": "sqrt_decay_schedule_with_warmup", **steps, "continuous": True, "last_epoch": 0, **params}


def _expert(config: Mapping[str, Any], trained_there: bool) -> dict[str, Any]:
    kind, params = config["model_type"], dict(config.get("model_params") or {})
    model = {name: value for name, value in params.items() if name not in ENCODER and name not in _passed_over(kind)}
    if trained_there and kind in UNCLIPPED:
        model["range_clipping"] = False
        if kind == "LDNet":
            model["mean_net_range_clipping"] = False
    given = {"train_batch_size": config.get("train_batch_size"), "eval_batch_size": config.get("test_batch_size")}
    given |= {name: config.get(name) for name in ("num_workers", "padding_mode")}
    data = {"train_csv": None, "dev_csv": None, "wav_only": bool(config.get("wav_only", False))}
    data |= {name: value for name, value in given.items() if value is not None}
    if config.get("model_input") == "mag_sgram":
        data["wav_only"] = False
    criterion = config.get("best_model_criterion") or {"key": "utt_SRCC", "order": "highest"}
    selection = {"keep_nbest_models": config.get("keep_nbest_models", 5), "patience": config.get("patience"), **criterion}
    modelrc = {"model_type": kind, "model_params": model, "categorical_step": config.get("categorical_step", 0.25)}
    modelrc |= {name: config[name] for name in ("num_domains", "symbols") if config.get(name)}
    losses = {name: config.get(name) for name in LOSSES}
    work = {"inference": asdict(Inference()), "datastore": asdict(Store()), "stacking": asdict(Stacking())}
    return {"datarc": data, "modelrc": modelrc, "lossrc": losses, "selection": selection, **work}


def _passed_over(kind: str) -> tuple[str, ...]:
    """Options of SHEET's models that decide nothing there, or that are of paths that do not work there."""
    common = ("num_listeners", "num_domains", "use_mean_listener", "output_type", "decoder_type", "encoder_type", "mean_net_type")
    own = {
        "SSLMOS": ("use_listener_modeling", "listener_emb_dim", "decoder_dnn_dim", "range_clipping", "use_asp"),
        "LDNet": (),
        "UTMOS": (),
    }
    categorical = ("categorical_head_dnn_dim", "categorical_head_range_clipping")
    return (*common, *categorical, *own.get(kind.removesuffix("_U"), ()))


def head_of(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The predictor's own weights among those of a SHEET checkpoint, under this task's names."""
    return {f"model.{name}": value for name, value in state.items() if not name.startswith("ssl_model.")}


def encoder_of(state: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The weights of the fine-tuned encoder, under fairseq's names; {} for predictors without one.

    Raises:
        CheckpointError: an encoder under other names.
    """
    if foreign := [name for name in state if name.startswith("ssl_model.") and not name.startswith(PREFIX)]:
        raise CheckpointError(f"{path}: the encoder's weight {foreign[0]} is not of S3PRL's kind, {PREFIX}*")
    return {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}


def vocabularies_of(config: Mapping[str, Any], head: Mapping[str, Tensor]) -> dict[str, Any]:
    """What a checkpoint of ours remembers: numbers of listeners and data sets, whose ids SHEET does not store."""
    listeners = head.get("model.listener_embeddings.weight")
    domains = head.get("model.domain_embeddings.weight")
    names = None if listeners is None else [f"#{number}" for number in range(len(listeners) - 1)]
    symbols = config.get("symbols") if config.get("use_phoneme") else ""
    return {"listeners": names, "domains": None if domains is None else len(domains), "symbols": symbols or "", "scale": [1.0, 5.0]}
