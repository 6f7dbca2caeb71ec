"""Waveforms that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

LENGTHS = (7000, 16000, 3000, 601, 9137)


@pytest.fixture(scope="session")
def wavs() -> list[Tensor]:
    """Noise of several lengths with a slope and an offset, so that DC removal and pre-emphasis matter."""
    generator = torch.Generator().manual_seed(7)
    return [0.1 * torch.randn(n, generator=generator) + 0.05 + torch.linspace(0, 0.1, n) for n in LENGTHS]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Two processes share the tests; threads of both on the same cores would wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
