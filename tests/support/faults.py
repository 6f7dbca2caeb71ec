"""Faults of the disk and of the machine, set up in a forked process before the program starts.

Each function is named as ``before`` of :meth:`tests.support.forkserver.ForkServer.start` and reads its number from the environment.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

NTH, FOLDER, REPORT, AT, SIGNALS = "FAULT_NTH", "FAULT_FOLDER", "FAULT_REPORT", "FAULT_AT", "FAULT_SIGNALS"

_CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.truncate", "shutil.copyfile", "shutil.move"}


def full_disk_at_checkpoint_write() -> None:
    """The ``FAULT_NTH``-th write of a checkpoint finds the disk full, and so does every later one."""
    from utility.experiment import checkpoint

    write, due = checkpoint._write, _countdown()

    def failing(handle: Any, data: Any) -> int:
        if due() <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, data)

    checkpoint._write = failing


def kill_before_change() -> None:
    """SIGKILL before the ``FAULT_NTH``-th change of the folder ``FAULT_FOLDER``; how many there were goes to ``FAULT_REPORT``."""

    def die(name: str) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    _at_change(die)


def full_disk_at_change() -> None:
    """From the ``FAULT_NTH``-th change of the folder on there is no space for a new file or folder; renaming and removing work."""

    def refuse(name: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)

    _at_change(refuse, ("open", "os.mkdir"), last=True)


def _countdown() -> Callable[[], int]:
    left = [int(os.environ[NTH])]

    def due() -> int:
        left[0] -= 1
        return left[0]

    return due


def _at_change(act: Callable[[str], None], kinds: tuple[str, ...] = tuple(_CHANGES), last: bool = False) -> None:
    due, folder, report = _countdown(), os.environ[FOLDER], os.environ.get(REPORT)
    process = os.getpid()

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in kinds or os.getpid() != process or not _is_change(event, arguments, folder):
            return
        if report:
            with open(report, "a") as log:  # noqa: PTH123 - pathlib is what is being watched
                log.write(f"{event} {arguments[0]}\n")
        left = due()
        if left == 0 or (last and left < 0):
            act(os.fspath(arguments[0]))

    sys.addaudithook(watch)


def _is_change(event: str, arguments: tuple[Any, ...], folder: str) -> bool:
    path = arguments[0]
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path).startswith(folder):
        return False
    writes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    return event != "open" or (bool(arguments[2] & writes) and Path(path).name != ".lock")


def signal_at() -> None:
    """Sends this process the signals of ``FAULT_SIGNALS`` (numbers) when it reaches ``FAULT_AT`` (``place:visit``).

    Places: ``start`` (before the experiment is opened), ``build`` (the models are being built), ``update`` (the optimizer has moved) and
    the named kill points.
    """
    from downstream import evaluation, runner
    from downstream.optimisation import Optimisation
    from utility.experiment import checkpoint, experiment

    place, _, visit = os.environ[AT].partition(":")
    left, signals = [int(visit or 1)], [int(number) for number in os.environ[SIGNALS].split()]

    def reached(name: str) -> None:
        left[0] -= name == place
        if name == place and left[0] == 0:
            for number in signals:
                os.kill(os.getpid(), number)

    evaluation.reach = checkpoint.reach = reached
    experiment.open_experiment = _announced(experiment.open_experiment, lambda: reached("start"))
    runner.Pipeline = _announced(runner.Pipeline, lambda: reached("build"))
    Optimisation.update = _announced(Optimisation.update, lambda: reached("update"))


def _announced(function: Callable, announce: Callable[[], None]) -> Callable:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        announce()
        return function(*args, **kwargs)

    return wrapped
