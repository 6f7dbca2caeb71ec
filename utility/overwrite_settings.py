"""Copies a checkpoint with the settings of ``args.yaml`` and ``config.yaml`` (as ``extract_settings.py`` writes them) in it.

    python3 utility/overwrite_settings.py --ckpt_pth OLD.ckpt --settings_dir settings/ --new_ckpt_pth NEW.ckpt

Weights, optimizer state and position stay as they are. Of the two files one is enough; the other settings are then kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import DataError, program
from utility.print_settings import PARTS


def overwrite(ckpt: Path, settings: Path, new: Path) -> None:
    """Writes ``new``: the checkpoint ``ckpt`` with the settings in the folder ``settings``.

    Raises:
        CheckpointError: the checkpoint cannot be read or written; ConfigError: a file is no yaml mapping; DataError: none is there.
    """
    from utility.experiment import checkpoint
    from utility.experiment.config import load_config

    state = checkpoint.load(checkpoint.resolve(ckpt))
    present = {key: path for name, key in PARTS.items() if (path := settings / f"{name}.yaml").exists()}
    if not present:
        raise DataError(f"{settings} holds neither args.yaml nor config.yaml")
    state |= {key: load_config(path) for key, path in present.items()}
    new.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(state, [new])


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description="copy a checkpoint with other settings in it")
    parser.add_argument("--ckpt_pth", type=Path, required=True, help="a checkpoint, or an experiment folder")
    parser.add_argument("--settings_dir", type=Path, required=True, help="folder of args.yaml and config.yaml")
    parser.add_argument("--new_ckpt_pth", type=Path, required=True, help="the checkpoint to write")
    args = parser.parse_args(argv)
    overwrite(args.ckpt_pth, args.settings_dir, args.new_ckpt_pth)
    print(args.new_ckpt_pth)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
