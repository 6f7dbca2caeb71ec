"""Centred-STFT features of padded batches: waveform, complex spectrum, phase, power, mel and mfcc (S3PRL's online preprocessor).

The batch is transformed as one padded tensor, as in S3PRL: the longest item ends in its mirror image, the others in zeros, so that the last
frames of an item depend on its batch. Call it with one waveform at a time where that matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from utility.errors import ConfigError, DataError, did_you_mean
from utility.features.deltas_cmvn import add_deltas, cmvn
from utility.features.deltas_cmvn_cpu import fill_deltas, normalise
from utility.features.power_cpu import BLOCK, PowerSpectra
from utility.features.threads import in_threads

EPS = 1e-10
MFCC_BANDS = 128
MFCC_EPS = 1e-6
DELTA_WINDOW = 5
FEAT_TYPES = ("wav", "complx", "phase", "linear", "mel", "mfcc")


@dataclass(frozen=True)
class FeatureSpec:
    """One feature of a list.

    Args:
        feat_type: one of ``FEAT_TYPES``.
        channel: index of the input channel; a list of waveforms has only 0.
        log: natural logarithm of x + 1e-10 (``linear`` and ``mel``).
        delta: order of the deltas appended.
        cmvn: normalise mean and variance over each item's frames.
    """

    feat_type: str
    channel: int = 0
    log: bool = False
    delta: int = 0
    cmvn: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any], source: str = "config") -> FeatureSpec:
        """From the yaml of a config; the channel is taken as 0, as S3PRL does for single-channel input.

        Raises:
            ConfigError: unknown or impossible options, all at once.
        """
        names = [f.name for f in fields(cls)]
        faults = [f"unknown option {k!r} of a feature{did_you_mean(str(k), names)}" for k in options if k not in names]
        feat_type = options.get("feat_type")
        if feat_type not in FEAT_TYPES:
            faults.append(f"unknown feat_type {feat_type!r}{did_you_mean(str(feat_type), FEAT_TYPES)}")
        elif options.get("log") and feat_type not in ("linear", "mel"):
            faults.append(f"log is defined for linear and mel, not for {feat_type}")
        if not isinstance(options.get("delta", 0), int) or options.get("delta", 0) < 0:
            faults.append(f"delta must be 0 or more, not {options['delta']!r}")
        if faults:
            raise ConfigError(faults, source)
        return cls(**{**options, "channel": 0})


class SpectralFeatures:
    """The transform behind such features; tables are kept per device.

    Args:
        sample_rate: Hz.
        win_ms, hop_ms: Hann window and shift in milliseconds.
        n_freq: bins; the transform has 2 (n_freq - 1) points.
        n_mels: bands of ``mel``; ``mfcc`` has always 128.
        n_mfcc: coefficients of ``mfcc``.
    """

    def __init__(
        self, sample_rate: int = 16000, win_ms: float = 25, hop_ms: float = 10, n_freq: int = 201, n_mels: int = 40, n_mfcc: int = 13
    ):
        self.sample_rate, self.n_mels, self.n_mfcc = sample_rate, n_mels, n_mfcc
        self.window, self.hop, self.n_fft = round(win_ms * sample_rate / 1000), round(hop_ms * sample_rate / 1000), 2 * (n_freq - 1)
        faults = []
        if not 2 <= self.window <= self.n_fft:
            faults.append(f"win_ms {win_ms} is {self.window} samples, more than the {self.n_fft} points of a transform of n_freq {n_freq}")
        if self.hop < 1 or n_mels < 1 or not 1 <= n_mfcc <= MFCC_BANDS:
            faults.append(f"hop_ms, n_mels and n_mfcc must be positive and n_mfcc at most {MFCC_BANDS}")
        if faults:
            raise ConfigError(faults)
        self._tables: dict[tuple[str, torch.device], Tensor] = {}
        self._power: dict[str, PowerSpectra] = {}

    @property
    def least_samples(self) -> int:
        """The fewest samples whose ends can be mirrored."""
        return self.n_fft // 2 + 1

    def dim(self, spec: FeatureSpec) -> int:
        """Width of a feature."""
        bins = self.n_fft // 2 + 1
        widths = {"wav": 1, "complx": 2 * bins, "phase": bins, "linear": bins, "mel": self.n_mels, "mfcc": self.n_mfcc}
        return widths[spec.feat_type] * (1 + spec.delta)

    def rate(self, spec: FeatureSpec) -> int:
        """Samples per frame."""
        return 1 if spec.feat_type == "wav" else self.hop

    def __call__(self, padded: Tensor, samples: Tensor, *specs: FeatureSpec) -> list[tuple[Tensor, Tensor]]:
        """
        Args:
            padded: (B, L) zero-padded waveforms.
            samples: (B,) their lengths.
            specs: the features wanted; they share one Fourier transform.

        Returns:
            per feature (B, T, D) and the frames of each item, round(samples / (L / T)), (B,). With cmvn, padding is 0.

        Raises:
            DataError: L is too short to mirror the ends.
        """
        if padded.size(1) < self.least_samples:
            raise DataError(f"{padded.size(1)} samples are too short, {self.least_samples} are needed for a frame")
        quick = padded.is_cpu and not (torch.is_grad_enabled() and padded.requires_grad)
        with torch.autocast(padded.device.type, enabled=False):
            if quick and all(spec.feat_type in ("linear", "mel", "mfcc") for spec in specs):
                return [self._by_item(spec, padded.detach(), samples) for spec in specs]
            needs_spectrum = any(spec.feat_type != "wav" for spec in specs)
            spectrum = self.spectrum(padded) if needs_spectrum else None
            return [self._one(spec, padded, spectrum, samples) for spec in specs]

    def spectrum(self, padded: Tensor) -> Tensor:
        """Complex one-sided spectrum (B, T, n_freq) of (B, L)."""
        window = self._table("window", padded.device)
        return torch.stft(padded, self.n_fft, self.hop, self.window, window, center=True, pad_mode="reflect", return_complex=True).mT

    def _by_item(self, spec: FeatureSpec, padded: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """As ``_one``, on a CPU: one item per thread, in blocks of frames."""
        centred = F.pad(padded[:, None], (self.n_fft // 2, self.n_fft // 2), mode="reflect")[:, 0]
        frames = 1 + padded.size(1) // self.hop
        lengths = frame_counts(samples, padded.size(1), frames)
        spectra = self._spectra(spec.feat_type)
        with torch.inference_mode(False):
            out = torch.empty(len(padded), frames, self.dim(spec))

            def fill(item: tuple[Tensor, Tensor, int]) -> None:
                wav, rows, length = item
                self._fill(spec, spectra, wav, rows)
                if spec.cmvn:
                    normalise(rows[:length])
                    rows[length:] = 0.0

            in_threads(fill, zip(centred, out, lengths.tolist(), strict=True))
        return out, lengths

    def _fill(self, spec: FeatureSpec, spectra: PowerSpectra, wav: Tensor, rows: Tensor) -> None:
        """Feature and deltas of one centred waveform into its rows (T, D)."""
        width = self.dim(spec) // (1 + spec.delta)
        frames = wav.as_strided((len(rows), self.n_fft), (self.hop, 1), wav.storage_offset())
        window = self._table("frame_window", wav.device)
        for block, target in zip(frames.split(BLOCK), rows[:, :width].split(BLOCK), strict=True):
            space = spectra.space(len(block))
            torch.mul(block, window, out=space.frames)
            power = spectra.transform(space)
            values = power if spec.feat_type == "linear" else spectra.bands(space)
            if spec.feat_type == "mfcc":
                torch.mm((values + MFCC_EPS).log_(), self._table("dct", wav.device), out=target)
            elif spec.log:
                torch.add(values, EPS, out=target).log_()
            else:
                target.copy_(values)
        fill_deltas(rows, width, spec.delta, DELTA_WINDOW)

    def _spectra(self, feat_type: str) -> PowerSpectra:
        """The transform of one kind of feature; made when first needed."""
        if feat_type not in self._power:
            bank = {"linear": None, "mel": "mel", "mfcc": "mfcc_mel"}[feat_type]
            table = None if bank is None else self._table(bank, torch.device("cpu"))
            self._power[feat_type] = PowerSpectra(self.n_fft, self.n_fft, table)
        return self._power[feat_type]

    def _one(self, spec: FeatureSpec, padded: Tensor, spectrum: Tensor | None, samples: Tensor) -> tuple[Tensor, Tensor]:
        features = padded[..., None] if spec.feat_type == "wav" else self._of_spectrum(spec.feat_type, spectrum)
        if spec.log:
            features = (features + EPS).log()
        features = add_deltas(features, spec.delta, DELTA_WINDOW) if spec.delta else features
        lengths = frame_counts(samples, padded.size(1), features.size(1))
        return (cmvn(features, lengths) if spec.cmvn else features), lengths

    def _of_spectrum(self, feat_type: str, spectrum: Tensor) -> Tensor:
        if feat_type == "complx":
            return torch.view_as_real(spectrum.contiguous()).flatten(-2)
        if feat_type == "phase":
            return spectrum.angle()
        power = torch.view_as_real(spectrum).square().sum(-1)
        if feat_type == "linear":
            return power
        if feat_type == "mel":
            return power @ self._table("mel", spectrum.device)
        bands = power @ self._table("mfcc_mel", spectrum.device)
        return (bands + MFCC_EPS).log() @ self._table("dct", spectrum.device)

    def _table(self, name: str, device: torch.device) -> Tensor:
        key = (name, device)
        if key not in self._tables:
            make = {
                "window": lambda: torch.hann_window(self.window),
                "frame_window": self._frame_window,
                "mel": lambda: htk_mel_bank(self.n_mels, self.n_fft, self.sample_rate),
                "mfcc_mel": lambda: htk_mel_bank(MFCC_BANDS, self.n_fft, self.sample_rate),
                "dct": lambda: dct_matrix(self.n_mfcc, MFCC_BANDS),
            }[name]
            with torch.inference_mode(False):
                self._tables[key] = make().float().to(device)
        return self._tables[key]

    def _frame_window(self) -> Tensor:
        """The window in the middle of n_fft zeros, as the centred transform applies it."""
        before = (self.n_fft - self.window) // 2
        return F.pad(torch.hann_window(self.window), (before, self.n_fft - self.window - before))


def frame_counts(samples: Tensor, padded_samples: int, padded_frames: int) -> Tensor:
    """S3PRL's frames of each item: round(samples / (padded samples / padded frames)), half to even, (B,)."""
    return (samples.double() / (padded_samples / padded_frames)).round().long().clamp(max=padded_frames)


def sounding_samples(wavs: list[Tensor]) -> Tensor:
    """S3PRL's lengths of waveforms, (B,): up to the last sample that is not zero; the whole of one that is all zeros."""
    sounding = torch.stack([wav[-1] for wav in wavs]).ne(0).tolist()
    counts = [len(wav) if ends_sounding else _sounding(wav) for wav, ends_sounding in zip(wavs, sounding, strict=True)]
    return torch.tensor(counts, device=wavs[0].device)


def _sounding(wav: Tensor) -> int:
    """Samples up to the last that is not zero; all where every one is."""
    indices = wav.nonzero()
    return int(indices[-1]) + 1 if len(indices) else len(wav)


def htk_mel_bank(bands: int, n_fft: int, sample_rate: int, low: float = 0.0, high: float | None = None) -> Tensor:
    """Triangles in Hz between points equidistant in mel (HTK scale), no area normalisation, (n_fft / 2 + 1, bands) float64."""
    high = sample_rate / 2 if high is None else high
    ends = 2595.0 * torch.log10(1.0 + torch.tensor([low, high], dtype=torch.float64) / 700.0)
    points = 700.0 * (10.0 ** (torch.linspace(float(ends[0]), float(ends[1]), bands + 2, dtype=torch.float64) / 2595.0) - 1.0)
    bins = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)[:, None]
    up = (bins - points[:-2]) / (points[1:-1] - points[:-2])
    down = (points[2:] - bins) / (points[2:] - points[1:-1])
    return torch.minimum(up, down).clamp(min=0.0)


def dct_matrix(coefficients: int, bands: int) -> Tensor:
    """Orthonormal DCT-II, (bands, coefficients) float64."""
    k = torch.arange(coefficients, dtype=torch.float64)
    matrix = torch.cos(torch.pi / bands * (torch.arange(bands, dtype=torch.float64)[:, None] + 0.5) * k) * (2.0 / bands) ** 0.5
    return torch.cat([matrix[:, :1] * 0.5**0.5, matrix[:, 1:]], dim=1)
