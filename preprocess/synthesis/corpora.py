"""The corpora that can be written."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from preprocess.synthesis.build import Corpus, build, size_of, usable_cores
from preprocess.synthesis.engine import require_engine
from utility.audio.io import find_audio
from utility.errors import UnknownNameError, UsageError

# Name on the command line -> module of this package with a ``CORPUS``, and what it is for.
CORPORA = {
    "speech_commands": "Speech Commands v0.01 with its test archive: keyword spotting",
    "librispeech": "LibriSpeech with phone alignments and lexicon: speech and phoneme recognition, phone classification",
    "snips": "Audio SNIPS, commands with slots: slot filling",
    "fluent_commands": "Fluent Speech Commands, commands with three slots: intent classification",
    "iemocap": "IEMOCAP, acted emotions in five sessions: emotion recognition",
    "voxceleb1": "VoxCeleb1 with its split and trials: speaker identification and verification",
    "quesst": "QUESST 2014 with queries and ground truth: query by example",
    "spoken_qa": "questions about passages in the layout of NMSQA: spoken question answering",
    "slue_sqa5": "the same in the layout of SLUE SQA-5",
    "valentini": "Valentini's noisy speech (VoiceBank-DEMAND), 28 speakers: enhancement",
    "valentini_56": "the same with 56 speakers",
    "mos": "BVCC, SOMOS, NISQA, TMHINT-QI and Blizzard Challenge 2019, degraded speech with ratings: MOS prediction",
    "mos_pools": "PSTN, SingMOS, Tencent and URGENT2024-MOS, the other sets of its pools",
    "sc09": "SC09, the spoken digits of Speech Commands: generation of speech, digits as classes",
    "youtubemix": "piano pieces in the layout of YouTubeMix: generation of music",
    "libri2mix": "Libri2Mix, conversations of two speakers in noise: speaker diarization",
}


def corpus_named(name: str) -> Corpus:
    """The corpus with this name.

    Raises:
        UnknownNameError: no such corpus.
    """
    if name not in CORPORA:
        raise UnknownNameError("corpus", name, CORPORA)
    return import_module(f"preprocess.synthesis.{name}").CORPUS


def synthesize(
    corpus: str,
    out: str | Path,
    size: str | int = "tiny",
    seed: int = 0,
    jobs: int | None = 1,
    overwrite: bool = False,
    noises: str | Path | None = None,
) -> Path:
    """Writes a synthetic corpus; does nothing where it is already complete, continues where it was interrupted.

    Args:
        corpus: one of ``CORPORA``.
        out: folder to write into.
        size: ``"tiny"``, ``"small"``, ``"medium"`` or a number of training speakers.
        seed: >= 0; equal seeds give equal bytes on one machine.
        jobs: processes; None takes one per usable core.
        overwrite: replace the corpus where it was written with other settings.
        noises: folder of recorded noises to use beside the synthetic ones.

    Returns:
        ``out``.

    Raises:
        UsageError: unknown corpus or size, negative seed, noises for a corpus whose noises are not a choice.
        DataError: the folder cannot be written.
        MissingDependencyError: espeakng-loader is not installed.
    """
    if seed < 0:
        raise UsageError(f"seed must not be negative, got {seed}")
    chosen, out = corpus_named(corpus), Path(out)
    number = size_of(chosen, size)
    folder = Path(noises).expanduser().absolute() if noises is not None else None
    if folder is not None:
        chosen = _with_noises(chosen, folder)
    require_engine()
    build(chosen, out, number, seed, jobs or usable_cores(), overwrite, str(folder or ""))
    return out


def _with_noises(corpus: Corpus, folder: Path) -> Corpus:
    if corpus.with_noises is None:
        raise UsageError(f"the noises of {corpus.name} are not a choice; --noises is for valentini and valentini_56")
    find_audio(folder)
    return corpus.with_noises(folder)
