"""Real recordings as they are, for tests of inference: of several rates, formats and numbers of channels."""

from __future__ import annotations

from pathlib import Path

from utility.audio.io import audio_info

_FILES = (
    "yesno/waves_yesno/0_0_0_0_1_1_1_1.wav",
    "librispeech_mini/237/134500/237-134500-0001.flac",
    "ljspeech_mini/wavs/LJ001-0002.wav",
    "mushra_codec/audio/stim_04/audiodec_8.wav",
)


def native_recordings(shared: Path) -> dict[Path, float]:
    """Files and their seconds: of 8, 16, 22.05 and 24 kHz, the last one in two channels.

    Args:
        shared: the folder ``../shared``.
    """
    infos = {shared / "data" / name: audio_info(shared / "data" / name) for name in _FILES}
    assert [(info.sample_rate, info.channels) for info in infos.values()] == [(8000, 1), (16000, 1), (22050, 1), (24000, 2)]
    return {path: info.seconds for path, info in infos.items()}
