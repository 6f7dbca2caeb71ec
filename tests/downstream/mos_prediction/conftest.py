"""One small run for all tests that only read it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.downstream.mos_prediction.layouts import override, rated_tones
from tests.support.forkserver import ForkServer

LOADED = ("scipy.stats", "matplotlib.figure", "matplotlib.style", "matplotlib.backends.backend_agg")


@pytest.fixture(scope="session")
def server(server: ForkServer) -> ForkServer:
    """The server of all tests, with what takes longest to import."""
    server.load(*LOADED)
    return server


@pytest.fixture(scope="session")
def trained(tmp_path_factory, server) -> dict[str, Path]:
    """A run from a config in SHEET's terms."""
    place = tmp_path_factory.mktemp("trained")
    train, dev = rated_tones(place, "train"), rated_tones(place, "dev", seed=1)
    sheet = {"model_type": "SSLMOS", "model_params": {"s3prl_name": "wav2vec2", "mean_net_dnn_dim": 4}, "wav_only": True}
    sheet |= {"mean_score_criterions": [{"criterion_type": "ScalarLoss", "criterion_params": {"order": 1, "tau": 0.5}}]}
    sheet |= {"optimizer_type": "Adam", "optimizer_params": {"lr": 0.01}, "train_batch_size": 4, "num_workers": 0, "grad_norm": 1.0}
    sheet |= {"train_max_steps": 4, "eval_and_save_interval_steps": 2, "log_interval_steps": 2, "keep_nbest_models": 2, "patience": 5}
    (place / "sheet.yaml").write_text(yaml.safe_dump(sheet))
    words = ["-u", "fbank", "-d", "mos_prediction", "-c", str(place / "sheet.yaml"), "-p", str(place / "run"), "--device", "cpu"]
    process = server.run([*words, "-o", override(train, dev, "config.runner.tensorboard=False")], place)
    assert process.status == 0, process.err
    return {"run": place / "run", "dev": dev, "train": train}
