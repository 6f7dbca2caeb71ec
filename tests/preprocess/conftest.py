"""Tiny synthetic corpora, written once per session. Tests read them and never write into them."""

from __future__ import annotations

from pathlib import Path

import pytest

from preprocess.synthesis.corpora import synthesize


@pytest.fixture(scope="session")
def tiny_speech_commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with Speech Commands of size tiny, seed 0."""
    return synthesize("speech_commands", tmp_path_factory.mktemp("speech_commands"))


@pytest.fixture(scope="session")
def tiny_librispeech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with LibriSpeech of size tiny, seed 0."""
    return synthesize("librispeech", tmp_path_factory.mktemp("librispeech"))
