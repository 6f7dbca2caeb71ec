"""Synthetic corpora for tests: small ones are made once per session and copied from then on."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import pytest

from utility.errors import MissingDependencyError


def synthetic(corpus: str, out: Path, size: str | int = "tiny", jobs: int | None = 1) -> Path:
    """Writes a corpus into ``out`` and returns it; skips where there is no synthesizer.

    Args:
        corpus, size, jobs: see :func:`preprocess.synthesis.corpora.synthesize`; all but ``"small"`` ones and larger are kept.
        out: an empty folder.
    """
    if size in ("small", "medium"):
        return _write(corpus, out, size, jobs)
    return Path(shutil.copytree(_kept(corpus, size), out, dirs_exist_ok=True))


@cache
def _kept(corpus: str, size: str | int) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"{corpus}-{size}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return _write(corpus, folder, size, 1)


def _write(corpus: str, out: Path, size: str | int, jobs: int | None) -> Path:
    from preprocess.synthesis.corpora import synthesize

    try:
        return synthesize(corpus, out, size, jobs=jobs)
    except MissingDependencyError as error:
        pytest.skip(str(error))
