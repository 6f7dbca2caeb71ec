"""The names of a run's numbered checkpoints."""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"states-(\d+)\.ckpt")


def list_states(folder: Path) -> list[tuple[int, Path]]:
    """``(step, file)`` of every ``states-<step>.ckpt`` directly in ``folder``, oldest first."""
    if not folder.is_dir():
        return []
    found = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in found if match and path.is_file())
