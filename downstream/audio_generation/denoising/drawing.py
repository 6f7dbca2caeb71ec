"""``-m evaluate -t generate`` of DiffWave: waveforms out of noise, pass by pass, as files."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from utility.audio.io import find_audio, load_audio, save_audio
from utility.errors import DataError, of_files
from utility.text.natural import natural

from ..generation.files import Naming, remove_others
from ..generation.passes import Passes, fingerprint
from ..models.diffusion import Schedule, sample
from ..models.diffwave import DiffWave
from ..models.mel import Mel
from .settings import Drawing

log = logging.getLogger(__name__)


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
        config: the section that the network is made of: what its weights do not show decides the waveforms too.
    """

    network: DiffWave
    schedule: Schedule
    options: Drawing
    mel: Mel
    sample_rate: int
    device: str
    seed: int
    config: Mapping[str, object]

    def draw(self, folder: Path, naming: Naming, length: int) -> list[Path]:
        """Waveforms of nothing but noise; those of finished passes are taken over when it is done again."""
        options, paths = self.options, []
        passes = Passes(folder, self._mark(length=length))
        left = passes.left(options.n_samples, options.batch(self.device))
        with passes.bar(left, len(self.schedule)) as bar:
            for streams in left:
                passes.keep(streams, {"wavs": self._sample(streams, length, bar).numpy()})
        for streams in passes.done():  # not before all are there: no file of another generation stands beside them under a like name
            for stream, wav in zip(streams, passes.load(streams)["wavs"], strict=True):
                paths.append(self._save(folder / f"{naming.stem}_gen_{stream + 1}.wav", wav))
        remove_others(folder, naming, paths)
        passes.clear()
        return paths

    def speak(self, folder: Path, source: Path) -> list[Path]:
        """The recordings of ``source`` from their mel spectrograms, ``<name>.wav`` of each; what is spoken already is taken over when it
        is done again, unless the recording has changed.

        Raises:
            DataError: no recordings, or one that would overwrite another.
        """
        files = find_audio(source) if source.is_dir() else [source]
        if not files:
            raise DataError(f"{source} holds no audio")
        first = sorted(files, key=lambda path: natural(str(path)))[: self.options.n_samples]
        if len(first) < len(files):
            log.warning("the first %d of %d recordings of %s are spoken; generate.n_samples says how many", len(first), len(files), source)
        targets = places(first, folder)
        heard = [*targets.values()]
        passes = Passes(folder, self._mark(mel=asdict(self.mel), files=list(map(str, heard))))
        left = passes.left(len(heard), 1, lambda streams: self._heard(heard[streams.start]).tobytes())
        with passes.bar(left, len(self.schedule)) as bar:
            for streams in left:
                wav = self._heard(file := heard[streams.start])
                try:
                    passes.keep(streams, {"wavs": self._spoken(torch.from_numpy(wav), streams, bar).numpy()}, wav.tobytes())
                except DataError as error:
                    raise of_files(error, file) from error
        paths = [self._save(place, passes.load(range(i, i + 1))["wavs"][0]) for i, place in enumerate(targets)]
        passes.clear()
        return paths

    def _heard(self, file: Path) -> np.ndarray:
        return load_audio(file, self.sample_rate)

    def _spoken(self, wav: Tensor, streams: range, bar: tqdm) -> Tensor:
        """(1, L), from the spectrogram of a recording (L,)."""
        length = math.ceil(len(wav) / self.network.pooled) * self.network.pooled
        mel = self.mel(torch.nn.functional.pad(wav, (0, length - len(wav)))[None].to(self.device))
        return self._sample(streams, length, bar, mel)[:, : len(wav)]

    def _sample(self, streams: range, length: int, bar: tqdm, mel: Tensor | None = None) -> Tensor:
        normals = Normals(self.seed, streams, length, self.device)
        wavs = sample(self.network, self.schedule, normals, mel, bar.update).cpu()
        if not torch.isfinite(wavs).all():
            raise DataError("the network says numbers that are not finite: its training has failed, or the checkpoint is damaged")
        return wavs

    def _mark(self, **more: object) -> str:
        """A word that changes with anything that decides the waveforms."""
        fields = {name: value for name, value in asdict(self.options).items() if name not in ("save_dir", "n_batch", "seed")}
        fields |= {"seed": self.seed, "betas": self.schedule.betas.tolist(), "model": dict(self.config), **more}
        return fingerprint(fields, self.network.state_dict())

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
