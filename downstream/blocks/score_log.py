"""The ``log.log`` of a task, whose lines ``utility/get_best_dev.py`` reads (spec: s3prl-core.md 12)."""

from __future__ import annotations

import re
from pathlib import Path

_STEP = re.compile(r" at step (\d+): |\|step:(\d+)\|")


def log_score(folder: Path, split: str, step: int, score: float, best: bool = False) -> None:
    """Appends ``<split> at step <n>: <score>`` and, if asked, ``New best on <split> at step <n>: <score>`` to ``folder/log.log``.

    A training that was killed and goes on from an older checkpoint reaches some steps twice. Lines of later steps, and of this step and
    split, are dropped first, so that the file ends as that of a training that was never killed.
    """
    fresh = [f"{split} at step {step}: {score}"] + [f"New best on {split} at step {step}: {score}"] * best
    _append(folder / "log.log", fresh, step, (f"{split} at ", f"New best on {split} at "))


def log_probe(folder: Path, task: str, split: str, step: int, score: float, best: bool = False) -> str:
    """Appends ``<task>/<split>-|step:<n>|acc:<score>``, with ``best|`` before it if asked: the form of the probes of phones.

    Lines that are out of date are dropped as in :func:`log_score`.

    Returns:
        the line.
    """
    plain = f"{task}/{split}-|"
    line = f"{'best|' * best}{plain}step:{step}|acc:{score}"
    _append(folder / "log.log", [line], step, (plain, f"best|{plain}"))
    return line


def _append(path: Path, fresh: list[str], step: int, own: tuple[str, ...]) -> None:
    """Appends lines of a step, and drops those of later steps and those of this step that begin with one of ``own``."""
    lines = path.read_text().splitlines() if path.exists() else []
    kept = [line for line in lines if not _is_stale(line, step, own)]
    if len(kept) == len(lines):
        with path.open("a") as file:
            file.writelines(f"{line}\n" for line in fresh)
        return
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text("".join(f"{line}\n" for line in kept + fresh))
    temporary.replace(path)


def _is_stale(line: str, step: int, own: tuple[str, ...]) -> bool:
    found = _STEP.search(line)
    if not found:
        return False
    logged = int(found[1] or found[2])
    return logged > step or (logged == step and line.startswith(own))
