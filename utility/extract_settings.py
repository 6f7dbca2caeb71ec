"""Writes the settings of a checkpoint as ``args.yaml`` and ``config.yaml``, to be edited and put back by ``overwrite_settings.py``.

python3 utility/extract_settings.py --ckpt_pth result/downstream/ExpName/dev-best.ckpt --save_dir settings/
"""

from __future__ import annotations

import argparse
from pathlib import Path

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import DataError, program
from utility.print_settings import read_settings


def write_settings(ckpt: Path, folder: Path) -> list[Path]:
    """Writes the two files, keys sorted as S3PRL sorts them; returns their paths.

    Raises:
        CheckpointError: the checkpoint cannot be read; DataError: the folder cannot be written.
    """
    import yaml

    paths = []
    for name, values in read_settings(ckpt).items():
        path = folder / f"{name}.yaml"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
        except OSError as error:
            raise DataError(f"cannot write {path}: {error.strerror}") from error
        paths.append(path)
    return paths


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description="write the settings of a checkpoint as args.yaml and config.yaml")
    parser.add_argument("--ckpt_pth", type=Path, required=True, help="a checkpoint, or an experiment folder")
    parser.add_argument("--save_dir", type=Path, required=True, help="folder to write to")
    args = parser.parse_args(argv)
    paths = write_settings(args.ckpt_pth, args.save_dir)
    print("\n".join(map(str, paths)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
