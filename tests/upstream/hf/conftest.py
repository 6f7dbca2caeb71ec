"""The tiny models, each written once."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest
from torch import nn

from tests.upstream.hf import tiny
from upstream.registry import build


@pytest.fixture(scope="session")
def saved(tmp_path_factory) -> Callable[[str], tuple[Path, nn.Module]]:
    """``saved(name)``: the folder of a model of tiny.MODELS, and transformers' model."""

    @lru_cache
    def find(name: str) -> tuple[Path, nn.Module]:
        folder = tmp_path_factory.mktemp(name)
        return folder, tiny.save(name, folder)

    return find


@pytest.fixture(scope="session")
def ready(saved) -> Callable[[str], nn.Module]:
    """``ready(name)``: our upstream of such a model, for tests that leave it as it is."""
    return lru_cache(lambda name: build("hf", ckpt=str(saved(name)[0])))
