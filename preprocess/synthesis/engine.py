"""espeak-ng as a function: text and voice in, waveform and timed phones out.

The library comes with the wheel ``espeakng-loader`` and is called through ctypes (C interface: speak_lib.h of espeak-ng 1.52). It keeps
state from one utterance to the next (phase of the voice, breath filters, echo, random numbers), which no call resets. It is therefore
loaded anew for each utterance (about 5 ms), so that an utterance depends on its text, voice and seed alone.
"""

from __future__ import annotations

import _ctypes
import ctypes
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
import soxr

from preprocess.synthesis.phones import SILENCE, to_arpabet
from utility.errors import DataError, MissingDependencyError, UnknownNameError

SAMPLE_RATE = 16000

# espeak_AUDIO_OUTPUT, espeak_EVENT_TYPE, espeak_PARAMETER and flags of speak_lib.h
_SYNCHRONOUS, _PHONEME_EVENTS, _UTF8, _CHARACTERS = 2, 1, 1, 1
_END, _WORD, _PHONEME = 0, 1, 7
_RATE, _VOLUME, _PITCH, _RANGE, _WORD_GAP = 1, 2, 3, 4, 7
_SHORT_L_S = 0.02
_LOCK = Lock()


class Segment(NamedTuple):
    """A phone or word in time.

    Args:
        start, end: seconds.
        label: ARPAbet phone with the stress digit on vowels, ``SIL``, or a word as it stood in the text.
    """

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class Voice:
    """How an utterance is spoken.

    Args:
        variant: a file of espeak-ng's ``voices/!v``, such as ``"f3"``.
        accent: an English language of espeak-ng, such as ``"en-us"``.
        pitch: factor on the variant's pitch, 0.6 to 1.65.
        pitch_range: factor on the variant's intonation range, 0 to 2.
        rate: words per minute, 80 to 450.
        tract: factor on the length of the vocal tract (formants divide by it), 0.8 to 1.25; pitch and rate stay.
        word_gap: pause between words in units of 10 ms at the default rate.
    """

    variant: str
    accent: str = "en-us"
    pitch: float = 1.0
    pitch_range: float = 1.0
    rate: float = 170.0
    tract: float = 1.0
    word_gap: int = 0


@dataclass(frozen=True)
class Utterance:
    """Speech with its times.

    Args:
        wav: (n,) float32 in [-1, 1], at the rate that was asked for.
        phones: gapless from 0 to the end of ``wav``, ``SIL`` where nothing is spoken.
        words: one per word that espeak-ng timed; contractions such as "of the" may come as one.
    """

    wav: np.ndarray
    phones: list[Segment]
    words: list[Segment]

    @property
    def speech(self) -> tuple[float, float]:
        """Start of the first and end of the last phone that is not silence, in seconds."""
        spoken = [phone for phone in self.phones if phone.label != SILENCE]
        return spoken[0].start, spoken[-1].end


class _Identity(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Identity),
    ]


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass
class _Recorder:
    """Collects what espeak-ng hands over. ctypes swallows what a callback raises, so errors are kept and raised afterwards."""

    chunks: list[np.ndarray] = field(default_factory=list)
    phonemes: list[tuple[int, int, str]] = field(default_factory=list)
    words: list[tuple[int, int, int]] = field(default_factory=list)
    error: Exception | None = None

    def __call__(self, samples, count: int, events) -> int:
        try:
            if count:
                self.chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
            self._note(events)
        except Exception as error:  # noqa: BLE001 (raised again by synthesize)
            self.error = self.error or error
            return 1
        return 0

    def _note(self, events) -> None:
        index = 0
        while (event := events[index]).type != _END:
            if event.type == _PHONEME:
                name = bytes(event.id.string).split(b"\0")[0].decode()
                self.phonemes.append((event.sample, event.text_position, name))
            elif event.type == _WORD:
                self.words.append((event.sample, event.text_position, event.length))
            index += 1


def synthesize(text: str, voice: Voice, seed: int = 0, sample_rate: int = SAMPLE_RATE) -> Utterance:
    """Speaks a text; equal arguments give equal samples, whatever was spoken before.

    Args:
        text: English; digits are read out.
        voice: who speaks, and how.
        seed: drives the voice's breath and roughness.
        sample_rate: of the result, in Hz; there is nothing above 11 kHz.

    Raises:
        MissingDependencyError: espeakng-loader is not installed.
        UnknownNameError: no such variant or accent.
        DataError: the text has nothing to speak.
    """
    recorder = _Recorder()
    callback = _CALLBACK(recorder)
    with _LOCK, _fresh_library() as library:
        rate = _prepare(library, callback, voice, seed)
        encoded = text.encode()
        status = library.espeak_Synth(encoded, ctypes.c_size_t(len(encoded) + 1), 0, _CHARACTERS, 0, _UTF8, None, None)
    if recorder.error:
        raise recorder.error
    if status or not recorder.chunks or all(name.startswith("_") for _, _, name in recorder.phonemes):
        raise DataError(f"espeak-ng finds nothing to speak in the text {text!r}")
    return _utterance(recorder, text, round(rate / voice.tract), sample_rate)


def require_engine() -> None:
    """Does nothing where espeak-ng can be used.

    Raises:
        MissingDependencyError: espeakng-loader is not installed.
    """
    _locate()


@lru_cache(maxsize=1)
def _locate() -> tuple[str, Path]:
    """Paths of the library and of the folder with its data."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise MissingDependencyError("espeakng-loader", "speech synthesis") from error
    return espeakng_loader.get_library_path(), Path(espeakng_loader.get_data_path())


@contextmanager
def _fresh_library() -> Iterator[ctypes.CDLL]:
    """The library in its initial state; it is unloaded at the end."""
    path, _ = _locate()
    library = ctypes.CDLL(path)
    try:
        yield library
    finally:
        library.espeak_Terminate()
        _ctypes.dlclose(library._handle)
    if _is_loaded(path):
        raise RuntimeError(f"{path} stays loaded (by another package?), so that utterances would depend on what was spoken before")


def _is_loaded(path: str) -> bool:
    try:
        handle = _ctypes.dlopen(path, os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError:
        return False
    _ctypes.dlclose(handle)
    return True


def _prepare(library: ctypes.CDLL, callback, voice: Voice, seed: int) -> int:
    """Initialises the library for one utterance; returns its sample rate in Hz."""
    data = _locate()[1]
    variants = data / "voices" / "!v"
    if not (variants / voice.variant).is_file():
        raise UnknownNameError("voice variant", voice.variant, [path.name for path in variants.iterdir()])
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data), _PHONEME_EVENTS)
    if rate <= 0:
        raise DataError(f"espeak-ng cannot read its data in {data}")
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(f"{voice.accent}+{voice.variant}".encode()):
        raise UnknownNameError("accent", voice.accent, ["en-us", "en-us-nyc", "en-gb-x-rp", "en-gb-scotland", "en-029"])
    # A tract of length t is had by calling the rate r/t and resampling from there, which divides all of pitch, rate and formants by t.
    for parameter, value in (
        (_RATE, voice.rate * voice.tract),
        (_VOLUME, 100),
        (_PITCH, _pitch_setting(voice.pitch * voice.tract)),
        (_RANGE, 50 * voice.pitch_range),
        (_WORD_GAP, voice.word_gap),
    ):
        library.espeak_SetParameter(parameter, round(value), 0)
    library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
    ctypes.CDLL(None).srand(ctypes.c_uint(seed & 0xFFFFFFFF))
    return rate


def _pitch_setting(factor: float) -> int:
    """espeak-ng's pitch, 0 to 99, for a factor; 50 is the voice's own, and an octave is 68 (measured, within 3 % from 0.7 to 1.5)."""
    return min(99, max(0, round(50 + 68 * math.log2(factor))))


def _utterance(recorder: _Recorder, text: str, rate: int, sample_rate: int) -> Utterance:
    raw = np.concatenate(recorder.chunks)
    wav = soxr.resample(raw.astype(np.float32) / 32768, rate, sample_rate, quality="HQ")
    edges = _edges(recorder.phonemes, rate, len(wav) / sample_rate)
    names = to_arpabet([name for _, _, name in recorder.phonemes])
    timed = [(Segment(0.0, edges[0], SILENCE), 0)]
    for start, end, labels, (_, position, _) in zip(edges[:-1], edges[1:], names, recorder.phonemes, strict=True):
        if labels:
            timed += [(phone, position) for phone in _split(start, end, labels)]
        else:
            timed[-1] = (timed[-1][0]._replace(end=end), timed[-1][1])
    return Utterance(np.clip(wav, -1, 1), _merge([phone for phone, _ in timed]), _words(recorder, text, timed))


def _edges(phonemes: list[tuple[int, int, str]], rate: int, seconds: float) -> list[float]:
    """Starts of the phonemes and the end of the last one, in seconds.

    espeak-ng speaks an l after a vowel within the vowel, and announces it where only its release (or nothing) is left: the vowel's last
    third is given to it.
    """
    edges = [min(sample / rate, seconds) for sample, _, _ in phonemes] + [seconds]
    for index, (_, _, name) in enumerate(phonemes[1:], 1):
        if name == "l" and edges[index + 1] - edges[index] < _SHORT_L_S and not phonemes[index - 1][2].startswith("_"):
            edges[index] -= (edges[index] - edges[index - 1]) / 3
    return edges


def _split(start: float, end: float, labels: tuple[str, ...]) -> list[Segment]:
    """One espeak-ng phoneme as its ARPAbet phones, in equal parts."""
    edges = np.linspace(start, end, len(labels) + 1)
    return [Segment(float(a), float(b), label) for a, b, label in zip(edges[:-1], edges[1:], labels, strict=True)]


def _merge(phones: list[Segment]) -> list[Segment]:
    """Without empty phones, and with one silence where several meet."""
    merged: list[Segment] = []
    for phone in phones:
        if phone.end <= phone.start:
            continue
        if merged and merged[-1].label == phone.label == SILENCE:
            phone = Segment(merged.pop().start, phone.end, SILENCE)
        merged.append(phone)
    return merged


def _words(recorder: _Recorder, text: str, timed: list[tuple[Segment, int]]) -> list[Segment]:
    """Words from the first to the last of the phones that carry their position in the text."""
    words = []
    for _, position, length in recorder.words:
        own = [phone for phone, at in timed if at == position and phone.label != SILENCE]
        if own:
            words.append(Segment(own[0].start, own[-1].end, text[position - 1 : position - 1 + length]))
    return words
