"""A causal network frame by frame in ONNX: a step takes the tensors of the state beside the frame, and gives the next ones.

PyTorch spends most of such a step on starting its many small operations; onnxruntime has no such cost.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree

from utility.errors import ConfigError

from .export import INPUT, OUTPUT, still, write
from .session import session_of

log = logging.getLogger(__name__)

_TRIED = 3  # frames on which the file is compared with the network
_NEAR = 1e-4


class _Step(nn.Module):
    """The method ``step`` of a network with its state as so many tensors."""

    def __init__(self, model: nn.Module, structure: _pytree.TreeSpec):
        super().__init__()
        self.model, self.structure = model, structure

    def forward(self, frame: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        mask, following = self.model.step(frame, _pytree.tree_unflatten(list(state), self.structure))
        return mask, *_pytree.tree_leaves(following)


class OnnxStep:
    """
    Args:
        path: what :func:`export_step` wrote.
        threads: of one step.
    """

    def __init__(self, path: Path, threads: int = 1):
        self._session = session_of(path, threads)
        self._names = [entry.name for entry in self._session.get_inputs()]
        self._begin = [np.zeros(entry.shape, np.float32) for entry in self._session.get_inputs()[1:]]

    def __call__(self, frames: np.ndarray, state: list[np.ndarray] | None) -> tuple[np.ndarray, list[np.ndarray]]:
        """Frames (1, F, n) and the state before them (None: none) -> masks (1, F, n) and the next state."""
        masks, state = [], state or self._begin
        for frame in range(frames.shape[2]):
            given = [np.ascontiguousarray(frames[:, :, frame : frame + 1]), *state]
            mask, *state = self._session.run(None, dict(zip(self._names, given, strict=True)))
            masks.append(mask)
        return np.concatenate(masks, 2), state


def export_step(model: nn.Module, path: Path, bins: int, opset: int = 17) -> Path:
    """Writes a step of one recording: from ``input`` (1, F, 1) and ``state0``, ``state1`` ... to ``output`` (1, F, 1) and ``next0`` ...

    The state of the beginning is zeros.

    Args:
        model: with a method ``step`` (frames (B, F, n), state or None -> masks, next state), whose state is tensors in lists, tuples or
            dictionaries.
        path: the file, replaced when the new one is whole.
        bins: F.
        opset: version of ONNX' main domain.

    Raises:
        ConfigError: the exporter cannot say the step, or the file does another thing than the network.
    """
    frames = torch.rand(1, bins, _TRIED, generator=torch.Generator().manual_seed(0))
    with still(model), torch.no_grad():
        wanted, _ = model.step(frames, None)
        state, structure = _pytree.tree_flatten(model.step(frames[..., :1], None)[1])
    if not all(isinstance(part, Tensor) and part.dtype == torch.float32 for part in state):
        raise ConfigError(f"the state of {type(model).__name__} is more than tensors of 32-bit floats, so that no step is exported")
    numbers = range(len(state))
    inputs, outputs = [INPUT, *(f"state{i}" for i in numbers)], [OUTPUT, *(f"next{i}" for i in numbers)]
    write(_Step(model, structure), (frames[..., :1], *map(torch.zeros_like, state)), path, opset, inputs, outputs)
    difference = np.abs(OnnxStep(path)(frames.numpy(), None)[0] - wanted.numpy()).max()
    if not difference < _NEAR:
        path.unlink()
        raise ConfigError(f"the exported step of {type(model).__name__} differs from the network by {difference:.1e}")
    return path


def quickest_step(model: nn.Module, path: Path, bins: int, opset: int = 17) -> OnnxStep | None:
    """The step as a file, where there can be one; None otherwise, and the reason is said."""
    try:
        return OnnxStep(export_step(model, path, bins, opset))
    except (ConfigError, RuntimeError) as error:
        log.info("[Streaming] - step by step in PyTorch: %s", error)
        return None
