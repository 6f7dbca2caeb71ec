"""Log mel filterbank energies with a Hamming window and CMVN: the input of APC, VQ-APC, NPC, DeCoAR and DeCoAR 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from utility.errors import ConfigError
from utility.features.kaldi import KaldiFeatures
from utility.features.kaldi_options import KaldiOptions

BANDS = 80
NOT_KALDI = ("feat_type", "feat_dim", "decode_wav", "cmvn")


def hamming_fbank(audio: Mapping[str, Any] | None = None, source: str = "audio") -> KaldiFeatures:
    """The features of a checkpoint's ``data.audio`` section (specs/upstreams.md, section 8).

    Args:
        audio: ``feat_type`` (fbank), ``feat_dim`` (bands), ``cmvn``, ``decode_wav`` (of no effect), and options of Kaldi's fbank such as
            ``frame_length`` in milliseconds; without it, 80 bands of 25 ms every 10 ms, normalised.
        source: the file, for the sentence.

    Raises:
        ConfigError: another feature, or unknown or impossible options.
    """
    audio = dict(audio or {})
    feat_type, bands, cmvn = audio.get("feat_type", "fbank"), audio.get("feat_dim", BANDS), audio.get("cmvn", True)
    if feat_type != "fbank":
        raise ConfigError(f"feat_type must be fbank, not {feat_type!r}", source)
    if type(cmvn) is not bool:
        raise ConfigError(f"cmvn must be true or false, not {cmvn!r}", source)
    options = {key: value for key, value in audio.items() if key not in NOT_KALDI}
    made = KaldiOptions.of("fbank", {"window_type": "hamming", "num_mel_bins": bands, **options}, source)
    return KaldiFeatures(made, use_cmvn=cmvn)
