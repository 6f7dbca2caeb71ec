"""Corpora in the layout of Speech Commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.downstream.speech_commands.layouts import Layout, lay_out_fsdd, lay_out_mini
from tests.support import corpora


@pytest.fixture(scope="session")
def fsdd(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Real digits at 8 kHz, six takes of each."""
    return lay_out_fsdd(shared / "data/fsdd/fsdd_4spk.tar.gz", tmp_path_factory.mktemp("fsdd"), takes=6)


@pytest.fixture(scope="session")
def mini(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A handful of real clips, some of 30 ms."""
    return lay_out_mini(shared / "data/speech_commands_mini", tmp_path_factory.mktemp("mini"))


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """The tiny synthetic corpus."""
    out = corpora.synthetic("speech_commands", tmp_path_factory.mktemp("synthetic"))
    return Layout(out / "speech_commands_v0.01", out / "speech_commands_test_set_v0.01")
