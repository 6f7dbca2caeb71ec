"""Makes a checkpoint of this toolkit of one that another system trained for the same task.

    python3 utility/import_checkpoint.py -d mos_prediction exp/run/checkpoint-best.pkl --output imported/checkpoint.pkl
    python3 run_downstream.py -m inference -t recording.wav -e imported/checkpoint.pkl

The task says what it can take over in ``foreign.py``: settings (``--config``, by default what lies beside the checkpoint), weights and,
where the checkpoint holds a fine-tuned upstream, that upstream as a file beside ``--output``. Nothing of the files is executed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import DataError, UsageError, program
from utility.experiment.plugins import find_task, load_task_module

TASKS = Path(__file__).resolve().parents[1] / "downstream"


def imported(task: str, checkpoint: Path, output: Path, config: Path | None = None, upstream: Path | None = None) -> list[Path]:
    """Writes the checkpoint, and the upstream's file where there is one.

    Args:
        task: name or folder of the task.
        checkpoint: of the other system.
        output: the file to write, which must not exist.
        config: its settings.
        upstream: a file of an upstream of the same architecture, where the task does not know it by its name.

    Returns:
        the files written.

    Raises:
        UsageError: the task takes no foreign checkpoints. DataError: the output exists. CheckpointError, ConfigError: unreadable.
    """
    import torch

    from upstream import registry
    from utility.experiment import checkpoint as files
    from utility.experiment.command_line import parse
    from utility.experiment.texts import write_whole

    folder = find_task(task, TASKS)
    if not (folder / "foreign.py").is_file():
        raise UsageError(f"the task {task!r} takes no checkpoints of other systems: it has no foreign.py")
    if output.exists():
        raise DataError(f"{output} exists already")
    foreign = load_task_module(folder, "foreign").convert(checkpoint, config, upstream)
    output.parent.mkdir(parents=True, exist_ok=True)
    words, written = ["-m", "train", "-u", foreign.upstream, "-d", task, "-p", str(output.parent)], []
    if foreign.upstream_file is not None:
        written.append(output.with_name(f"{output.stem}.upstream.pt"))
        write_whole(written[0], lambda path: torch.save(foreign.upstream_file, path))
        words += ["-k", str(written[0].resolve())]
    args: dict[str, Any] = {**vars(parse(words, registry.available, list)), **foreign.args}
    state = {"Downstream": foreign.downstream, "Step": foreign.step, "Args": args, "Config": foreign.config}
    files.save(state, [output])
    return [*written, output]


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="of the other system")
    parser.add_argument("-d", "--downstream", required=True, help="the task")
    parser.add_argument("--output", type=Path, required=True, help="the checkpoint to write")
    parser.add_argument("--config", type=Path, help="its settings (default: what lies beside it)")
    parser.add_argument("--upstream", type=Path, help="a file of an upstream of the same architecture, if the settings name an unknown one")
    args = parser.parse_args(argv)
    for path in imported(args.downstream, args.checkpoint, args.output, args.config, args.upstream):
        print(path)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
