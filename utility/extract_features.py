"""Saves the hidden states that an upstream computes for audio files.

    python3 utility/extract_features.py fbank --files a.wav b.flac --output_dir features/
    python3 utility/extract_features.py wav2vec2 -k model.pt --files corpus/ --layer 6 9
    python3 utility/extract_features.py hubert                       the two pseudo waveforms of S3PRL's own checks
    python3 utility/extract_features.py baseline --files a.wav --feat_type mfcc      other options go to the upstream

Each file becomes ``<name>.pt``, a list of one (frames, width) float tensor a layer, to be read with ``torch.load(path)``; a folder is
walked and its sub-folders are kept. Files of any rate are resampled to the upstream's, if it has one. Given again, the same command goes
on where it was killed; ``extraction.json`` says what made the features, and another upstream, checkpoint or layer is refused in that
folder. An audio file that cannot be used is named on stderr; the others are extracted, and the exit status is 2. Without ``--files`` the
result is ``<upstream>.pt`` with (2, frames, width) tensors, made anew each time.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import EXIT_STATUS, DataError, UsageError, of_files, program

if TYPE_CHECKING:
    import torch

    from utility.experiment.extraction import FeatureFolder

PSEUDO_SEED, PSEUDO_COUNT, PSEUDO_SAMPLES = 0, 2, (16000, 48000)


def pseudo_wavs() -> list[torch.Tensor]:
    """S3PRL's two waveforms of 43670 and 28623 samples of noise (specs/s3prl-core.md, section 14); no global generator is touched."""
    import torch

    lengths, noise = random.Random(PSEUDO_SEED), torch.Generator().manual_seed(PSEUDO_SEED)
    return [torch.randn(lengths.randint(*PSEUDO_SAMPLES), generator=noise) for _ in range(PSEUDO_COUNT)]


def plan(files: list[Path], output: Path) -> dict[Path, Path]:
    """Which audio file becomes which feature file.

    Raises:
        DataError: two files would become one, or a folder has no audio.
    """
    from utility.audio.io import find_audio

    pairs = []
    for path in files:
        base, found = (path, find_audio(path)) if path.is_dir() else (path.parent, [path])
        if not found:
            raise DataError(f"there is no audio in {path}")
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


def pseudo(args: argparse.Namespace, upstream: Any, device: str) -> int:
    """Extracts the pseudo waveforms; returns the exit status."""
    import torch

    from utility.experiment.extraction import write_whole

    path = args.output_dir / f"{PurePath(args.upstream).name}.pt"
    write_whole(path, partial(torch.save, hidden_states(upstream, [wav.to(device) for wav in pseudo_wavs()], args.layer)))
    print(path)
    return 0


def extract(folder: FeatureFolder, targets: Mapping[Path, Path], states_of: Callable[[Path], list[torch.Tensor]]) -> int:
    """Makes the feature files that are not there yet, and prints the path of each that is.

    Args:
        folder: where they go.
        targets: from an audio file to its feature file.
        states_of: the chosen layers of an audio file.

    Returns:
        how many audio files have none; what is wrong with each is said on stderr.
    """
    import torch
    from tqdm import tqdm

    left = {audio for audio, target in targets.items() if not folder.holds(target, audio)}
    if len(left) < len(targets):
        print(f"{len(targets) - len(left)} of {len(targets)} files have their features already", file=sys.stderr)
    failed = 0
    with tqdm(total=len(left), unit="file", file=sys.stderr, disable=None) as bar:
        for audio, target in targets.items():
            if audio in left:
                bar.update()
                try:
                    states = states_of(audio)
                except DataError as error:
                    tqdm.write(str(of_files(error, audio)), file=sys.stderr)
                    failed += 1
                    continue
                folder.add(target, audio, partial(torch.save, states))
            print(target)
    return failed


def run(args: argparse.Namespace, options: dict[str, Any]) -> int:
    """Extracts everything and prints the path of each feature file; returns the exit status."""
    import torch

    from downstream.runner import resolve_device
    from upstream import registry
    from utility.audio.io import load_audio
    from utility.experiment.extraction import feature_folder
    from utility.training.feature_store import fingerprint

    device = resolve_device(args.device)
    targets = plan(args.files, args.output_dir) if args.files else {}
    rate = registry.find(args.upstream).record.sample_rate or None
    upstream = registry.build(args.upstream, args.ckpt, args.model_config, args.refresh, **options).eval()
    if not args.files:
        return pseudo(args, upstream.to(device), device)
    named = {"upstream": args.upstream, "ckpt": args.ckpt, "model_config": args.model_config, "options": options, "layers": args.layer}
    settings = {**named, "identity": fingerprint(upstream, registry.code_of(args.upstream), {"rate": rate})}
    upstream.to(device)

    def states_of(audio: Path) -> list[torch.Tensor]:
        wav = torch.from_numpy(load_audio(audio, rate)).to(device)
        return [state[0] for state in hidden_states(upstream, [wav], args.layer)]

    with feature_folder(args.output_dir, settings, targets.values()) as folder:
        failed = extract(folder, targets, states_of)
    if failed > 1:
        print(f"{failed} of {len(targets)} files have no features, for the reasons above", file=sys.stderr)
    return EXIT_STATUS if failed else 0


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
    return run(args, upstream_options(rest))


if __name__ == "__main__":
    raise SystemExit(main())
