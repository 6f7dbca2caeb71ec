"""Copies a checkpoint, of any origin, with the content of a yaml file added under the key ``config``.

    python3 utility/add_config_to_ckpt.py --ckpt upstream.pt --config upstream.yaml --out_ckpt upstream-with-config.pt

For upstream checkpoints that need their model config beside them. The file is read without executing anything of it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import CheckpointError, program


def add_config(ckpt: Path, config: Path, out: Path) -> None:
    """Writes ``out``.

    Raises:
        CheckpointError: the checkpoint cannot be read, is no dict, or holds what has no plain form; ConfigError: no yaml mapping.
    """
    from utility.experiment import checkpoint
    from utility.experiment.config import load_config
    from utility.experiment.unpickle import load_foreign

    state = load_foreign(ckpt)
    if not isinstance(state, dict):
        raise CheckpointError(f"{ckpt} holds a {type(state).__name__}, not a dict, so that no key can be added")
    state = {**state, "config": load_config(config)}
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        checkpoint.save(state, [out])
    except TypeError as error:
        raise CheckpointError(f"{ckpt} cannot be copied as plain data: {error}") from error


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description="copy a checkpoint with a yaml file added under the key 'config'")
    parser.add_argument("--ckpt", type=Path, required=True, help="the checkpoint to copy")
    parser.add_argument("--config", type=Path, required=True, help="the yaml file")
    parser.add_argument("--out_ckpt", type=Path, required=True, help="the checkpoint to write")
    args = parser.parse_args(argv)
    add_config(args.ckpt, args.config, args.out_ckpt)
    print(args.out_ckpt)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
