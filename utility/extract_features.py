"""Saves the hidden states that an upstream computes for audio files.

    python3 utility/extract_features.py fbank --files a.wav b.flac --output_dir features/
    python3 utility/extract_features.py wav2vec2 -k model.pt --files corpus/ --layer 6 9
    python3 utility/extract_features.py hubert                       the two pseudo waveforms of S3PRL's own checks
    python3 utility/extract_features.py baseline --files a.wav --feat_type mfcc      other options go to the upstream

Each file becomes ``<name>.pt``, a list of one (frames, width) float tensor a layer, to be read with ``torch.load(path)``; a folder is
walked and its sub-folders are kept. Files of any rate are resampled to the upstream's. Without ``--files`` the result is
``<upstream>.pt`` with (2, frames, width) tensors.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import DataError, UsageError, program

if TYPE_CHECKING:
    import torch

PSEUDO_SEED, PSEUDO_COUNT, PSEUDO_SAMPLES = 0, 2, (16000, 48000)


def pseudo_wavs() -> list[torch.Tensor]:
    """S3PRL's two waveforms of 43670 and 28623 samples of noise (specs/s3prl-core.md, section 14); no global generator is touched."""
    import torch

    lengths, noise = random.Random(PSEUDO_SEED), torch.Generator().manual_seed(PSEUDO_SEED)
    return [torch.randn(lengths.randint(*PSEUDO_SAMPLES), generator=noise) for _ in range(PSEUDO_COUNT)]


def plan(files: list[Path], output: Path) -> dict[Path, Path]:
    """Which audio file becomes which feature file.

    Raises:
        DataError: two files would become one.
    """
    from utility.audio.io import find_audio

    pairs = []
    for path in files:
        base, found = (path, find_audio(path)) if path.is_dir() else (path.parent, [path])
        pairs += [(audio, output / audio.relative_to(base).with_suffix(".pt")) for audio in found]
    owner: dict[Path, Path] = {}
    for audio, target in pairs:
        if owner.setdefault(target, audio) != audio:
            raise DataError(f"{owner[target]} and {audio} would both become {target}")
    return {audio: target for target, audio in owner.items()}


def hidden_states(upstream: Any, wavs: list[torch.Tensor], layers: list[int] | None) -> list[torch.Tensor]:
    """The chosen layers (all by default) for a batch of waveforms, on the CPU: a list of (batch, frames, width).

    Raises:
        UsageError: the upstream has no such layer.
    """
    import torch

    with torch.no_grad():
        states = upstream(wavs)["hidden_states"]
    for layer in layers or ():
        if not -len(states) <= layer < len(states):
            raise UsageError(f"there is no layer {layer}: the upstream has {len(states)}, from 0 to {len(states) - 1}")
    return [states[layer].cpu().clone() for layer in (range(len(states)) if layers is None else layers)]


def save(states: list[torch.Tensor], path: Path) -> None:
    """Writes one feature file; it appears only when it is complete.

    Raises:
        DataError: it cannot be written.
    """
    import torch

    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(states, temporary)
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        raise DataError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error


def run(args: argparse.Namespace, options: dict[str, Any]) -> list[Path]:
    """Extracts everything and prints the path of each feature file; returns the paths."""
    import torch
    from tqdm import tqdm

    from downstream.runner import resolve_device
    from upstream import registry
    from utility.audio.io import load_audio

    device = resolve_device(args.device)
    targets = plan(args.files, args.output_dir) if args.files else {}
    rate = registry.find(args.upstream).record.sample_rate
    upstream = registry.build(args.upstream, args.ckpt, args.model_config, args.refresh, **options).to(device).eval()
    if not args.files:
        path = args.output_dir / f"{PurePath(args.upstream).name}.pt"
        save(hidden_states(upstream, [wav.to(device) for wav in pseudo_wavs()], args.layer), path)
        print(path)
        return [path]
    for audio, path in tqdm(targets.items(), unit="file", file=sys.stderr, disable=None):
        wav = torch.from_numpy(load_audio(audio, rate)).to(device)
        save([state[0] for state in hidden_states(upstream, [wav], args.layer)], path)
        print(path)
    return list(targets.values())


def upstream_options(words: list[str]) -> dict[str, Any]:
    """``--key value`` pairs that the program does not know, for the upstream's constructor; values are read as literals.

    Raises:
        UsageError: a word is neither.
    """
    from utility.experiment.literal import parse_literal

    for flag in words[::2]:
        if not flag.startswith("--"):
            raise UsageError(f"unexpected word {flag!r}; options of the upstream are written --key value")
    if len(words) % 2:
        raise UsageError(f"the option {words[-1]} has no value")
    return {flag.removeprefix("--"): parse_literal(value) for flag, value in zip(words[::2], words[1::2], strict=True)}


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(description="save the hidden states that an upstream computes", allow_abbrev=False)
    parser.add_argument("upstream", help="name of an upstream, or the path of its folder")
    parser.add_argument("--files", nargs="+", type=Path, help="audio files and folders (default: two pseudo waveforms)")
    parser.add_argument("--output_dir", type=Path, default=Path("sample_hidden_states"), help="(default: ./sample_hidden_states)")
    parser.add_argument("--layer", nargs="+", type=int, help="layers to save, from 0; negative ones count from the end (default: all)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:N or mps (default: what is there)")
    parser.add_argument("--refresh", action="store_true", help="download the upstream's files again")
    parser.add_argument("-k", "--ckpt", help="checkpoint of the upstream")
    parser.add_argument("-g", "--model_config", help="config of the upstream")
    args, rest = parser.parse_known_args(argv)
    run(args, upstream_options(rest))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
