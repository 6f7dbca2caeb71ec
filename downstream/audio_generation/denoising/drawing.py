"""``-m evaluate -t generate`` of DiffWave: waveforms out of noise, pass by pass, as files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from utility.audio.io import find_audio, load_audio, save_audio
from utility.errors import DataError

from ..generation.files import Naming, remove_others
from ..generation.passes import Passes, fingerprint, in_passes
from ..models.diffusion import Schedule, sample
from ..models.diffwave import DiffWave
from ..models.mel import Mel
from .settings import Drawing


class Normals:
    """Normally distributed numbers, a sequence of its own for each waveform.

    Args:
        seed: of all of them.
        streams: number of each waveform.
        length: samples.
        device: where they are wanted.
    """

    def __init__(self, seed: int, streams: range, length: int, device: str):
        self.generators = [np.random.default_rng([seed, stream]) for stream in streams]
        self.length, self.device = length, device

    def __call__(self) -> Tensor:
        """The next (B, length) float32."""
        drawn = np.stack([generator.standard_normal(self.length, dtype=np.float32) for generator in self.generators])
        return torch.from_numpy(drawn).to(self.device)


@dataclass(frozen=True)
class Drawer:
    """
    Args:
        network: in evaluation mode.
        schedule: of the steps.
        options: what is drawn.
        mel: of recordings that are spoken again.
        sample_rate: in Hz.
        device: of the network.
        seed: of the noise.
    """

    network: DiffWave
    schedule: Schedule
    options: Drawing
    mel: Mel
    sample_rate: int
    device: str
    seed: int

    def draw(self, folder: Path, naming: Naming, length: int) -> list[Path]:
        """Waveforms of nothing but noise; those of finished passes are taken over when it is done again."""
        options, paths = self.options, []
        passes = Passes(folder, fingerprint(self._decisive(length), self.network.state_dict()))
        ranges = in_passes(options.n_samples, options.batch(self.device))
        with self._bar(len(ranges)) as bar:
            for streams in ranges:
                found = passes.find(streams.start, streams.stop)
                if found is None:
                    found = {"wavs": self._sample(streams, length, bar).numpy()}
                    passes.keep(streams.start, streams.stop, found)
                else:
                    bar.update(len(self.schedule))
                paths += [
                    self._save(folder / f"{naming.stem}_gen_{stream + 1}.wav", wav)
                    for stream, wav in zip(streams, found["wavs"], strict=True)
                ]
        remove_others(folder, naming, paths)
        passes.clear()
        return paths

    def speak(self, folder: Path, source: Path) -> list[Path]:
        """The recordings of ``source`` from their mel spectrograms, ``<name>.wav`` of each.

        Raises:
            DataError: no recordings, or one that would overwrite another.
        """
        files = find_audio(source) if source.is_dir() else [source]
        if not files:
            raise DataError(f"{source} holds no audio")
        targets, paths = places(sorted(files)[: self.options.n_samples], folder), []
        with self._bar(len(targets)) as bar:
            for stream, (place, file) in enumerate(targets.items()):
                wav = torch.from_numpy(load_audio(file, self.sample_rate))
                length = math.ceil(len(wav) / self.network.pooled) * self.network.pooled
                mel = self.mel(torch.nn.functional.pad(wav, (0, length - len(wav)))[None].to(self.device))
                drawn = self._sample(range(stream, stream + 1), length, bar, mel)[0, : len(wav)]
                paths.append(self._save(place, drawn.numpy()))
        return paths

    def _sample(self, streams: range, length: int, bar: tqdm, mel: Tensor | None = None) -> Tensor:
        normals = Normals(self.seed, streams, length, self.device)
        wavs = sample(self.network, self.schedule, normals, mel, bar.update).cpu()
        if not torch.isfinite(wavs).all():
            raise DataError("the network says numbers that are not finite: its training has failed, or the checkpoint is damaged")
        return wavs

    def _bar(self, passes: int) -> tqdm:
        return tqdm(total=passes * len(self.schedule), desc="generate", unit="step", mininterval=0.5, dynamic_ncols=True)

    def _decisive(self, length: int) -> Mapping[str, object]:
        fields = {name: value for name, value in asdict(self.options).items() if name not in ("save_dir", "seed")}
        return {**fields, "seed": self.seed, "length": length, "betas": self.schedule.betas.tolist()}

    def _save(self, path: Path, wav: np.ndarray) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_audio(path, wav, self.sample_rate, subtype="FLOAT")
        return path


def places(files: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """Recordings by the ``<name>.wav`` in ``folder`` that each becomes.

    Raises:
        DataError: one would overwrite another, or itself.
    """
    found: dict[Path, Path] = {}
    for file in files:
        place = folder / f"{file.stem}.wav"
        if place.exists() and place.samefile(file):
            raise DataError(f"{file} would be overwritten; choose another generate.save_dir")
        if place in found:
            raise DataError(f"{found[place]} and {file} would both become {place.name}; rename one, or speak one folder at a time")
        found[place] = file
    return found
