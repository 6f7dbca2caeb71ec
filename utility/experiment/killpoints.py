"""Named places at which a test can end the process as ``kill -9`` would.

``TOOLKIT_KILL_AT=checkpoint.before_rename`` kills at the first visit of that place, ``TOOLKIT_KILL_AT=checkpoint.before_rename:3`` at the
third. Without the variable a visit costs one look into the environment. That a run killed anywhere resumes equal can only be shown if
"anywhere" can be chosen.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

VARIABLE = "TOOLKIT_KILL_AT"

_visits: Counter[str] = Counter()


def reach(name: str) -> None:
    """Marks the place ``name``; SIGKILLs this process if the environment asks for it here."""
    wanted, _, nth = os.environ.get(VARIABLE, "").partition(":")
    if wanted != name:
        return
    _visits[name] += 1
    if _visits[name] == int(nth or 1):
        os.kill(os.getpid(), signal.SIGKILL)
