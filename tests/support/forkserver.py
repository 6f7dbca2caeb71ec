"""Runs command lines of run_downstream.py in processes that cost milliseconds.

Starting Python and importing torch takes seconds, and a test of kills needs hundreds of processes. A server imports everything once, runs
nothing of it (so that no thread of the math library exists) and forks a child per command line. To the outside such a child is a process
like any other: own session, own environment and working directory, files for its output; SIGKILL ends it as it ends every process.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
MODULES = ("run_downstream", "downstream.runner", "upstream.interfaces", "upstream.baseline.expert", "torch._dynamo", "torch.distributed")
POLL_SECONDS = 0.005


class Forked:
    """A process started by the server.

    Attributes:
        pid: its id, which is that of its session as well.
        status: exit status once it has ended, -N after signal N.
    """

    def __init__(self, server: ForkServer, pid: int, out: Path, err: Path):
        self.server, self.pid, self._out, self._err = server, pid, out, err
        self.status: int | None = None

    def poll(self) -> int | None:
        """The exit status, None while it runs."""
        if self.status is None:
            self.status = self.server.ask(do="poll", pid=self.pid)
        return self.status

    def wait(self, timeout: float = 120) -> int:
        """Waits for the end; the limit only keeps a hanging process from hanging the tests."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"process {self.pid} did not end within {timeout} s\n{self.err}")
            time.sleep(POLL_SECONDS)
        return self.status

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends a signal to the process alone, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    @property
    def out(self) -> str:
        """What it has written to stdout."""
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        """What it has written to stderr."""
        return self._err.read_text(errors="replace")


class ForkServer:
    """The test's side of the server; a context manager.

    Args:
        environment: variables that differ from this process's.
    """

    def __init__(self, environment: Mapping[str, str] | None = None):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forkserver"],
            cwd=REPO,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.count = 0
        assert self._process.stdout.readline() == "ready\n"

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def ask(self, **request: Any) -> Any:
        """Sends a request and returns the answer."""
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def load(self, *modules: str) -> None:
        """Imports what the programs of a task import, so that each of them has it from its beginning."""
        self.ask(do="load", modules=modules)

    def start(self, argv: Sequence[str], cwd: Path, environment: Mapping[str, str] | None = None, before: str | None = None) -> Forked:
        """Starts ``run_downstream.main(argv)``.

        Args:
            argv: the words after the program's name.
            cwd: working directory of the process; the files of its stdout and stderr go there.
            environment: variables set beside those of the server.
            before: ``module:function`` called in the process before the program.
        """
        self.count += 1
        out, err = (cwd / f"{self.count:04d}.{name}" for name in ("out", "err"))
        request = {"argv": list(argv), "cwd": str(cwd), "environment": dict(environment or {}), "before": before}
        return Forked(self, self.ask(do="fork", out=str(out), err=str(err), **request), out, err)

    def run(self, argv: Sequence[str], cwd: Path, **settings: Any) -> Forked:
        """As :meth:`start`, and waits for the end."""
        process = self.start(argv, cwd, **settings)
        process.wait()
        return process


def serve() -> None:
    """The server: answers requests until stdin closes, then ends what it has started."""
    for module in MODULES:
        importlib.import_module(module)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the tests, and with them the server
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(2, 1)
    answers.write("ready\n")
    answers.flush()
    ended: dict[int, int | None] = {}
    for line in requests:
        request, answer = json.loads(line), None
        if request["do"] == "load":
            for module in request["modules"]:
                importlib.import_module(module)
        elif request["do"] == "fork":
            answer = os.fork()
            if answer == 0:
                _become(request, (requests.fileno(), answers.fileno()))
            ended[answer] = None
        else:
            answer = ended[request["pid"]] = _status(request["pid"], ended)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    for pid, status in ended.items():
        if status is None and _status(pid, ended) is None:
            os.killpg(pid, signal.SIGKILL)


def _status(pid: int, ended: Mapping[int, int | None]) -> int | None:
    if ended[pid] is not None:
        return ended[pid]
    gone, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if gone else None


def _become(request: dict[str, Any], inherited: tuple[int, ...]) -> None:
    """Turns the forked child into the process that was asked for; does not return."""
    status = 1
    try:
        os.setsid()
        for descriptor in inherited:
            os.close(descriptor)
        for target, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), target)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.chdir(request["cwd"])
        os.environ.update(request["environment"])
        if request["before"]:
            module, _, function = request["before"].partition(":")
            getattr(importlib.import_module(module), function)()
        status = importlib.import_module("run_downstream").main(request["argv"])
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - what the interpreter would do, without its exit
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status or 0)


if __name__ == "__main__":
    serve()
    os._exit(0)  # to take down all that is imported would take a second
