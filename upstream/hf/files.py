"""What a Hugging Face model's folder holds: settings as plain data, and weights, read without executing anything of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from utility.errors import CheckpointError
from utility.networks.weights import read_checkpoint

from .source import first_line

CONFIG, PREPROCESSOR, PROCESSOR = "config.json", "preprocessor_config.json", "processor_config.json"
SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"
# They name code to import, kernels to download or layouts of weights that are not read here.
_LEFT_OUT = ("auto_map", "attn_implementation", "quantization_config", "dtype", "torch_dtype", "model_type", "custom_pipelines")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds a mapping.

    Raises:
        CheckpointError: it is missing, unreadable or something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.parent} is no Hugging Face model: it has no {path.name}") from error
    except OSError as error:
        raise CheckpointError(f"could not read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON ({first_line(error)})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a mapping of settings")
    return content


def read_config(folder: Path) -> tuple[str, dict[str, Any]]:
    """The architecture (``model_type``) and the settings of the net, without what names code.

    Raises:
        CheckpointError: there is no usable ``config.json``.
    """
    content = read_json(folder / CONFIG)
    if not isinstance(content.get("model_type"), str):
        raise CheckpointError(f"{folder / CONFIG} names no model_type")
    kept = {key: value for key, value in content.items() if key not in _LEFT_OUT and not key.startswith("_")}
    return content["model_type"], kept


def read_preprocessor(folder: Path) -> dict[str, Any]:
    """The settings of the feature extractor; {} where the folder has none, which means its defaults.

    transformers 5 writes them into the file of the whole processor.
    """
    if (folder / PREPROCESSOR).is_file():
        return read_json(folder / PREPROCESSOR)
    if (folder / PROCESSOR).is_file():
        inner = read_json(folder / PROCESSOR).get("feature_extractor")
        return inner if isinstance(inner, dict) else {}
    return {}


def read_weights(folder: Path, wanted: Callable[[str], bool]) -> tuple[dict[str, Tensor], Path]:
    """The weights by their names in the file, and the file that a sentence names.

    Args:
        folder: with ``model.safetensors`` or, without it, ``pytorch_model.bin``; either may be in pieces with an index.
        wanted: the names to read.

    Raises:
        CheckpointError: there are none, or a file is missing, damaged or refused.
    """
    for name, read in ((SAFE, _safe), (PICKLED, _pickled)):
        index = folder / f"{name}.index.json"
        paths = [folder / name] if (folder / name).is_file() else _pieces(index) if index.is_file() else []
        if paths:
            weights: dict[str, Tensor] = {}
            for path in paths:
                weights.update(read(path, wanted))
            return weights, paths[0]
    raise CheckpointError(f"{folder} holds no weights: neither {SAFE} nor {PICKLED}")


def _pieces(index: Path) -> list[Path]:
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) and Path(name).name == name for name in names.values()):
        raise CheckpointError(f"{index} has no weight_map from weights to files beside it")
    return [index.parent / name for name in sorted(set(names.values()))]


def _safe(path: Path, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys() if wanted(name)}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged, truncated or no safetensors file ({first_line(error)})") from error


def _pickled(path: Path, wanted: Callable[[str], bool]) -> dict[str, Tensor]:
    content = read_checkpoint(path)
    return {name: value for name, value in content.items() if isinstance(name, str) and wanted(name) and isinstance(value, Tensor)}
