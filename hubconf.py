"""torch.hub face of the upstreams and of trained tasks.

``torch.hub.load(REPO, "fbank", source="local")`` builds an upstream, ``torch.hub.list(REPO)`` names them all;
``torch.hub.load(REPO, "predictor", source="local", ckpt=CHECKPOINT)`` answers recordings as ``-m inference`` does, and ``mos_predictor``
has ``predict(wav_path=...)`` and ``predict(wav=...)`` for opinion scores.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from upstream import registry
from utility.errors import UnknownNameError

dependencies = ["torch", "numpy", "yaml"]


def predictor(ckpt: str, device: str = "auto", override: str = "") -> Any:
    """A trained task: called with a file or a waveform, it gives the answer of ``-m inference``; ``override`` is its ``-o``."""
    from downstream.predictor import Predictor

    return Predictor(ckpt, device, override)


def mos_predictor(ckpt: str, device: str = "auto", override: str = "") -> Any:
    """A trained predictor of opinion scores: ``predict(wav_path=...)`` or ``predict(wav=...)``; ``override`` is the ``-o`` of inference."""
    from downstream.predictor import MosPredictor

    return MosPredictor(ckpt, device, override)


def __getattr__(name: str) -> Callable[..., Any]:
    """The constructor of an upstream; its keyword arguments are those of ``upstream.registry.build``."""
    if name.startswith("__"):
        raise AttributeError(name)
    try:
        entry = registry.find(name)
    except UnknownNameError as error:
        raise AttributeError(str(error)) from error
    constructor = partial(registry.build, entry.name)
    constructor.__doc__ = entry.record.description
    return constructor


def __dir__() -> list[str]:
    """The upstreams and the two above: torch.hub takes every callable named here for a model."""
    return ["dependencies", "predictor", "mos_predictor", *registry.entries(registry.ROOT)]
