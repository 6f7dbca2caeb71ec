"""Parameters with a learning rate or a decay of their own (specs/audio-generation.md, 1.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

UNDECAYED = (nn.LayerNorm, nn.Embedding)


def param_groups(backbone: nn.Module, others: Iterable[nn.Module]) -> list[dict[str, Any]]:
    """Groups of what is trained, those without anything of their own first.

    Args:
        backbone: its parameters may ask for ``lr`` and ``weight_decay`` by an attribute ``_optim``; biases, LayerNorms and embeddings
            in it are not decayed.
        others: modules whose parameters have the general settings.
    """
    groups: dict[tuple[tuple[str, Any], ...], list[nn.Parameter]] = {(): []}
    for parameter, own in _with_options(backbone):
        groups.setdefault(tuple(sorted(own.items())), []).append(parameter)
    known = {id(parameter) for members in groups.values() for parameter in members}
    general = [p for module in others for p in module.parameters() if p.requires_grad and id(p) not in known]
    groups[()] += dict.fromkeys(general)
    return [{"params": members, **dict(own)} for own, members in groups.items() if members]


def _with_options(backbone: nn.Module) -> Iterator[tuple[nn.Parameter, dict[str, Any]]]:
    seen = set()
    for module in backbone.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                own = getattr(parameter, "_optim", None)
                plain = {"weight_decay": 0.0} if name.startswith("bias") or isinstance(module, UNDECAYED) else {}
                yield parameter, {key: value for key, value in (plain if own is None else own).items() if value is not None}
