"""Corpora in the layout of VoxCeleb1."""

from __future__ import annotations

import pytest

from tests.downstream.sv_voxceleb1.layouts import Layout, synthetic, write_tones


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """The tiny synthetic corpus."""
    return synthetic(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Two speakers to train on, two of the dev trials and two of the test trials, all of whom hum."""
    out = tmp_path_factory.mktemp("tones")
    layout = Layout(out / "vox", out / "dev.txt", out / "test.txt")
    write_tones(layout.root / "dev/wav", [f"id{n}/a/{take}.wav" for n in (1, 2, 3, 4) for take in (1, 2)])
    write_tones(layout.root / "test/wav", [f"id{n}/a/{take}.wav" for n in (5, 6) for take in (1, 2)])
    for path, (a, b) in ((layout.dev, (3, 4)), (layout.test, (5, 6))):
        pairs = [(1, f"id{n}/a/1.wav id{n}/a/2.wav") for n in (a, b)] + [(0, f"id{a}/a/{take}.wav id{b}/a/{take}.wav") for take in (1, 2)]
        path.write_text("".join(f"{label} {pair}\n" for label, pair in pairs))
    return layout
