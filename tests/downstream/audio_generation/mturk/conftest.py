"""A listening test for each test that asks for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.downstream.audio_generation.mturk.conditions import batched


@pytest.fixture
def condition(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return batched(tmp_path, *getattr(request, "param", ()))
