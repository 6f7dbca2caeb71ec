"""Compilation of loops."""

from __future__ import annotations

import numba

from utility.compiled import compiled


def double(x):
    return 2 * x


def test_options_reach_the_compiler():
    assert compiled(fastmath=True)(double).targetoptions["fastmath"] is True
    assert "fastmath" not in compiled(double).targetoptions


def test_compilation_does_without_a_folder_for_its_cache(monkeypatch):
    njit = numba.njit

    def nowhere(*function, cache=False, **options):
        if cache and options.get("nogil"):  # ours, and none of numba's own
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*function, cache=cache, **options)

    monkeypatch.setattr(numba, "njit", nowhere)
    assert compiled(double)(4) == 8
