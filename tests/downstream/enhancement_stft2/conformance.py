"""The smallest form of the task, for the tests that every task has to pass."""

from __future__ import annotations

from tests.downstream.enhancement_stft.conformance import prepare

SLOW = True
__all__ = ["prepare"]
