"""What a task has to beat: scores that need no learning of anything but averages.

A test of learning reports both baselines of :func:`baselines` beside the task's accuracy and asks for at most half the error of the
better one. Both see the very clips that the task sees, but none of its code and not the upstream under test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from upstream.registry import build

# Log mel energies without normalisation; the bands come first, their derivatives (whose averages say next to nothing) behind them.
UPSTREAM, BANDS, BATCH = "fbank_no_cmvn", 80, 16

Items = Iterable[tuple[np.ndarray, int]]


@dataclass(frozen=True)
class Baselines:
    """Accuracies on the test items.

    Args:
        majority: of the best constant answer.
        logistic: of a logistic regression on log mel energies averaged over time.
    """

    majority: float
    logistic: float

    @property
    def error_to_halve(self) -> float:
        """Error of the better one."""
        return 1 - max(self.majority, self.logistic)

    def beside(self, what: str, accuracy: float) -> str:
        """One line of a report."""
        return f"{what}: accuracy {accuracy:.3f}; majority {self.majority:.3f}, logistic regression {self.logistic:.3f}"


def baselines(train: Items, test: Items) -> Baselines:
    """Both baselines.

    Args:
        train, test: (waveform at 16 kHz, class) of every item; drawn one after the other, so that a generator will do.
    """
    (seen, seen_labels), (unseen, labels) = (averages(items) for items in (train, test))
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000))
    return Baselines(majority(labels), float(model.fit(seen, seen_labels).score(unseen, labels)))


def majority(labels: Sequence[int]) -> float:
    """Accuracy of always answering the most frequent class of ``labels``: the best that any constant answer reaches."""
    return Counter(labels).most_common(1)[0][1] / len(labels)


def averages(items: Items) -> tuple[np.ndarray, list[int]]:
    """Log mel energies averaged over the frames, (items, 80), and the classes."""
    wavs, labels = zip(*items, strict=True)
    upstream, rows = build(UPSTREAM).eval(), []
    with torch.no_grad():
        for start in range(0, len(wavs), BATCH):
            answer = upstream([torch.as_tensor(wav) for wav in wavs[start : start + BATCH]])
            states = zip(answer["hidden_states"][0], answer["lengths"], strict=True)
            rows += [frames[:length, :BANDS].mean(dim=0) for frames, length in states]
    return torch.stack(rows).numpy(), list(labels)
