"""Options of Kaldi's features, and the tables that follow from them: window, mel filterbank, cosine transform, lifter.

Names, defaults and formulas are Kaldi's as torchaudio.compliance.kaldi takes them (specs: s3prl-core 9, upstreams 3.1), except that
``sample_frequency`` is 16000 and dither is refused, since features have to be reproducible.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from utility.errors import ConfigError, did_you_mean

LOG_FLOOR = float(np.finfo(np.float32).eps)
WINDOWS = ("povey", "hamming", "hanning", "blackman", "rectangular")
_FRAME_OPTIONS = (
    *("sample_frequency", "frame_length", "frame_shift", "min_duration", "snip_edges", "channel"),
    *("dither", "remove_dc_offset", "preemphasis_coefficient", "window_type", "blackman_coeff", "round_to_power_of_two"),
    *("energy_floor", "raw_energy", "subtract_mean"),
)
_MEL_OPTIONS = ("num_mel_bins", "low_freq", "high_freq", "vtln_low", "vtln_high", "vtln_warp", "use_energy", "htk_compat")
OPTIONS = {
    "fbank": (*_FRAME_OPTIONS, *_MEL_OPTIONS, "use_log_fbank", "use_power"),
    "mfcc": (*_FRAME_OPTIONS, *_MEL_OPTIONS, "cepstral_lifter", "num_ceps"),
    "spectrogram": _FRAME_OPTIONS,
}


@dataclass(frozen=True)
class KaldiOptions:
    """One kind of Kaldi feature.

    Args:
        feat_type: ``"fbank"``, ``"mfcc"`` or ``"spectrogram"``.
        sample_frequency: Hz.
        frame_length, frame_shift: milliseconds.
        low_freq, high_freq: Hz; a high_freq of 0 or less counts from the Nyquist frequency.
        min_duration: seconds; shorter input is refused.
        energy_floor: floor of the energy where it is used; 0 for none.

    The rest is as in Kaldi.
    """

    feat_type: str = "fbank"
    sample_frequency: float = 16000.0
    frame_length: float = 25.0
    frame_shift: float = 10.0
    window_type: str = "povey"
    blackman_coeff: float = 0.42
    preemphasis_coefficient: float = 0.97
    remove_dc_offset: bool = True
    round_to_power_of_two: bool = True
    snip_edges: bool = True
    dither: float = 0.0
    energy_floor: float = 1.0
    raw_energy: bool = True
    use_energy: bool = False
    htk_compat: bool = False
    min_duration: float = 0.0
    subtract_mean: bool = False
    channel: int = -1
    num_mel_bins: int = 23
    low_freq: float = 20.0
    high_freq: float = 0.0
    vtln_low: float = 100.0
    vtln_high: float = -500.0
    vtln_warp: float = 1.0
    use_log_fbank: bool = True
    use_power: bool = True
    num_ceps: int = 13
    cepstral_lifter: float = 22.0

    @classmethod
    def of(cls, feat_type: str, options: Mapping[str, Any], source: str = "config") -> KaldiOptions:
        """From the yaml of a config.

        Raises:
            ConfigError: unknown or impossible options, all at once.
        """
        if feat_type not in OPTIONS:
            raise ConfigError(f"unknown feat_type {feat_type!r}{did_you_mean(feat_type, OPTIONS)}", source)
        valid = OPTIONS[feat_type]
        faults = [f"unknown option {k!r} of {feat_type}{did_you_mean(str(k), valid)}" for k in options if k not in valid]
        faults += [_type_fault(k, v) for k, v in options.items() if k in valid and _type_fault(k, v)]
        if not faults:
            made = cls(feat_type, **options)
            faults = made.faults()
        if faults:
            raise ConfigError(faults, source)
        return made

    def faults(self) -> list[str]:
        """What is impossible about the options."""
        nyquist = self.sample_frequency / 2
        checks = {
            f"window_type {self.window_type!r} is unknown{did_you_mean(self.window_type, WINDOWS)}": self.window_type not in WINDOWS,
            "dither must be 0: features have to be reproducible": self.dither != 0,
            f"channel must be 0 or -1, not {self.channel}: waveforms are mono": self.channel not in (0, -1),
            "frame_length and frame_shift must be at least 2 samples and 1 sample": self.window_size < 2 or self.window_shift < 1,
            "an odd FFT length needs round_to_power_of_two": self.fft_size % 2 == 1,
            f"preemphasis_coefficient must be 0 to 1, not {self.preemphasis_coefficient}": not 0 <= self.preemphasis_coefficient <= 1,
            f"num_mel_bins must be at least 4, not {self.num_mel_bins}": self.num_mel_bins < 4,
            f"low_freq {self.low_freq} and high_freq {self.high_freq} must lie in 0 to {nyquist:g} Hz, in this order": not (
                0 <= self.low_freq < self.highest_freq <= nyquist
            ),
            f"num_ceps {self.num_ceps} must be 1 to num_mel_bins ({self.num_mel_bins})": self.feat_type == "mfcc"
            and not 1 <= self.num_ceps <= self.num_mel_bins,
            f"vtln_warp must be positive, not {self.vtln_warp}": self.vtln_warp <= 0,
            f"vtln_low {self.vtln_low} and vtln_high {self.vtln_high} must lie between low_freq and high_freq, in this order": (
                self.vtln_warp != 1 and not self.low_freq < self.vtln_low < self.vtln_highest < self.highest_freq
            ),
        }
        return [sentence for sentence, wrong in checks.items() if wrong]

    @property
    def window_size(self) -> int:
        """Samples of a frame."""
        return int(self.sample_frequency * self.frame_length * 0.001)

    @property
    def window_shift(self) -> int:
        """Samples between frames."""
        return int(self.sample_frequency * self.frame_shift * 0.001)

    @property
    def fft_size(self) -> int:
        """Length of the Fourier transform."""
        return 1 << (self.window_size - 1).bit_length() if self.round_to_power_of_two else self.window_size

    @property
    def highest_freq(self) -> float:
        """Upper end of the filterbank in Hz."""
        return self.high_freq + (self.sample_frequency / 2 if self.high_freq <= 0 else 0)

    @property
    def vtln_highest(self) -> float:
        """Upper inflection of the vocal-tract-length warp in Hz."""
        return self.vtln_high + (self.sample_frequency / 2 if self.vtln_high < 0 else 0)

    @property
    def least_samples(self) -> int:
        """The fewest samples that give a frame."""
        return max(self.window_size, math.ceil(self.min_duration * self.sample_frequency))

    @property
    def needs_energy(self) -> bool:
        """The log energy of each frame is part of the feature."""
        return self.use_energy or self.feat_type == "spectrogram"

    @property
    def dim(self) -> int:
        """Width of the feature."""
        bins = self.num_mel_bins + self.use_energy
        return {"fbank": bins, "mfcc": self.num_ceps, "spectrogram": self.fft_size // 2 + 1}[self.feat_type]

    def frames(self, samples: int) -> int:
        """Number of frames of so many samples."""
        if self.snip_edges:
            return 0 if samples < self.window_size else 1 + (samples - self.window_size) // self.window_shift
        return (samples + self.window_shift // 2) // self.window_shift


def _type_fault(name: str, value: Any) -> str | None:
    kind = {f.name: f.type for f in fields(KaldiOptions)}[name]
    wanted = {"float": (int, float), "int": (int,), "bool": (bool,), "str": (str,)}[kind]
    fits = isinstance(value, wanted) and (kind == "bool" or not isinstance(value, bool))
    return None if fits else f"{name} must be of type {kind}, not {value!r}"


def window(options: KaldiOptions) -> np.ndarray:
    """The window, (window_size,) float64."""
    size = options.window_size
    phase = 2 * np.pi * np.arange(size) / (size - 1)
    hann = 0.5 - 0.5 * np.cos(phase)
    a = options.blackman_coeff
    return {
        "povey": hann**0.85,
        "hanning": hann,
        "hamming": 0.54 - 0.46 * np.cos(phase),
        "blackman": a - 0.5 * np.cos(phase) + (0.5 - a) * np.cos(2 * phase),
        "rectangular": np.ones(size),
    }[options.window_type]


def mel(hertz: np.ndarray | float) -> np.ndarray:
    """Kaldi's mel scale, 1127 ln(1 + f / 700)."""
    return 1127.0 * np.log1p(np.asarray(hertz, dtype=np.float64) / 700.0)


def mel_bank(options: KaldiOptions) -> np.ndarray:
    """Triangles in mel without area normalisation, (num_mel_bins, fft_size / 2 + 1) float64; the Nyquist bin is unused."""
    edges = np.linspace(mel(options.low_freq), mel(options.highest_freq), options.num_mel_bins + 2)
    edges = mel(_vtln_warped(700.0 * np.expm1(edges / 1127.0), options)) if options.vtln_warp != 1 else edges
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bins = mel(np.arange(options.fft_size // 2) * options.sample_frequency / options.fft_size)
    triangles = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    return np.pad(np.maximum(triangles, 0.0), ((0, 0), (0, 1)))


def _vtln_warped(hertz: np.ndarray, options: KaldiOptions) -> np.ndarray:
    """Vocal-tract-length warp: f / warp between two inflections, straight lines from there to the fixed ends of the band."""
    low, high, warp = options.low_freq, options.highest_freq, options.vtln_warp
    lower, upper = options.vtln_low * max(1.0, warp), options.vtln_highest * min(1.0, warp)
    inside = np.interp(hertz, [low, lower, upper, high], [low, lower / warp, upper / warp, high])
    return np.where((hertz < low) | (hertz > high), hertz, inside)


def cosine_transform(options: KaldiOptions) -> np.ndarray:
    """Orthonormal DCT-II with the lifter folded in, (num_ceps, num_mel_bins) float64."""
    bins, ceps = options.num_mel_bins, np.arange(options.num_ceps)[:, None]
    matrix = np.sqrt(2.0 / bins) * np.cos(np.pi / bins * (np.arange(bins) + 0.5) * ceps)
    matrix[0] = math.sqrt(1.0 / bins)
    q = options.cepstral_lifter
    return matrix * (1.0 + 0.5 * q * np.sin(np.pi * ceps / q)) if q else matrix
