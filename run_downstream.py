#!/usr/bin/env python3
"""The one entry: trains, evaluates and uses a downstream task on an upstream representation.

python3 run_downstream.py -m train -u UPSTREAM -d DOWNSTREAM -n NAME
"""

from __future__ import annotations

import os
import signal


def _leave(*_: object) -> None:
    os._exit(130)


if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Until the work begins, Ctrl-C ends the program at once: an exception in the midst of an import can be lost, or leave half a module.
    signal.signal(signal.SIGINT, _leave)

import contextlib
import logging
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upstream import registry
from utility.errors import EXIT_STATUS, MISTAKE_VARIABLE, ToolkitError, sentence_of, unread
from utility.experiment.command_line import Arguments, parse
from utility.experiment.plan import Journal, Order, Plan, namespace_of, plan_of
from utility.experiment.plugins import find_plugins, find_task

if TYPE_CHECKING:
    from utility.training.distributed import Team

TASKS = Path(__file__).resolve().parent / "downstream"


def main(argv: list[str] | None = None) -> int:
    """Runs a command line; returns the exit status: 0, 2 for a user's error (one sentence on stderr), 128 + N after signal N."""
    if sys.stderr is None:  # closed by whoever started us; what is opened next would get its number and the messages meant for it
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - stays open
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        namespace = parse(sys.argv[1:] if argv is None else argv, registry.available, lambda: sorted(find_plugins(TASKS)))
        if namespace.upstream:
            registry.find(namespace.upstream)
        task = find_task(namespace.downstream, TASKS) if namespace.downstream else None
        plan = _planned(namespace, task, time.time())
        return _run(namespace, task, plan)
    except ToolkitError as error:
        return _fail(str(error))
    except BrokenPipeError:  # whoever read our results has read enough
        return unread()
    except OSError as error:
        return _fail(sentence_of(error))
    except KeyboardInterrupt:
        return 130


def _fail(sentence: str, status: int = EXIT_STATUS) -> int:
    print(f"run_downstream.py: error: {sentence}", file=sys.stderr)
    note = os.environ.get(MISTAKE_VARIABLE)
    if note and status == EXIT_STATUS:  # a launcher in between would turn the status into 1
        with contextlib.suppress(OSError):
            Path(note).touch()
    return status


def _planned(namespace: Arguments, task: Path | None, now: float) -> Plan | None:
    """What a task makes of a config that is another system's."""
    if task is None or not namespace.config:
        return None
    return plan_of(Order(namespace.config, vars(namespace), namespace.given, now), task)


def _run(namespace: Arguments, task: Path | None, plan: Plan | None) -> int:
    """Everything that needs torch, so that ``-h``, a wrong flag and a wrong name are answered at once."""
    import torch

    from utility.training.distributed import join, lost_a_peer

    torch.multiprocessing.set_sharing_strategy("file_system")
    wanted = plan.stages[0].device if plan else namespace.device
    device = "cuda" if torch.cuda.is_available() and wanted in ("auto", "cuda") else wanted
    team = join(device, namespace.backend, namespace.local_rank)
    try:
        if plan is None:
            return _run_one(namespace, team)
        if team.size > 1:  # a folder may be named after the time, which must be the same for all
            plan = _planned(namespace, task, team.share(time.time()))
        return _run_stages(namespace, team, plan)
    except RuntimeError as error:
        if not lost_a_peer(error):
            raise
        return _fail(f"process {team.rank} ends because another process of the run has ended; its message says why", 1)
    finally:
        team.leave()


def _run_stages(namespace: Arguments, team: Team, plan: Plan) -> int:
    """One stage after the other; the first that fails, or is stopped, ends it with its status."""
    journal = Journal(plan, team.leads)
    if team.leads:
        for sentence in plan.warnings:
            logging.warning("%s", sentence)
    journal.begin()
    for number, stage in enumerate(plan.stages, 1):
        said = f"stage {number} of {len(plan.stages)}, {stage.title}"
        if journal.done(stage):
            logging.info("%s: done already", said)
            continue
        if team.leads and len(plan.stages) > 1:
            logging.warning("[Plan] - %s", said)
        if status := _run_one(namespace_of(stage, plan, namespace), team, stage.config):
            return status
        journal.note(stage)
    return 0


def _run_one(namespace: Arguments, team: Team, config: Mapping[str, Any] | None = None) -> int:
    import torch

    from downstream.runner import Runner, resolve_device
    from utility.experiment.download import set_cache_dir
    from utility.experiment.experiment import lock_for_training, open_experiment

    with lock_for_training(namespace, team):
        experiment = open_experiment(namespace, team, TASKS, registry.entries(registry.ROOT), config)
        torch.backends.cudnn.deterministic = torch.backends.cudnn.enabled = not experiment.args["disable_cudnn"]
        if experiment.args["cache_dir"]:
            torch.hub.set_dir(experiment.args["cache_dir"])
            set_cache_dir(experiment.args["cache_dir"])
        runner = Runner(experiment, team, resolve_device(experiment.args["device"], team.local_rank))
        if signal.getsignal(signal.SIGINT) is _leave:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return getattr(runner, experiment.mode)()


if __name__ == "__main__":
    warnings.formatwarning = lambda message, *_, **__: f"{message}\n"  # the sentence, without the line of code that it comes from
    sys.exit(main())
