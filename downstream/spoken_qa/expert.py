"""Spoken question answering: when in a spoken passage is the answer to a spoken question?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from downstream.blocks.corpus_task import SOURCE, CorpusTask
from downstream.blocks.score_log import log_score
from downstream.interfaces import Outcome, Score
from utility.errors import ConfigError, DataError
from utility.metrics.spans import best, frame_f1, overlap_score
from utility.training.fields import (
    NotNegative,
    check_counts,
    check_fields,
    check_name,
    check_options,
    check_sections,
    check_texts,
    keywords_of,
)

from . import nmsqa, slue
from .corpus import Span
from .dataset import Group, SpokenQADataset, grouped
from .decoding import Decoder
from .model import SpanFinder

TASK = Path(__file__).resolve().parent.name
LAYOUTS = {"nmsqa": nmsqa, "slue_sqa5": slue}
_DATA = ("root", "layout", "batch_size", "questions_per_passage", "num_workers")
_HEAD = keywords_of(SpanFinder, besides=("input_dim", "stack"))


class DownstreamExpert(CorpusTask):
    """A head that compares question and passage and finds the answer's span; the metrics are AOS and frame F1.

    Args:
        upstream_dim: width of the features.
        upstream_rate: samples per frame.
        downstream_expert: ``datarc``, ``modelrc`` and ``decoding`` as in config.yaml.
        expdir: the experiment folder.
    """

    sample_rate = 16000
    splits = tuple(dict.fromkeys((*nmsqa.SPLITS, *slue.SPLITS)))
    inference_inputs = "pairs"

    def __init__(
        self,
        upstream_dim: int,
        upstream_rate: int,
        downstream_expert: Mapping[str, Any],
        expdir: str,
        **kwargs: Any,
    ):
        super().__init__(expdir, **kwargs)
        check_sections(downstream_expert, ("datarc", "modelrc", "decoding"), ("datarc",), source=SOURCE, null=("modelrc", "decoding"))
        self.datarc, modelrc, decoding = (downstream_expert.get(field) or {} for field in ("datarc", "modelrc", "decoding"))
        check_fields(self.datarc, _DATA, ("batch_size",), source=f"{SOURCE}.datarc")
        check_fields(modelrc, {*_HEAD, "step_ms"}, source=f"{SOURCE}.modelrc")
        check_fields(decoding, keywords_of(Decoder), source=f"{SOURCE}.decoding")
        check_counts(self.datarc, {"batch_size": 1, "questions_per_passage": 1, "num_workers": 0}, source=f"{SOURCE}.datarc")
        check_texts(self.datarc, ("root",), source=f"{SOURCE}.datarc")
        check_options(SpanFinder, modelrc, source=f"{SOURCE}.modelrc")
        check_options(_steps, modelrc, source=f"{SOURCE}.modelrc")
        if modelrc.get("kernel_size", 1) % 2 == 0:
            raise ConfigError(f"kernel_size must be odd, not {modelrc['kernel_size']}", source=f"{SOURCE}.modelrc")
        check_options(Decoder, decoding, source=f"{SOURCE}.decoding")
        layout = self.datarc.get("layout", "nmsqa")
        check_name("layout", layout, LAYOUTS)
        self.layout, self.splits = LAYOUTS[layout], LAYOUTS[layout].SPLITS

        options = dict(modelrc)
        stack = _steps(options.pop("step_ms", 0), upstream_rate / self.sample_rate)
        self.seconds_per_step = stack * upstream_rate / self.sample_rate
        self.model, self.decode = SpanFinder(upstream_dim, stack, **options), Decoder(**decoding)
        self.register_buffer("best_score", torch.full((1,), -1.0))
        self.read_ahead()

    def read_corpus(self, split: str) -> list[Group]:
        """The questions of a split by passage.

        Raises:
            ConfigError: the config names no corpus.
            DataError: the corpus is missing or is not what it should be.
        """
        root = Path(*self.needed("root"))
        if not root.is_dir():
            raise DataError(f"{SOURCE}.datarc.root: folder {root} does not exist; downstream/{TASK}/README.md says where to get it")
        return grouped(self.layout.questions(root, split), self.datarc.get("questions_per_passage", 8))

    def get_dataloader(self, split: str, epoch: int = 0) -> DataLoader:
        """Batches of ``(wavs, counts, names, annotations)``, see :class:`SpokenQADataset`; training is shuffled, the rest is in order."""
        return DataLoader(
            SpokenQADataset(self.corpus_of(split)),
            batch_size=self.datarc["batch_size"],
            shuffle=split == self.train_split and self.training,
            num_workers=self.datarc.get("num_workers", 0),
            collate_fn=SpokenQADataset.collate_fn,
        )

    def logits(self, features: list[Tensor], counts: list[int]) -> tuple[Tensor, Tensor]:
        """Start and end of each question's answer.

        Args:
            features: list of (T_i, D): each passage followed by its questions.
            counts: questions of each passage.

        Returns:
            (2, questions, T') logits and the steps of each question's passage (questions,).
        """
        passages, questions, owners, place = [], [], [], 0
        for number, count in enumerate(counts):
            passages.append(features[place])
            questions += features[place + 1 : place + 1 + count]
            owners += [number] * count
            place += 1 + count
        return self.model(_padded(passages), _padded(questions), torch.tensor(owners, device=features[0].device))

    def forward(
        self,
        split: str,
        features: list[Tensor],
        counts: list[int],
        names: list[str],
        spans: list[tuple[Span, ...]],
        records: dict[str, list],
        **kwargs: Any,
    ) -> Tensor:
        """Cross entropy of start and end (their mean); in evaluation each question's answer and scores are recorded too.

        Args:
            features: as for :meth:`logits`.
            counts: questions of each passage.
            names: of the questions.
            spans: annotations of each question; training aims at the first one.
            records: lists to grow.
        """
        logits, steps = self.logits(features, counts)
        targets = torch.tensor([self._steps_of(own[0], int(last)) for own, last in zip(spans, steps, strict=True)], device=logits.device).T
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        records["loss"].append(loss.item())
        if not self.training:
            self._record(logits.float(), steps, names, spans, records)
        return loss

    def _steps_of(self, span: Span, steps: int) -> tuple[int, int]:
        """First and last step of an answer, within the passage."""
        start = min(int(span[0] / self.seconds_per_step), steps - 1)
        return start, min(max(start, math.ceil(span[1] / self.seconds_per_step - 1e-6) - 1), steps - 1)

    def _record(self, logits: Tensor, steps: Tensor, names: list[str], spans: list[tuple[Span, ...]], records: dict[str, list]) -> None:
        answers = self._answers(logits, steps)
        records["filename"] += names
        records["predict"] += answers
        records["truth"] += [[list(span) for span in own] for own in spans]
        for name, measure in (("aos", overlap_score), ("ff1", frame_f1)):
            records[name] += [best(measure, own, answer[:2]) for own, answer in zip(spans, answers, strict=True)]

    def _answers(self, logits: Tensor, steps: Tensor) -> list[tuple[float, float, float]]:
        """Start and end in seconds, and the score, of each question."""
        return [self.decode(*logits[:, item, :last], self.seconds_per_step) for item, last in enumerate(steps.tolist())]

    def log_records(
        self, split: str, records: dict[str, list], logger: Any, global_step: int, batch_ids: list[int], total_batch_num: int, **kwargs: Any
    ) -> Outcome:
        """Logs loss and, in evaluation, AOS and frame F1, and writes answers; a better AOS on dev gives ``dev-best.ckpt``."""
        means = {name: sum(records[name]) / len(records[name]) for name in ("loss", "aos", "ff1") if records.get(name)}
        for name, value in means.items():
            logger.add_scalar(f"{TASK}/{split}-{name}", value, global_step=global_step)
        if "aos" not in means:
            return Outcome()
        print(f"{split} aos: {means['aos']}")
        print(f"{split} ff1: {means['ff1']}")
        better = split == "dev" and bool(torch.tensor(means["aos"]) > self.best_score.cpu())
        if better:
            self.best_score.fill_(means["aos"])
        self.results_dir.mkdir(parents=True, exist_ok=True)
        log_score(self.results_dir, split, global_step, means["aos"], better)
        self._write(f"{split}_predict.txt", records["filename"], records["predict"])
        self._write(f"{split}_truth.txt", records["filename"], [[second for span in own for second in span] for own in records["truth"]])
        scores = {name: Score(means[name], higher_is_better=True) for name in ("aos", "ff1")}
        scores["loss"] = Score(means["loss"], higher_is_better=False, unit="nats")
        return Outcome(save_names=["dev-best.ckpt"] if better else [], scores=scores)

    def _write(self, file: str, names: list[str], rows: list[Any]) -> None:
        lines = (" ".join([name, *(f"{value:.4f}" for value in row)]) + "\n" for name, row in zip(names, rows, strict=True))
        (self.results_dir / file).write_text("".join(lines), encoding="utf-8")

    def inference(self, features: list[Tensor], names: list[str]) -> list[dict[str, Any]]:
        """The answer to a question (the first recording) within a passage (the second): start and end in seconds, and a score of 0 to 1."""
        question, passage = features
        ((start, end, score),) = self._answers(*self.logits([passage, question], [1]))
        return [{"question": names[0], "passage": names[1], "start": round(start, 4), "end": round(end, 4), "score": score}]


def _steps(step_ms: NotNegative, frame_seconds: float) -> int:
    """Frames of one step: as many as last about ``step_ms``, one at least."""
    return max(1, round(step_ms / 1000 / frame_seconds))


def _padded(features: list[Tensor]) -> tuple[Tensor, Tensor]:
    """(B, T, D) and lengths (B,); what has no frame gets one of zeros."""
    features = [feature if len(feature) else feature.new_zeros(1, feature.size(1)) for feature in features]
    return pad_sequence(features, batch_first=True), torch.tensor([len(feature) for feature in features], device=features[0].device)
