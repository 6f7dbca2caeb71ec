"""Repeats a command, as ``./run_while.sh COMMAND...`` (specs/s3prl-core.md, section 12).

    ./run_while.sh python3 run_downstream.py -a -m train -n ExpName -u fbank -d example
    ./run_while.sh "./downstream/sv_voxceleb1/test_expdirs.sh result/downstream/ExpName; sleep 1800;"

* A training (run_downstream.py in train mode, also below torchrun, nohup, nice, srun and the like) must carry -a. It is repeated until it
  ends with status 0, which means that it is complete; status 2, a mistake in the command, ends the loop at once (a launcher in between
  hides the status, so the training leaves a note in the file that RUN_WHILE_MISTAKE names).
* Everything else is repeated for ever.
* The next attempt follows after a second where the last one made progress (a training: a new ``states-*.ckpt``; else: status 0); each
  attempt without progress doubles the wait, up to five minutes. RUN_WHILE_MIN_WAIT and RUN_WHILE_MAX_WAIT change the two, in seconds.
* Processes that an attempt leaves behind, such as workers of a crashed distributed run, are ended before the next one. They are known by
  the variable RUN_WHILE_JOB in their environment, so that nobody else's process is touched.
* Ctrl-C and SIGTERM are passed to the command; the loop waits for it to end and stops with status 130 or 143.

Differences to S3PRL: it repeats 100 times whatever happens, also a training that is complete or that starts anew each time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import EXIT_STATUS, MISTAKE_VARIABLE, ToolkitError, UsageError
from utility.experiment.train_command import Training, find_trainings, stops_on_success, to_shell

JOB_VARIABLE = "RUN_WHILE_JOB"
SETTLE_SECONDS = 1.0
GRACE_SECONDS = 10.0
LEAVE_SECONDS = 60.0
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):  # noqa: N818 - not an error: the user's wish to end the loop
    """A signal arrived while no command was running."""


class Loop:
    """One command and its attempts.

    Args:
        command: the command as one line for bash.
        trainings: the training commands in it; none of them: repeat for ever.
        finite: whether status 0 of the whole line means that every training in it is complete.
    """

    def __init__(self, command: str, trainings: list[Training], finite: bool):
        self.command, self.trainings, self.finite = command, trainings, finite
        self.job = uuid.uuid4().hex
        self.child: subprocess.Popen | None = None
        self.received: int | None = None
        self.closing = False
        self.mistake = Path(tempfile.gettempdir(), f"run_while-{self.job}")
        self.min_wait = _seconds("RUN_WHILE_MIN_WAIT", 1.0)
        self.max_wait = max(self.min_wait, _seconds("RUN_WHILE_MAX_WAIT", 300.0))

    def run(self) -> int:
        """Repeats the command until it is complete or a signal comes; returns the exit status."""
        for number in FORWARDED:
            if signal.getsignal(number) is not signal.SIG_IGN:  # under nohup a hang-up stays ignored
                signal.signal(number, self._forward)
        try:
            return self._repeat()
        except Stopped:
            self._let_it_leave()
            return 128 + (self.received or 0)
        finally:
            self.closing = True
            end_processes(self.job)
            self.mistake.unlink(missing_ok=True)

    def _let_it_leave(self) -> None:
        """After a signal: what the command started may still be saving, although the shell above it is gone. A second signal hurries."""
        with contextlib.suppress(Stopped):
            wait_for_end(self.job, LEAVE_SECONDS)

    def _repeat(self) -> int:
        trial, fruitless = 0, 0
        while True:
            trial += 1
            _say(f"trial {trial}: {self.command}")
            before = self._newest_states()
            status = self._attempt()
            if self.mistake.exists():
                status = EXIT_STATUS
            if self.received is not None:
                raise Stopped
            if self.finite and status in (0, EXIT_STATUS):
                _say(f"trial {trial} is complete" if status == 0 else f"trial {trial} ended with status {status}: a mistake in the command")
                return status
            progress = self._newest_states() != before if self.trainings else status == 0
            fruitless = 0 if progress else fruitless + 1
            wait = min(self.max_wait, self.min_wait * 2.0 ** min(fruitless, 60))
            end_processes(self.job)
            _say(f"trial {trial} ended with status {status}; the next one follows in {wait:g} s")
            self._sleep(wait)

    def _attempt(self) -> int:
        """Runs the command once in a session of its own, so that a Ctrl-C reaches it only once, through :meth:`_forward`."""
        inherited = os.environ.get(JOB_VARIABLE)
        job = f"{inherited}:{self.job}" if inherited else self.job
        environment = {**os.environ, JOB_VARIABLE: job, MISTAKE_VARIABLE: str(self.mistake)}
        with _blocked_signals():
            self.child = subprocess.Popen(["bash", "-c", self.command], env=environment, start_new_session=True, preexec_fn=_unblock)
        status = self.child.wait()
        self.child = None
        return status if status >= 0 else 128 - status

    def _forward(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        if self.closing:
            return
        if self.child is None:
            raise Stopped
        _say(f"{signal.Signals(number).name} is passed on; waiting for the command to end")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, number)
            if number == signal.SIGINT and _is_shell(self.child.pid):  # bash would go on with the next command of the line
                os.kill(self.child.pid, signal.SIGTERM)

    def _sleep(self, seconds: float) -> None:
        if self.received is not None:
            raise Stopped
        time.sleep(seconds)

    def _newest_states(self) -> list[tuple[str, int] | None]:
        return [newest_states(training.folder) for training in self.trainings]


def newest_states(folder: Path | None) -> tuple[str, int] | None:
    """Name and modification time (ns) of the ``states-*.ckpt`` changed last in a folder; None where there is none."""
    found: list[tuple[int, str]] = []
    for path in folder.glob("states-*.ckpt") if folder else ():
        with contextlib.suppress(FileNotFoundError):  # the trainer removes old ones at any moment
            found.append((path.stat().st_mtime_ns, path.name))
    return max(found)[::-1] if found else None


def job_processes(job: str) -> list[int]:
    """Ids of the live processes (not ourselves) that were started with ``job`` in their RUN_WHILE_JOB; needs /proc, else none."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # it ended meanwhile, or belongs to somebody else
            continue
        value = next((v for v in variables if v.startswith(JOB_VARIABLE.encode() + b"=")), b"")
        if job.encode() in value.partition(b"=")[2].split(b":") and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def end_processes(job: str, grace: float = GRACE_SECONDS) -> None:
    """Ends what a job left behind: SIGTERM to what does not leave by itself, SIGKILL to what is still there after ``grace`` seconds.

    PyTorch's managers of shared memory come last: they leave by themselves when the loader workers have gone, and what they could not
    remove would fill the memory of the machine.
    """
    survivors = [process for process in wait_for_end(job, SETTLE_SECONDS) if not _is_memory_manager(process)]
    if survivors:
        _say(f"ending {len(survivors)} left-over process(es) of this job: {' '.join(map(str, survivors))}")
    _signal_all(survivors, signal.SIGTERM)
    _signal_all((process for process in wait_for_end(job, grace) if not _is_memory_manager(process)), signal.SIGKILL)
    _signal_all(wait_for_end(job, grace), signal.SIGKILL)


def wait_for_end(job: str, patience: float) -> list[int]:
    """Waits until no process of the job lives, at most ``patience`` seconds; returns the ids of those that still do."""
    deadline = time.monotonic() + patience
    while (alive := job_processes(job)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return alive


def _is_shell(process: int) -> bool:
    return _name(process) == "bash"


def _is_memory_manager(process: int) -> bool:
    return _name(process) == "torch_shm_manager"[:15]  # the kernel keeps 15 characters


def _name(process: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/comm").read_text().strip()
    return ""


def _signal_all(processes: Iterable[int], number: int) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)


@contextlib.contextmanager
def _blocked_signals():
    """Holds signals back while the child is being started, so that none falls between its start and our knowing of it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)


def _seconds(variable: str, default: float) -> float:
    try:
        value = float(os.environ.get(variable, default))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UsageError(f"{variable} must be a number of seconds, not {os.environ[variable]!r}")
    return value


def _say(text: str) -> None:
    print(f"[run_while] {text}", file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    words = sys.argv[1:] if argv is None else argv
    if not words or words in (["-h"], ["--help"]):
        print(__doc__, file=sys.stdout if words else sys.stderr)
        return 0 if words else EXIT_STATUS
    try:
        command = to_shell(words)
        trainings = find_trainings(command)
        if any(not training.auto_resume for training in trainings):
            raise UsageError("a training in a loop needs -a (--auto_resume), or each attempt would start it from the beginning")
        return Loop(command, trainings, finite=stops_on_success(command)).run()
    except ToolkitError as error:
        print(f"[run_while] {error}", file=sys.stderr)
        return EXIT_STATUS


if __name__ == "__main__":
    raise SystemExit(main())
