"""Compilation of loops."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


def test_what_a_kept_loop_calls_may_change(tmp_path):
    """numba alone looks at the file of the loop itself, and kept the former machine code of what it calls."""
    (tmp_path / "outer.py").write_text(
        "from utility.compiled import compiled\nfrom inner import step\n\n\n@compiled\ndef twice(x):\n    return step(step(x))\n"
    )
    found = []
    for added in (1, 10, 1):
        (tmp_path / "inner.py").write_text(f"from utility.compiled import compiled\n\n\n@compiled\ndef step(x):\n    return x + {added}\n")
        program = "import outer; value = outer.twice(0); print(value, *outer.twice.stats.cache_hits.values())"
        path = os.pathsep.join([str(tmp_path), str(Path(__file__).resolve().parents[2])])
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "NUMBA_CACHE_DIR": ""}
        answer = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
        found.append(answer.stdout.split())
    assert found == [["2"], ["20"], ["2", "1"]]
