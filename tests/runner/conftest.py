"""Fixtures of the tests that start, kill and resume whole trainings."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import toys
from tests.support.forkserver import Forked, ForkServer


@dataclass
class Toy:
    """One toy experiment: its folder, its config, and its processes.

    Args:
        server: starts the processes.
        place: folder of the config and of the output of the processes.
        folder: the experiment folder.
        task: the toy task.
        changes: of the config.
        flags: further words of the command line.
    """

    server: ForkServer
    place: Path
    folder: Path
    task: str
    changes: dict[str, Any]
    flags: tuple[str, ...] = ()

    @property
    def argv(self) -> list[str]:
        config = toys.write_config(self.place / "config.yaml", **self.changes)
        return toys.training(self.folder, config, *self.flags, task=self.task)

    def start(self, **settings: Any) -> Forked:
        """Starts the training."""
        return self.server.start(self.argv, self.place, **settings)

    def run(self, **settings: Any) -> Forked:
        """Trains until the process ends."""
        return self.server.run(self.argv, self.place, **settings)

    def finish(self) -> Forked:
        """Trains to the end."""
        process = self.run()
        assert process.status == 0, process.err
        return process

    def start_ranks(self, argv: list[str] | None = None, size: int = 2, environment: Sequence[dict[str, str]] = ()) -> list[Forked]:
        """Starts the training, or another command line, as a launcher would start it in several processes.

        Args:
            argv: default: the training.
            size: number of processes.
            environment: variables of rank 0, 1 ... alone.
        """
        group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)}
        own = [*environment, *[{}] * size][:size]
        ranks = [{**group, "RANK": str(rank), "LOCAL_RANK": str(rank), **own[rank]} for rank in range(size)]
        argv = argv or self.argv
        return [self.server.start(argv, self.place, environment=variables) for variables in ranks]

    def run_ranks(self, argv: list[str] | None = None, size: int = 2, environment: Sequence[dict[str, str]] = ()) -> list[Forked]:
        """As :meth:`start_ranks`, and waits for the end of all."""
        ranks = self.start_ranks(argv, size, environment)
        for rank in ranks:
            rank.wait()
        return ranks

    def finish_ranks(self) -> None:
        """Trains to the end with two processes."""
        ranks = self.run_ranks()
        assert [rank.status for rank in ranks] == [0, 0], "\n".join(rank.err for rank in ranks)

    def evaluation(self, split: str, checkpoint: str) -> list[str]:
        """The words that evaluate a checkpoint of the folder."""
        return ["-m", "evaluate", "-t", split, "-e", str(self.folder / checkpoint), *toys.plugins(self.task)]

    def evaluate(self, split: str, checkpoint: str) -> Forked:
        """Evaluates a checkpoint of the folder."""
        process = self.server.run(self.evaluation(split, checkpoint), self.place)
        assert process.status == 0, process.err
        return process

    @property
    def steps(self) -> list[int]:
        """Steps of the numbered checkpoints."""
        return sorted(int(path.stem.partition("-")[2]) for path in self.folder.glob("states-*.ckpt"))


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def make_toy(server, tmp_path_factory) -> Callable[..., Toy]:
    """``make_toy(task, *flags, **changes)``: a toy experiment in a new folder."""

    def make(task: str = "toy_task", *flags: str, **changes: Any) -> Toy:
        place = tmp_path_factory.mktemp("toy")
        return Toy(server, place, place / "run", task, changes, flags)

    return make


@pytest.fixture(scope="session")
def uninterrupted(make_toy) -> Callable[..., Path]:
    """``uninterrupted(task, *flags, **changes)``: the folder of a training that nothing disturbed, trained once for all tests."""
    done: dict[str, Path] = {}

    def folder(task: str = "toy_task", *flags: str, **changes: Any) -> Path:
        key = repr((task, flags, changes))
        if key not in done:
            toy = make_toy(task, *flags, **changes)
            toy.finish()
            done[key] = toy.folder
        return done[key]

    return folder
