"""Loops that a process compiles and loops that it finds on disk: the same bits, on which exact resume of S4 rests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[3]
PROGRAM = """
import hashlib
import numpy as np
from downstream.audio_generation.models import cauchy_loops as loops

rng = np.random.default_rng(0)
numerators, modulus, damping, gradient = (rng.standard_normal(shape, np.float32) for shape in ((4, 2, 8), (4, 8), (4, 8), (1, 4, 700, 2)))
angles = np.linspace(0.01, 1.5, 700, dtype=np.float32)
given = numerators, np.abs(modulus) + 1, -np.abs(damping), np.cos(angles), np.sin(angles)
out, found = np.zeros((1, 4, 700, 2), np.float32), [np.zeros_like(array) for array in given[:3]]
loops.sums(0, 4, *given, out)
loops.gradients(0, 4, *given, gradient, *found)
print(*(hashlib.sha256(array.tobytes()).hexdigest() for array in (out, *found)), bool(loops.gradients.stats.cache_hits))
"""


@pytest.mark.slow
def test_compiled_and_loaded_from_disk(tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": str(REPO), "NUMBA_CACHE_DIR": str(tmp_path)}
    runs = [subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True) for _ in range(2)]
    (*compiled, hit), (*loaded, hit_again) = (run.stdout.split() for run in runs)
    assert (hit, hit_again) == ("False", "True")
    assert compiled == loaded
