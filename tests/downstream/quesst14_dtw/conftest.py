"""Corpora to search, and commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from run_downstream import main
from tests.support.corpora import synthetic

ROOT = "config.downstream_expert.datarc.dataset_root"


def corpus(out: Path, size: str | int, jobs: int | None = 1) -> Path:
    """A synthetic corpus' quesst14Database; skips where there is no synthesizer."""
    return synthetic("quesst", out, size, jobs) / "quesst14Database"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two English speakers."""
    return corpus(tmp_path_factory.mktemp("tiny"), "tiny")


@pytest.fixture
def search(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Searches a corpus over the command line; gives the content of the result file."""

    def run(
        root: Path, upstream: str = "fbank", split: str = "test", more: str = "", folder: str = "run", flags: Sequence[str] = ()
    ) -> dict[str, Any]:
        override = f"{ROOT}='{root}',,config.downstream_expert.datarc.num_workers=0{more}"
        words = ["-m", "evaluate", "-t", split, "-u", upstream, "-d", "quesst14_dtw", "-p", str(tmp_path / folder), "--device", "cpu"]
        assert main([*words, *flags, "-o", override]) == 0
        written = (tmp_path / folder / "results/initial").glob(f"{split}*.json")
        return json.loads(max(written, key=lambda path: path.stat().st_mtime_ns).read_text())

    return run
