"""Every error that a user can cause.

    ToolkitError                 one sentence, exit status 2
    ├── UsageError               the command line
    │   └── UnknownNameError     an upstream, downstream, split or field that does not exist
    ├── ConfigError              fields of a config, all faults together
    ├── DataError                a corpus, a list or an audio file
    ├── CheckpointError          a file that cannot be read as a checkpoint
    │   └── UnsafePickleError    a pickle that names something it must not
    ├── FolderInUseError         a second trainer in one experiment folder
    └── MissingDependencyError   an optional package that is not installed

A disk that is full, or that lets nothing be read or written, is one sentence as well, and so is a path that cannot be (a file where a
folder is wanted, a folder for a file, too long a name). Anything else that escapes is a bug and shows its traceback.
"""

from __future__ import annotations

import difflib
import errno
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterable

EXIT_STATUS = 2
INTERRUPTED = 130  # by Ctrl-C
_FULL_OR_CLOSED = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
_ANOTHER_KIND_OF_PLACE = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)
DISK_ERRORS = (*_FULL_OR_CLOSED, *_ANOTHER_KIND_OF_PLACE)
MISTAKE_VARIABLE = "RUN_WHILE_MISTAKE"  # names a file that says to run_while.sh: the command ended with EXIT_STATUS


class ToolkitError(Exception):
    """Base of all errors that end in one sentence on stderr and exit status 2."""


class UsageError(ToolkitError):
    """The command line asks for something impossible."""


class UnknownNameError(UsageError):
    """A name that is not among the valid ones; the sentence shows the nearest and the valid names.

    Args:
        kind: what the name should have been, such as ``"upstream"``.
        name: the name that was given.
        valid: the names that exist.
    """

    def __init__(self, kind: str, name: str, valid: Iterable[str]):
        self.kind, self.name, self.valid = kind, name, sorted(valid)
        super().__init__(f"unknown {kind} {name!r}{did_you_mean(name, self.valid)}")


class ConfigError(ToolkitError):
    """One or more wrong config fields; each fault names its field.

    Args:
        faults: sentences without a full stop, one per fault.
        source: the file, section or command-line option that the fields came from; None: who built the object knows it.
    """

    def __init__(self, faults: str | Iterable[str], source: str | None = None):
        self.faults, self.source = [faults] if isinstance(faults, str) else list(faults), source
        super().__init__(f"{source or 'config'}: " + "; ".join(self.faults))


class DataError(ToolkitError):
    """A corpus, list or audio file is missing or cannot be used."""


class CheckpointError(ToolkitError):
    """A file cannot be read as the checkpoint that it should be."""


class UnsafePickleError(CheckpointError):
    """A pickle names a global outside the accepted ones; nothing of it was executed."""


class FolderInUseError(ToolkitError):
    """Another process trains in this experiment folder."""


class MissingDependencyError(ToolkitError):
    """An optional package is absent.

    Args:
        package: the name to install.
        purpose: what needs it.
    """

    def __init__(self, package: str, purpose: str):
        super().__init__(f"{purpose} needs the package {package!r}, which is not installed: pip install {package}")


def of_files(error: DataError, *files: object) -> DataError:
    """The error with the names of the files whose waveforms a batch was made of, unless its sentence names one."""
    if len(files) == 1 and getattr(error, "fault", None):  # of the only waveform of its batch
        error = DataError(error.fault)
    named = any(str(file) in str(error) for file in files)
    return error if named else DataError(f"{', '.join(map(str, files))}: {error}")


def program(main: Callable[[list[str] | None], int]) -> Callable[..., int]:
    """For the ``main`` of a program: a user's error, or one of the disk, becomes its sentence on stderr and status 2, Ctrl-C status 130.

    Where whoever read the output has read enough, it ends without a word (see :func:`unread`).
    """

    @functools.wraps(main)
    def guarded(argv: list[str] | None = None) -> int:
        try:
            status = main(argv)
            if sys.stdout is not None:
                sys.stdout.flush()  # while a reader that has left is still no traceback
            return status
        except ToolkitError as error:
            print(error, file=sys.stderr)
        except BrokenPipeError:
            return unread()
        except OSError as error:
            print(sentence_of(error), file=sys.stderr)
        except KeyboardInterrupt:
            return INTERRUPTED
        return EXIT_STATUS

    return guarded


def unread() -> int:
    """After a BrokenPipeError: what is still to be written goes nowhere. Returns the status of a program that SIGPIPE has ended."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return 128 + signal.SIGPIPE


def sentence_of(error: OSError) -> str:
    """What the disk refuses, and of which file.

    Raises:
        OSError: the error itself, if it is none of :data:`DISK_ERRORS`, so that it may be a bug.
    """
    if error.errno not in DISK_ERRORS:
        raise error
    file = error.filename2 or error.filename  # of a link or a move, what was to be made
    return f"{error.strerror}: {file}" if file else str(error.strerror)


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name most like ``name``, or None when nothing is close."""
    by_lower = {v.lower(): v for v in valid}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def did_you_mean(name: str, valid: Iterable[str], most: int = 20) -> str:
    """The tail of an error sentence: the nearest valid name and up to ``most`` of the valid ones."""
    valid = list(valid)
    if not valid:
        return ""
    guess = nearest(name, valid)
    listing = ", ".join(valid[:most]) + (f", ... ({len(valid)} in all)" if len(valid) > most else "")
    return f"; did you mean {guess!r}? Valid: {listing}" if guess else f"; valid: {listing}"
