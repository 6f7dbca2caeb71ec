"""Fixtures that every test folder shares: where the repository, the recordings and the recorded outputs lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder ``../shared`` with real recordings and recorded outputs; tests that need it skip where it is absent."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs ../shared")
    return folder


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Path]:
    """Finds the folder of a recorded case: the core copied into ``tests/golden`` first, then ``../shared/golden``."""

    def find(case: str) -> Path:
        for base in (ROOT / "tests" / "golden", ROOT.parent / "shared" / "golden"):
            if (base / case).exists():
                return base / case
        pytest.skip(f"needs ../shared/golden/{case}")

    return find
