"""A transformers model made of settings and weights that were read before; transformers itself opens no file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from utility.errors import CheckpointError

from .source import first_line

_SHOWN = 3
_HEADS = ("num_attention_heads", "encoder_attention_heads")
_MASK_EMBEDDING = "masked_spec_embed"  # of pre-training and SpecAugment; no state depends on it


def make_config(model_type: str, settings: Mapping[str, Any], path: Path, **changes: Any) -> Any:
    """The config of a net for inference: no layer is dropped at random and nothing is masked, in train mode as well.

    Args:
        model_type: transformers' name of the architecture.
        settings: of ``config.json``.
        path: that file, for the sentence.
        changes: settings that are set where the architecture has them.

    Raises:
        CheckpointError: impossible settings.
    """
    from huggingface_hub.errors import StrictDataclassError

    try:
        config = transformers.AutoConfig.for_model(model_type, **settings)
        quiet = {"layerdrop": 0.0, "encoder_layerdrop": 0.0, "mask_time_prob": 0.0, "mask_feature_prob": 0.0, "apply_spec_augment": False}
        for name, value in {**quiet, **changes}.items():
            if hasattr(config, name):
                setattr(config, name, value)
    except (ValueError, TypeError, AttributeError, KeyError, StrictDataclassError) as error:
        raise CheckpointError(f"{path} has impossible settings: {_told(error)}") from error
    for name in _HEADS:
        if getattr(config, name, 1) < 1:
            raise CheckpointError(f"{path} has impossible settings: {name} is {getattr(config, name)}")
    return config


def load_net(
    kind: type[transformers.PreTrainedModel],
    config: Any,
    weights: Mapping[str, Tensor],
    path: Path,
    mapping: dict[str, str] | None = None,
    unused: str | None = None,
) -> nn.Module:
    """The net with its weights in float32 and eval mode on the CPU; draws no random number.

    Args:
        kind: the class of transformers.
        config: of the net.
        weights: by their names in the file; heads for other uses are ignored.
        path: the file, for the sentence.
        mapping: regular expressions of names and what takes their place.
        unused: the beginning of the names of a part that no state depends on; its weights may be missing.

    Raises:
        CheckpointError: weights are missing or of another shape, or the settings make no net.
    """
    attention = "sdpa" if kind._supports_sdpa else "eager"
    try:
        with _quietly(), torch.random.fork_rng(devices=[]):
            model, told = kind.from_pretrained(
                None,
                config=config,
                state_dict=dict(weights),
                key_mapping=mapping,
                dtype=torch.float32,
                attn_implementation=attention,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except (ValueError, TypeError, AttributeError, IndexError, KeyError, RuntimeError, ArithmeticError, AssertionError, OSError) as error:
        raise CheckpointError(f"the settings beside {path} make no net: {_told(error)}") from error
    needed = [name for name in told["missing_keys"] if unused is None or not name.startswith(unused)]
    missing = sorted(name for name in needed if name.rpartition(".")[2] != _MASK_EMBEDDING)
    faults = [f"it lacks {_some(missing)}"] if missing else []
    wrong = [f"{name} is {tuple(theirs)}, not {tuple(ours)}" for name, theirs, ours in sorted(told["mismatched_keys"])]
    faults += [f"of another shape: {_some(wrong)}"] if wrong else []
    if faults:
        raise CheckpointError(f"the weights of {path} do not fit: " + "; ".join(faults))
    if hasattr(model, _MASK_EMBEDDING):
        delattr(model, _MASK_EMBEDDING)
    return model.eval()


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _told(error: BaseException) -> str:
    """An error of transformers in one line."""
    return " ".join(str(error).split())[:300] or first_line(error)


@contextmanager
def _quietly() -> Iterator[None]:
    """Without transformers' tables of ignored weights and its progress bars; what matters is said by :func:`load_net`."""
    messages = transformers.logging
    level, bars = messages.get_verbosity(), messages.is_progress_bar_enabled()
    messages.set_verbosity(messages.CRITICAL)
    messages.disable_progress_bar()
    try:
        yield
    finally:
        messages.set_verbosity(level)
        if bars:
            messages.enable_progress_bar()
