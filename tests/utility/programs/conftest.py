"""Runs the programs as a user does: from the root of the repository, in their own process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import web_server


@pytest.fixture
def run_program(repo):
    """``run_program("utility/x.py", *arguments)``: the finished process, which must have ended with ``status``."""

    def run(program: str, *arguments: object, status: int = 0) -> subprocess.CompletedProcess:
        command = [sys.executable, program, *map(str, arguments)]
        done = subprocess.run(command, cwd=repo, capture_output=True, text=True, timeout=120)
        assert done.returncode == status, done.stderr
        return done

    return run


@pytest.fixture
def server():
    """A web server on this machine, fresh for each test."""
    with web_server.running() as state:
        yield state
