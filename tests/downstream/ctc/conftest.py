"""Small corpora for the tests of the task."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.corpora import synthetic


@pytest.fixture(scope="session")
def libri(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny synthetic LibriSpeech."""
    return synthetic("librispeech", tmp_path_factory.mktemp("libri"))


@pytest.fixture(scope="session")
def snips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny synthetic SNIPS."""
    return synthetic("snips", tmp_path_factory.mktemp("snips"))
