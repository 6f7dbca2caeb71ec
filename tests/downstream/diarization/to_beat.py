"""What a diarizer has to beat: answers that hear nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from downstream.diarization.kaldi import read_kaldi_folder
from utility.metrics.diarization import pooled, score_recordings


@dataclass(frozen=True)
class Constant:
    """Error rates (fractions) of answers that are the same all the time.

    Args:
        silence: nobody speaks.
        one: one speaker speaks, from the beginning to the end.
        both: two do.
    """

    silence: float
    one: float
    both: float

    @property
    def best(self) -> float:
        """The lowest."""
        return min(self.silence, self.one, self.both)

    def beside(self, what: str, der: float) -> str:
        """One line of a report."""
        return f"{what}: DER {der:.3f}; all silent {self.silence:.3f}, one speaker {self.one:.3f}, both {self.both:.3f}"


def constant(folder: Path) -> Constant:
    """The constant answers on a Kaldi folder."""
    recordings = read_kaldi_folder(folder)
    references = {recording.name: recording.by_speaker for recording in recordings}

    def rate(speakers: int) -> float:
        answers = {r.name: {str(number): np.array([[0, r.seconds]]) for number in range(speakers)} for r in recordings}
        return pooled(score_recordings(references, answers).values()).der

    return Constant(*map(rate, range(3)))
