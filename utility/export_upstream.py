"""Makes an upstream of what a fine-tuning (``-f``) has made of one.

    python3 utility/export_upstream.py result/downstream/ExpName/dev-best.ckpt --output tuned.pt
    python3 run_downstream.py -m train -n Other -u hubert_local -k tuned.pt -d emotion

CKPT may be an experiment folder: its newest ``states-*.ckpt``. The file holds the settings of the checkpoint that the training began with
and the trained weights, and is read by the upstream's own ``..._local`` entry, which the program names on stdout. Models of ``-u hf``
become a folder in Hugging Face's layout, which ``-u hf`` and transformers read.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import CheckpointError, DataError, UsageError, program

if TYPE_CHECKING:
    from torch import nn

    from upstream.registry import Entry


def export(ckpt: Path, output: Path) -> str:
    """Writes the upstream of a checkpoint.

    Args:
        ckpt: of a training with ``-f``, or its folder.
        output: the file or folder to write, which must not exist.

    Returns:
        the words that load it, such as ``-u hubert_local -k tuned.pt``, with the options that the training gave to the upstream.

    Raises:
        CheckpointError: the upstream was not trained, or its own checkpoint cannot be read.
        UsageError: it has no weights that could be exported; DataError: the output exists or cannot be written.
    """
    from downstream.pipeline import build_upstream
    from upstream import registry
    from utility.experiment import checkpoint

    path = checkpoint.resolve(ckpt)
    state = checkpoint.load(path)
    args, config = state.get("Args") or {}, state.get("Config") or {}
    if not state.get("Upstream"):
        raise CheckpointError(f"{path} holds no upstream: its weights are stored only where they were trained (-f)")
    if args.get("upstream") not in registry.entries(registry.ROOT):
        raise UsageError(f"{path} was trained with the upstream {args.get('upstream')!r}, which is none of the registered ones")
    if output.exists():
        raise DataError(f"{output} exists already")
    entry = registry.find(args["upstream"])
    upstream = build_upstream(args, config)
    try:
        upstream.load_state_dict(state["Upstream"])
    except RuntimeError as error:
        raise CheckpointError(f"the upstream in {path} does not fit {args['upstream']}: {' '.join(str(error).split())[:300]}") from error
    if hasattr(upstream, "export"):
        _write_folder(upstream, output)
        return _words(entry.folder.name, output, args, config)
    original = args.get("upstream_ckpt") or entry.kwargs.get("ckpt")
    _write_file(entry, _original(entry, original), state, output)
    return _words(_reader(entry, registry.entries(registry.ROOT)), output, args, config)


def _words(name: str, output: Path, args: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The command line's words for an upstream that is built as in the training."""
    words = ["-u", name, "-k", str(output)]
    if args.get("upstream_model_config"):
        words += ["-g", args["upstream_model_config"]]
    if options := config.get("upstream_options"):
        words += ["-o", ",,".join(f"config.upstream_options.{option}={value!r}" for option, value in options.items())]
    return shlex.join(words)


def _original(entry: Entry, ckpt: str | None) -> dict[Any, Any]:
    """The content of the checkpoint that the training began with."""
    from utility.experiment.unpickle import load_foreign
    from utility.networks.weights import local_path

    if ckpt is None or not (str(ckpt).startswith(("http://", "https://")) or Path(ckpt).expanduser().exists()):
        raise UsageError(f"upstream {entry.name} is not built from a checkpoint file, so there is nothing to write its weights into")
    return load_foreign(local_path(ckpt))


def _reader(entry: Entry, entries: Mapping[str, Entry]) -> str:
    """The entry that reads a file of this family: its own ``_local`` one, or the nearest that there is; without any, itself."""
    readers = [other.name for other in entries.values() if other.folder == entry.folder and "ckpt" in other.needs] or [entry.name]
    local = [name for name in readers if name.endswith("_local")] or readers
    own = [name for name in local if entry.name.startswith(name.removesuffix("_local"))]
    return max(own or local[:1], key=len)


def _write_folder(upstream: nn.Module, output: Path) -> None:
    temporary = output.with_name(f".{output.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        upstream.export(temporary)
        temporary.rename(output)
    except OSError as error:
        raise DataError(f"cannot write {output}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_file(entry: Entry, original: Mapping[Any, Any], state: Mapping[str, Any], output: Path) -> None:
    from utility.experiment.checkpoint import save
    from utility.networks.exported import content_of

    trained = {name: state["Args"].get(name) for name in ("upstream", "downstream", "expname")} | {"step": state.get("Step")}
    output.parent.mkdir(parents=True, exist_ok=True)
    save(content_of(entry.folder.name, entry.name, original, state["Upstream"], trained), [output])


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description="make an upstream of what a fine-tuning has made of one", allow_abbrev=False)
    parser.add_argument("ckpt", type=Path, help="a checkpoint of a training with -f, or an experiment folder")
    parser.add_argument("--output", type=Path, required=True, help="the file (for -u hf: the folder) to write")
    args = parser.parse_args(argv)
    print(export(args.ckpt, args.output))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
