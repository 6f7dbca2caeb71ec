"""Fixtures that every test folder shares: where the repository, the recordings and the recorded outputs lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.forkserver import ForkServer

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def server() -> Iterator[ForkServer]:
    """Starts command lines in forked processes."""
    with ForkServer() as running:
        yield running


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


DEFAULT_BUDGET, SLOW_BUDGET = 20.0, 120.0  # seconds per folder of tests
_seconds: dict[str, float] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Repetitions with other seeds are left out unless they are asked for; GPU tests are skipped where there is none."""
    if "exhaustive" not in config.getoption("markexpr"):
        repeated = [item for item in items if item.get_closest_marker("exhaustive")]
        config.hook.pytest_deselected(items=repeated)
        items[:] = [item for item in items if item not in set(repeated)]
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not gpu:
        return
    import torch

    if not torch.cuda.is_available():
        for item in gpu:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    folder = report.nodeid.split("::")[0].rpartition("/")[0]
    _seconds[folder] = _seconds.get(folder, 0.0) + report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints what each folder of tests took, beside its budget."""
    budget = SLOW_BUDGET if config.getoption("markexpr") == "slow" else DEFAULT_BUDGET
    terminalreporter.section("seconds per folder")
    for folder, seconds in sorted(_seconds.items(), key=lambda pair: -pair[1]):
        over = f"  over the budget of {budget:.0f}" if seconds > budget else ""
        terminalreporter.write_line(f"{seconds:8.1f}  {folder}{over}")
