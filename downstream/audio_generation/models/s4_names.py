"""Weights of S4 layers as versions 2 and 3 of the public code wrote them, by their names of version 4 (specs/audio-generation.md, 6.1).

Their step sizes are exponentials: a network that takes them over needs ``dt_transform: exp``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from utility.errors import CheckpointError

OLD = re.compile(r"(.*\blayer)\.kernel\.kernel\.(\w+)")
NAMES = {"log_dt": "inv_dt", "inv_w_real": "A_real", "log_w_real": "A_real", "w_imag": "A_imag", "L": "l_kernel"}
KEPT = ("B", "C", "P")
UNBOUND = ("w", "Q")  # of systems that are not held stable, which no kernel here can be


def is_old(weights: Mapping[str, Tensor]) -> bool:
    """Whether there is an S4 layer of version 2 or 3 among the weights."""
    return any(OLD.fullmatch(name) for name in weights)


def renewed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights by their names of today; whatever belongs to no old S4 layer stays as it is.

    Raises:
        CheckpointError: a kernel with a low-rank part of its own (``Q``), or with other tensors that are not known.
    """
    layers = {found[1] for name in weights if (found := OLD.fullmatch(name))}
    made: dict[str, Tensor] = {}
    for name, value in weights.items():
        layer, _, end = name.rpartition(".")
        found = OLD.fullmatch(name)
        if found:
            new, value = _kernel_entry(found[2], value, name)
            made[f"{found[1]}.layer.kernel.{new}"] = value
        elif end == "D" and layer in layers:
            made[f"{layer}.layer.D"] = value
        else:
            made[name] = value
    return made


def _kernel_entry(name: str, value: Tensor, full: str) -> tuple[str, Tensor]:
    if name in UNBOUND:
        raise CheckpointError(
            f"{full}: this S4 kernel is of a form from before February 2022 that is not held stable; it cannot be taken over"
        )
    if name not in NAMES and name not in KEPT:
        raise CheckpointError(f"{full} is not known of an S4 kernel; known: {', '.join([*KEPT, *NAMES])}")
    if name == "log_dt" and value.dim() == 1:
        value = value.unsqueeze(-1)
    if name == "w_imag":
        value = -value
    return NAMES.get(name, name), value.long() if name == "L" else value
