"""The corpus that most tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.downstream.audio_generation.layouts import sc09


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return sc09(tmp_path_factory.mktemp("corpus"))
