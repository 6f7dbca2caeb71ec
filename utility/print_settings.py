"""Prints settings that a checkpoint was trained with.

    python3 utility/print_settings.py CKPT args.upstream
    python3 utility/print_settings.py CKPT config.optimizer.lr config.runner
    python3 utility/print_settings.py CKPT                              all of them

A single value is printed as it is, a group as yaml. CKPT may be an experiment folder: its newest ``states-*.ckpt``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import UnknownNameError, UsageError, program

PARTS = {"args": "Args", "config": "Config"}


def read_settings(path: Path) -> dict[str, Any]:
    """``{"args": ..., "config": ...}`` of a checkpoint, or of the newest one in a folder.

    Raises:
        CheckpointError: there is none, or it cannot be read.
    """
    from utility.experiment import checkpoint

    state = checkpoint.load(checkpoint.resolve(path))
    return {name: state.get(key, {}) for name, key in PARTS.items()}


def look_up(settings: dict[str, Any], field: str) -> Any:
    """The value of a dotted field such as ``config.runner.total_steps``; numbers step into lists.

    Raises:
        UnknownNameError: there is no such field; UsageError: the field steps into a single value.
    """
    value: Any = settings
    for depth, name in enumerate(names := field.split(".")):
        if isinstance(value, list):
            value = dict(enumerate(value))
            name = int(name) if name.isdecimal() else name
        if not isinstance(value, dict):
            raise UsageError(f"{'.'.join(names[:depth])} is the single value {value!r} and has no field {name!r}")
        if name not in value:
            raise UnknownNameError("field", ".".join(names[: depth + 1]), [".".join([*names[:depth], str(key)]) for key in value])
        value = value[name]
    return value


def as_text(value: Any) -> str:
    """A single value as Python writes it without quotes, a group as yaml."""
    if not isinstance(value, dict):
        return str(value)
    import yaml

    return yaml.safe_dump(value, allow_unicode=True, sort_keys=False).rstrip("\n")


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description="print settings that a checkpoint was trained with")
    parser.add_argument("ckpt", type=Path, help="a checkpoint, or an experiment folder")
    parser.add_argument("field", nargs="*", help="such as args.upstream or config.optimizer.lr; none: all settings")
    args = parser.parse_args(argv)
    settings = read_settings(args.ckpt)
    texts = [as_text(look_up(settings, field)) for field in args.field] or [as_text(settings)]
    print("\n".join(texts))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
