"""torch.hub face of the upstreams.

``torch.hub.load(REPO, "fbank", source="local")`` builds one, ``torch.hub.list(REPO)`` names them all.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from upstream import registry
from utility.errors import UnknownNameError

dependencies = ["torch", "numpy", "yaml"]


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
    """The upstreams and nothing else: torch.hub takes every callable named here for a model."""
    return ["dependencies", *registry.entries(registry.ROOT)]
