"""Several checkpoints of one training as one predictor: their mean weights, or a ridge regression on their answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from utility.errors import CheckpointError
from utility.experiment import checkpoint as files

from . import plain_files

WEIGHTS = ("Upstream", "Featurizer", "Downstream")
PATTERN = "checkpoint-*steps.pkl"


def members_of(folder: Path) -> list[Path]:
    """The kept checkpoints of a training in the order of their names (1000 before 200).

    Raises:
        CheckpointError: there is none.
    """
    found = sorted(path for path in folder.glob(PATTERN) if not path.is_symlink())
    if not found:
        raise CheckpointError(f"the folder {folder} holds no {PATTERN}, of which stacking and averaging are made")
    return found


def averaged(paths: Sequence[Path]) -> dict[str, Any]:
    """The state of the mean weights; counters are summed, as SHEET does, and all else is the first one's."""
    states = [files.load(path) for path in paths]
    mean = dict(states[0])
    for name in WEIGHTS:
        if all(name in state for state in states):
            mean[name] = mean_of([state[name] for state in states])
    return mean


def mean_of(weights: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean of tensors of one name."""
    return {key: _mean([own[key] for own in weights]) if isinstance(value, Tensor) else value for key, value in weights[0].items()}


def _mean(values: Sequence[Tensor]) -> Tensor:
    total = torch.stack(list(values)).sum(0)
    return total / len(values) if total.is_floating_point() else total


@dataclass(frozen=True)
class Stack:
    """A ridge regression.

    Args:
        members: the names of the checkpoints, in the order of the coefficients.
        coefficients: (members,).
        intercept: added to all.
    """

    members: list[str]
    coefficients: np.ndarray
    intercept: float

    def __call__(self, answers: np.ndarray) -> np.ndarray:
        """(Q, members) answers -> (Q,) scores."""
        return answers @ self.coefficients + self.intercept


def fit(members: Sequence[str], answers: np.ndarray, truth: np.ndarray, alpha: float = 1.0) -> Stack:
    """Ridge regression of (Q,) scores on (Q, members) answers; the intercept is not penalised."""
    from sklearn.linear_model import Ridge

    ridge = Ridge(alpha=alpha).fit(answers, truth)
    return Stack(list(members), ridge.coef_, float(ridge.intercept_))


def save_stack(path: Path, stack: Stack) -> None:
    """Writes a regression."""
    content = {"members": stack.members, "coefficients": torch.from_numpy(stack.coefficients), "intercept": stack.intercept}
    plain_files.write(path, content)


def read_stack(path: Path) -> Stack:
    """Reads what :func:`save_stack` wrote.

    Raises:
        CheckpointError: it is something else.
    """
    return plain_files.read(path, _stack, "regression", "stacking")


def _stack(content: Mapping[str, Any]) -> Stack:
    stack = Stack(content["members"], content["coefficients"].numpy(), float(content["intercept"]))
    if stack.coefficients.shape != (len(stack.members),):
        raise ValueError(f"{len(stack.members)} checkpoints have coefficients of the shape {stack.coefficients.shape}")
    if strange := [name for name in stack.members if not fnmatch(str(name), PATTERN) or Path(name).name != name]:
        raise ValueError(f"{strange[0]} is no name of a checkpoint")
    return stack
