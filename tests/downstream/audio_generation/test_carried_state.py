"""The state between chunks in a training of two processes: each has its own, and a killed training goes on with both."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

from downstream.audio_generation.carried import Carried
from tests.downstream.audio_generation.conformance import prepare
from tests.runner.conftest import free_port
from tests.support.compare import assert_same_run
from utility.experiment.checkpoint import load
from utility.experiment.killpoints import VARIABLE

STEPS = "config.runner.total_steps=5,,config.runner.eval_step=5,,config.runner.save_step=2"


def test_what_is_carried_has_no_gradient_and_is_plain():
    carried, weight = Carried(), torch.ones(2, requires_grad=True)
    carried.put((weight * 2, [weight * 3]))
    first, (second,) = carried.of_this_process(torch.device("cpu"))
    assert not first.requires_grad
    assert not second.requires_grad
    assert second.tolist() == [3, 3]
    carried.exchange()  # alone there is nobody to tell
    assert len(carried.states) == 1


def trained(server, place: Path, folder: str, environments: list[dict[str, str]]) -> list[int]:
    """Trains in two processes; their exit statuses."""
    small = prepare(place / "corpus", "samplernn")
    argv = ["-u", small["upstream"], "-d", "audio_generation", "-c", small["config"], "-o", f"{small['override']},,{STEPS}", "-a"]
    argv += ["-p", str(place / folder), "--device", "cpu"]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    ranks = [
        server.start(argv, place, environment={**group, "RANK": str(rank), "LOCAL_RANK": str(rank), **own})
        for rank, own in enumerate(environments)
    ]
    return [rank.wait() for rank in ranks]


@pytest.mark.slow
def test_a_killed_training_by_two_goes_on_with_the_states_of_both(server, tmp_path):
    assert trained(server, tmp_path, "whole", [{}, {}]) == [0, 0]
    states = load(tmp_path / "whole" / "states-4.ckpt")["Downstream"]["_extra_state"]["carried"]
    assert len(states) == 2
    assert not torch.equal(states[0][0], states[1][0])
    assert trained(server, tmp_path, "killed", [{VARIABLE: "checkpoint.before_rename:2"}, {}])[0] == -signal.SIGKILL
    assert load(tmp_path / "killed" / "states-2.ckpt")["Step"] == 2
    assert trained(server, tmp_path, "killed", [{}, {}]) == [0, 0]
    assert_same_run(tmp_path / "killed", tmp_path / "whole")
