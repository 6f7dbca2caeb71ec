"""Sections and fields of ``user_config.yaml`` (spec: speech-enhancement.md A5), their types, and what each operation mode needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from utility.errors import did_you_mean, nearest


@dataclass(frozen=True)
class Kind:
    """A type of values; an empty field is of every type.

    Args:
        words: what a fault calls it.
        fits: whether a value is of it.
    """

    words: str
    fits: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


ANY = Kind("anything", lambda value: True)
TEXT = Kind("a text", lambda value: isinstance(value, str))
FLAG = Kind("True or False", lambda value: isinstance(value, bool))
NUMBER = Kind("a number", _is_number)
WHOLE = Kind("a whole number", lambda value: type(value) is int)
COUNT = Kind("a whole number above 0", lambda value: type(value) is int and value > 0)
AMOUNT = Kind("a number of recordings, or a part from 0 to 1", lambda value: _is_number(value) and value >= 0)
PART = Kind("a part above 0 and below 1", lambda value: _is_number(value) and 0 < value <= 1)
DEVICE = Kind("cpu, cuda, cuda:N or mps", lambda value: isinstance(value, str) and bool(re.fullmatch(r"cpu|mps|cuda(:\d+)?", value)))
LIST = Kind("a list", lambda value: isinstance(value, list))
SECTION = Kind("a section of fields", lambda value: isinstance(value, dict))
TEXT_OR_LIST = Kind("a text or a list", lambda value: isinstance(value, (str, list)))
VERSION = Kind("a version", lambda value: isinstance(value, (str, int, float)) and not isinstance(value, bool))

Fields = Mapping[str, "Kind | Fields"]
_STEDGEAI: Fields = {"version": VERSION, "optimization": TEXT, "on_cloud": FLAG, "path_to_stedgeai": TEXT, "path_to_stm32ai": TEXT}
FIELDS: dict[str, Kind | Fields] = {
    "general": {
        "project_name": TEXT,
        "logs_dir": TEXT,
        "saved_models_dir": TEXT,
        "gpu_memory_limit": PART,
        "display_figures": FLAG,
    },
    "operation_mode": TEXT,
    "model": {"model_type": TEXT, "state_dict_path": TEXT, "onnx_path": TEXT},
    "model_specific": SECTION,
    "dataset": {
        "name": TEXT,
        "root_folder": TEXT,
        "n_speakers": WHOLE,
        "file_extension": TEXT,
        "num_training_samples": AMOUNT,
        "num_validation_samples": AMOUNT,
        "num_test_samples": AMOUNT,
        "shuffle": FLAG,
        "random_seed": WHOLE,
        **dict.fromkeys(("clean_train_files_path", "clean_test_files_path", "noisy_train_files_path", "noisy_test_files_path"), TEXT),
        "validation": TEXT,
        "validation_speakers": LIST,
    },
    "preprocessing": {
        "pipeline_type": TEXT,
        "peak_normalize": FLAG,
        **dict.fromkeys(("sample_rate", "n_fft", "hop_length", "win_length"), COUNT),
        "window": TEXT_OR_LIST,
        "center": FLAG,
        "power": NUMBER,
    },
    "training": {
        "device": DEVICE,
        "epochs": COUNT,
        "optimizer": TEXT,
        "optimizer_arguments": SECTION,
        "loss": ANY,
        "batching_strategy": TEXT,
        "num_dataloader_workers": WHOLE,
        "batch_size": COUNT,
        "reference_metric": TEXT,
        "early_stopping": FLAG,
        "early_stopping_patience": WHOLE,
        "regularization": {
            "weight_clipping_max": NUMBER,
            "activation_regularization": NUMBER,
            "act_reg_layer_types": LIST,
            "act_reg_threshold": NUMBER,
            "penalty_type": TEXT,
        },
        "save_every": COUNT,
        **dict.fromkeys(("snapshot_path", "ckpt_path", "logs_filename"), TEXT),
        **dict.fromkeys(("opset_version", "onnx_version"), COUNT),
        "crop_seconds": NUMBER,
        "metrics": LIST,
        "published": FLAG,
    },
    "quantization": {
        "num_quantization_samples": AMOUNT,
        "random_seed": WHOLE,
        "noisy_quantization_files_path": TEXT,
        "static_sequence_length": COUNT,
        "static_axis_name": TEXT,
        "per_channel": FLAG,
        "calibration_method": TEXT,
        "op_types_to_quantize": LIST,
        "reduce_range": FLAG,
        "extra_options": SECTION,
    },
    "evaluation": {"logs_path": TEXT, "device": DEVICE, "fixed_sequence_length": COUNT, "metrics": LIST},
    "tools": {"stedgeai": _STEDGEAI, "path_to_cubeIDE": TEXT},
    "benchmarking": {"board": TEXT, "threads": COUNT, "repetitions": COUNT},
    "deployment": {
        "frames_per_patch": COUNT,
        "lookahead_frames": WHOLE,
        "output_silence_threshold": NUMBER,
        "c_project_path": TEXT,
        "IDE": TEXT,
        "verbosity": WHOLE,
        "hardware_setup": {"serie": TEXT, "board": TEXT, "stlink_serial_number": ANY},
        "build_conf": TEXT,
    },
    "mlflow": {"uri": TEXT},
    "hydra": SECTION,
}
# t = train, e = evaluate, q = quantize, b = benchmark, d = deploy
MODES = {
    "training": "t",
    "evaluation": "e",
    "quantization": "q",
    "benchmarking": "b",
    "deployment": "d",
    **{f"chain_{letters}": letters for letters in ("tqe", "tqeb", "eqe", "eqeb", "qb", "qd")},
}
LEAST_OPSET = 13  # of files that are quantised: scales of channels came with it
_NEEDED = {
    "t": (
        *("model.model_type", "dataset.name", "training.epochs", "training.optimizer", "training.optimizer_arguments.lr"),
        *("training.loss", "training.batch_size"),
    ),
    "e": ("dataset.name",),
    "q": (),
    "b": (),
    "d": ("deployment.frames_per_patch", "deployment.lookahead_frames"),
}


def faults_of(config: Mapping[str, Any]) -> list[str]:
    """Unknown sections and fields with the nearest ones, and values of a wrong type; one sentence each."""
    return list(_faults(config, FIELDS, ""))


def _faults(section: Mapping[str, Any], known: Fields, place: str) -> Iterator[str]:
    for name, value in section.items():
        here, kind = f"{place}{name}", known.get(name)
        if kind is None:
            yield f"the {'field' if place else 'section'} {here} is unknown{_guess(str(name), place, known)}"
        elif value is None:
            continue
        elif isinstance(kind, Kind):
            if not kind.fits(value):
                yield f"{here} is {value!r} and should be {kind.words}"
        elif not isinstance(value, Mapping):
            yield f"{here} is {value!r}, not a section of fields"
        else:
            yield from _faults(value, kind, f"{here}.")


def _guess(name: str, place: str, known: Fields) -> str:
    """The nearest field here, or the section where a field of this name belongs."""
    elsewhere = [section for section, inside in FIELDS.items() if not isinstance(inside, Kind) and name in inside]
    guess = nearest(name, known)
    if elsewhere and f"{elsewhere[0]}." != place and not guess:
        return f"; {name} belongs in the section {elsewhere[0]}"
    return f"; did you mean {guess!r}?" if guess else ""


def needs_of(mode: str, config: Mapping[str, Any]) -> list[str]:
    """What the mode needs and the config does not have; one sentence each."""
    if mode not in MODES:
        return [f"operation_mode {mode!r} is unknown{did_you_mean(mode, MODES)}"]
    wanted = dict.fromkeys(path for letter in MODES[mode] for path in _NEEDED[letter])
    faults = [f"{path} is empty, which {mode} needs" for path in wanted if at(config, path) is None]
    opset = at(config, "training.opset_version")
    if {"t", "q"} <= set(MODES[mode]) and isinstance(opset, int) and opset < LEAST_OPSET:
        faults.append(f"training.opset_version is {opset}, and the quantisation of {mode} needs {LEAST_OPSET} at least")
    return faults


def at(config: Mapping[str, Any], path: str) -> Any:
    """The value at a path of fields with dots; None where there is none."""
    found: Any = config
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
