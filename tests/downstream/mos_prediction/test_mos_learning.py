"""Does MOS prediction learn? From a pool of four synthetic sets, on the systems, speakers and sentences of a fifth that it never met."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import mos_learning
from tests.downstream.seeds import SEEDS

STEPS = 500
LEAST_UTTERANCES, LEAST_SYSTEMS = 0.6, 0.8  # rank correlations


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("espeakng_loader")
    folder = tmp_path_factory.mktemp("mos")
    mos_learning.prepared(folder, "small")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_an_unseen_set(place: Path, seed: int, capsys: pytest.CaptureFixture):
    checkpoint = mos_learning.predictor(place, place / "data", STEPS, seed)
    results = mos_learning.scored(checkpoint, place / "data", None)
    found, bounds = mos_learning.agreement(results), mos_learning.bounds(place, place / "data", results)
    with capsys.disabled():
        for name, numbers in {"predictor": found, **bounds}.items():
            mos_learning.show(name, numbers)
    assert found["utt_SRCC"] > LEAST_UTTERANCES
    assert found["sys_SRCC"] > LEAST_SYSTEMS
    assert all(found[key] > bounds["noise alone"][key] for key in ("utt_SRCC", "sys_SRCC"))
