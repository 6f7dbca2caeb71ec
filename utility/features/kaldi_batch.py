"""Kaldi's features of a whole padded batch with plain tensor operations: on any device, differentiable."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from utility.features.kaldi_options import LOG_FLOOR, KaldiOptions, cosine_transform, mel_bank, window
from utility.features.waves import pad_waves


class BatchKaldi:
    """Computes one kind of feature; tables are kept per device.

    Args:
        options: which feature.
    """

    def __init__(self, options: KaldiOptions):
        self.options = options
        self._tables: dict[torch.device, dict[str, Tensor]] = {}

    def __call__(self, wavs: list[Tensor]) -> tuple[Tensor, Tensor]:
        """(B, T, D) features of checked float32 waveforms and their frame counts (B,); what lies beyond these is of no use."""
        o = self.options
        counts = [o.frames(len(wav)) for wav in wavs]
        lengths = torch.tensor(counts, device=wavs[0].device)
        padded = pad_waves(wavs if o.snip_edges else [mirrored(wav, o) for wav in wavs])
        padded = F.pad(padded, (0, max(0, o.window_size - padded.size(1))))
        frames = padded.unfold(1, o.window_size, o.window_shift)[:, : max(counts)]
        features = self._features(frames)
        if o.subtract_mean:
            mask = torch.arange(features.size(1), device=lengths.device) < lengths[:, None]
            features = features - (features * mask[..., None]).sum(1, keepdim=True) / lengths[:, None, None]
        return features, lengths

    def _features(self, frames: Tensor) -> Tensor:
        o, t = self.options, self._table(frames.device)
        if o.remove_dc_offset:
            frames = frames - frames.mean(-1, keepdim=True)
        energy = log_energy(frames, o) if o.needs_energy and o.raw_energy else None
        if o.preemphasis_coefficient:
            frames = frames - o.preemphasis_coefficient * torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
        frames = frames * t["window"]
        if o.needs_energy and not o.raw_energy:
            energy = log_energy(frames, o)
        spectrum = torch.view_as_real(torch.fft.rfft(frames, n=o.fft_size)).square().sum(-1)
        return assembled(spectrum, energy, o, t, lambda power: power @ t["bank"])

    def _table(self, device: torch.device) -> dict[str, Tensor]:
        if device not in self._tables:
            with torch.inference_mode(False):
                self._tables[device] = tables(self.options, device)
        return self._tables[device]


def tables(options: KaldiOptions, device: torch.device) -> dict[str, Tensor]:
    """``window`` and, where the feature needs them, ``bank`` (bins, bands) and ``dct`` (bands, coefficients), float32."""
    made = {"window": window(options)}
    if options.feat_type != "spectrogram":
        made["bank"] = mel_bank(options).T
    if options.feat_type == "mfcc":
        made["dct"] = cosine_transform(options).T
    return {k: torch.tensor(v, dtype=torch.float32, device=device) for k, v in made.items()}


def assembled(
    power: Tensor, energy: Tensor | None, o: KaldiOptions, tables: dict[str, Tensor], to_bands: Callable[[Tensor], Tensor]
) -> Tensor:
    """Features (..., D) from power spectra (..., fft_size / 2 + 1) and log energies (...)."""
    if o.feat_type == "spectrogram":
        return torch.cat([energy[..., None], power.clamp(min=LOG_FLOOR).log()[..., 1:]], dim=-1)
    bands = to_bands(power if o.use_power else power.sqrt())
    if o.use_log_fbank:
        bands = bands.clamp(min=LOG_FLOOR).log()
    if o.feat_type == "fbank":
        parts = [bands] if energy is None else [bands, energy[..., None]] if o.htk_compat else [energy[..., None], bands]
        return torch.cat(parts, dim=-1)
    cepstra = bands @ tables["dct"]
    first = cepstra[..., :1] if energy is None else energy[..., None]
    if not o.htk_compat:
        return torch.cat([first, cepstra[..., 1:]], dim=-1)
    return torch.cat([cepstra[..., 1:], first if o.use_energy else first * math.sqrt(2.0)], dim=-1)


def log_energy(frames: Tensor, o: KaldiOptions) -> Tensor:
    """Floored log energy of each frame, (..., window) -> (...)."""
    energy = frames.square().sum(-1).clamp(min=LOG_FLOOR).log()
    return energy if o.energy_floor == 0 else energy.clamp(min=math.log(o.energy_floor))


def mirrored(wav: Tensor, o: KaldiOptions) -> Tensor:
    """The waveform continued by its mirror image, so that frame t is centred on (t + 1/2) shifts (``snip_edges=False``)."""
    before = o.window_size // 2 - o.window_shift // 2
    needed = (o.frames(len(wav)) - 1) * o.window_shift + o.window_size
    mirror = wav.flip(0)
    whole = torch.cat([mirror[len(wav) - before :], wav, mirror]) if before > 0 else torch.cat([wav[-before:], mirror])
    return whole[:needed]
