"""What spoken question answering has to beat: one answer for everything, and a logistic regression that looks at single frames.

python3 -m tests.downstream.spoken_qa.to_beat NMSQA SPLIT      both on a split, learned from train
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from downstream.spoken_qa import nmsqa
from downstream.spoken_qa.corpus import Question
from downstream.spoken_qa.dataset import SpokenQADataset, grouped
from upstream.registry import build
from utility.metrics.spans import Span, mean_scores

UPSTREAM, BANDS, FRAME_S = "fbank", 80, 0.01
_EVERY, _LONGEST = 4, 200


@dataclass(frozen=True)
class Item:
    """Log mel energies of a passage (T, 80) and the average of those of a question (80,), with the answer's annotations."""

    passage: np.ndarray
    question: np.ndarray
    spans: tuple[Span, ...]

    @property
    def seconds(self) -> float:
        return len(self.passage) * FRAME_S


@dataclass(frozen=True)
class Baselines:
    """AOS on the test questions.

    Args:
        fixed: of the relative place and the length that fit the training questions best.
        logistic: of the stretch of frames that a logistic regression on frame and question finds the most answer-like.
    """

    fixed: float
    logistic: float

    @property
    def error_to_halve(self) -> float:
        """Error of the better one."""
        return 1 - max(self.fixed, self.logistic)

    def beside(self, what: str, aos: float) -> str:
        """One line of a report."""
        return f"{what}: AOS {aos:.3f}; best fixed span {self.fixed:.3f}, logistic regression per frame {self.logistic:.3f}"


def items(questions: Sequence[Question]) -> Iterator[Item]:
    """The features of questions."""
    upstream = build(UPSTREAM).eval()

    def bands(wav: torch.Tensor) -> np.ndarray:
        with torch.no_grad():
            return upstream([wav])["hidden_states"][0][0, :, :BANDS].numpy()

    for asked in SpokenQADataset(grouped(questions, 99)):
        passage = bands(asked.passage)
        for question, spans in zip(asked.questions, asked.spans, strict=True):
            yield Item(passage, bands(question).mean(axis=0), spans)


def baselines(train: Sequence[Item], test: Sequence[Item]) -> Baselines:
    """Both baselines."""
    truths = [item.spans for item in test]
    return Baselines(
        *(mean_scores(truths, [answer(item) for item in test])["aos"] for answer in (best_fixed_span(train), regression(train)))
    )


def best_fixed_span(train: Sequence[Item]):
    """The answer (item -> span) with one relative start and one length that scores best on the training questions."""

    def answer(item: Item, place: float, length: float) -> Span:
        return place * item.seconds, place * item.seconds + length

    def score(place: float, length: float) -> float:
        return mean_scores([item.spans for item in train], [answer(item, place, length) for item in train])["aos"]

    place, length = max(product(np.linspace(0, 0.95, 39), (0.3, 0.5, 0.8, 1.2, 2.0, 4.0)), key=lambda pair: score(*pair))
    return lambda item: answer(item, place, length)


def regression(train: Sequence[Item]):
    """The answer (item -> span) of a logistic regression: the stretch of at most 2 s with the largest sum of log odds."""
    frames = np.concatenate([_rows(item)[::_EVERY] for item in train])
    inside = np.concatenate([_inside(item)[::_EVERY] for item in train])
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=200)).fit(frames, inside)

    def answer(item: Item) -> Span:
        odds = np.concatenate([[0.0], np.cumsum(model.decision_function(_rows(item)))])
        sums = {(a, b): odds[b] - odds[a] for a in range(0, len(odds) - 1, 2) for b in range(a + 2, min(len(odds), a + _LONGEST), 2)}
        start, end = max(sums, key=sums.get)
        return start * FRAME_S, end * FRAME_S

    return answer


def _rows(item: Item) -> np.ndarray:
    """Each frame of the passage beside the question: (T, 160)."""
    return np.concatenate([item.passage, np.broadcast_to(item.question, item.passage.shape)], axis=1)


def _inside(item: Item) -> np.ndarray:
    middles = (np.arange(len(item.passage)) + 0.5) * FRAME_S
    start, end = item.spans[0]
    return ((middles >= start) & (middles < end)).astype(int)


if __name__ == "__main__":
    root, split = Path(sys.argv[1]), sys.argv[2]
    print(baselines(*(list(items(nmsqa.questions(root, name))) for name in ("train", split))))
