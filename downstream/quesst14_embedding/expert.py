"""Trainable query by example on QUESST 2014: queries and segments of documents become vectors, and the alike ones are found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from downstream.blocks.corpus_task import SOURCE, CorpusTask
from downstream.blocks.detection import Answers, publish, score_answers
from downstream.blocks.quesst import ENGLISH, PARTS, ground_truth_folder
from downstream.blocks.score_log import log_score
from downstream.interfaces import Outcome, Score
from utility.errors import ConfigError, DataError
from utility.training.fields import check_counts, check_fields

from .corpus import SPLITS, TRAIN, Pairs, Search, read_split
from .dataset import HOP, SAMPLE_RATE, SEGMENT, PairsDataset, RecordingsDataset, filled_up, read_waveform
from .model import Model
from .similarity import YES_ABOVE, best_of_all, best_of_pairs, normalised, pair_losses

TASK = Path(__file__).resolve().parent.name
DATA_FIELDS = {"dataset_root", "num_workers", "batch_size", "eval_batch_size", "language", "held_out"}
SIZES = {"bottleneck_dim": 1, "hidden_dim": 1, "num_layers": 1}
AT_ONCE = 64  # segments of a user's recording


class DownstreamExpert(CorpusTask):
    """Embeds segments of three seconds by an LSTM with attention; the metric is the maximum term-weighted value.

    Args:
        upstream_dim: width of the features.
        upstream_rate: samples per frame.
        downstream_expert: as in config.yaml.
        expdir: the experiment folder.
    """

    sample_rate = SAMPLE_RATE
    splits = SPLITS
    inference_inputs = "pairs"

    def __init__(self, upstream_dim: int, upstream_rate: int, downstream_expert: Mapping[str, Any], expdir: str, **kwargs: Any):
        super().__init__(expdir, **kwargs)
        check_fields(downstream_expert, {"datarc", "modelrc", "margin"}, ("datarc", "modelrc"), source=SOURCE)
        self.datarc, modelrc = downstream_expert["datarc"], downstream_expert["modelrc"]
        check_fields(self.datarc, DATA_FIELDS, ("batch_size",), source=self.datarc_source)
        check_counts(self.datarc, {"batch_size": 1, "eval_batch_size": 1, "num_workers": 0}, source=self.datarc_source)
        check_fields(modelrc, SIZES, SIZES, source=f"{SOURCE}.modelrc")
        check_counts(modelrc, SIZES, source=f"{SOURCE}.modelrc")
        self.margin = _margin(downstream_expert.get("margin", 0.0))
        self.held_out = _share(self.datarc.get("held_out", 0.25), self.datarc_source)
        if self.train_split != TRAIN:
            raise ConfigError(
                f"train_dataloader is {self.train_split!r}, but pairs to train on are in the split {TRAIN!r} alone", "config.runner"
            )
        self.rate = upstream_rate
        self.model = Model(upstream_dim, **modelrc)
        self.register_buffer("best_score", torch.tensor([-1.0, -torch.inf]))  # maxTWV, and -minCnxe where that is equal
        self.register_load_state_dict_pre_hook(_accept_without_best)
        self.read_ahead()

    def read_corpus(self, split: str) -> Pairs | Search:
        """Pairs to train on, or what to search for what."""
        (root,) = self.needed("dataset_root")
        return read_split(root, split, self.datarc.get("language") or ENGLISH, self.held_out)

    def get_dataloader(self, split: str, epoch: int = 0) -> DataLoader:
        """Batches of ``(wavs, names, counts, labels)`` in training, of ``(wavs, names, counts, are_queries)`` in evaluation."""
        corpus = self.corpus_of(split)
        dataset = PairsDataset(corpus) if isinstance(corpus, Pairs) else RecordingsDataset(corpus.recordings)
        trains, batch_size = split == TRAIN, self.datarc["batch_size"]
        return DataLoader(
            dataset,
            batch_size=batch_size if trains else self.datarc.get("eval_batch_size", batch_size),
            shuffle=trains,
            drop_last=trains and len(dataset) >= batch_size,
            num_workers=self.datarc.get("num_workers", 0),
            collate_fn=dataset.collate_fn,
        )

    def embed(self, features: list[Tensor]) -> Tensor:
        """List of (T_i, D) -> (B, E)."""
        return self.model(pad_sequence(features, batch_first=True))

    def forward(
        self,
        split: str,
        features: list[Tensor],
        names: list[str],
        counts: list[int],
        kinds: list[int] | list[bool],
        records: dict[str, list],
        **kwargs: Any,
    ) -> Tensor:
        """The loss of a batch of pairs, or 0 and the embeddings of recordings for later.

        Args:
            features: list of (T_i, D), one per segment.
            names: id of the recording of each segment.
            counts: segments of each document (training) or recording (evaluation).
            kinds: 1 or -1 per pair (training), or whether each recording is a query (evaluation).
            records: lists to grow.
        """
        embeddings = self.embed(features)
        if split == TRAIN:
            return self._pairs(embeddings, counts, kinds, records)
        ends = torch.tensor(counts).cumsum(0).tolist()
        for own, end, is_query in zip(embeddings.float().cpu().split(counts), ends, kinds, strict=True):
            kind = "query" if is_query else "document"
            records[f"{kind}_name"].append(names[end - 1])
            records[f"{kind}_embedding"].append(own)
        return torch.zeros((), device=embeddings.device)

    def _pairs(self, embeddings: Tensor, counts: list[int], labels: list[int], records: dict[str, list]) -> Tensor:
        similarities = best_of_pairs(embeddings, counts)
        losses = pair_losses(similarities, torch.tensor(labels, device=similarities.device), self.margin)
        records["loss"].append(losses.mean().item())
        for label, similarity in zip(labels, similarities.tolist(), strict=True):
            records["similarity-positive" if label > 0 else "similarity-negative"].append(similarity)
        return losses.mean()

    def log_records(self, split: str, records: dict[str, list], logger: Any, global_step: int, **kwargs: Any) -> Outcome:
        """Logs loss and mean similarities of pairs, or searches every query in every document, writes the answers and scores them."""
        if split == TRAIN:
            means = {name: sum(values) / len(values) for name, values in records.items()}
            for name, value in means.items():
                logger.add_scalar(f"{TASK}/{split}-{name}", value, global_step=global_step)
            return Outcome(scores={"loss": Score(means["loss"], higher_is_better=False, unit="cosine")})
        answers = answers_of(records)
        print(f"{split} answers: {publish(answers, self.results_dir / split, self.expdir)}")
        scores = self._scores(split, answers)
        for name, score in scores.items():
            logger.add_scalar(f"{TASK}/{split}-{name}", score.value, global_step=global_step)
        found = [scores[name] for name in ("maxTWV", "maxTWV_searched") if name in scores]
        best = split == "dev" and "maxTWV_searched" in scores and self._is_best(scores)
        if found:
            log_score(self.results_dir, split, global_step, found[0].value, best)
        return Outcome(save_names=["dev-best.ckpt"] if best else [], scores=scores)

    def _scores(self, split: str, answers: Answers) -> dict[str, Score]:
        """On dev of the trials that are held out; on test of all, of those that were searched, and of those in unheard documents."""
        folder = ground_truth_folder(self.datarc.get("dataset_root") or "", PARTS[split])
        if split == "dev":
            return score_answers(answers, folder, official=False)
        return score_answers(answers, folder, {"searched": None, "unheard": self.corpus_of(split).unheard})

    def _is_best(self, scores: Mapping[str, Score]) -> bool:
        """Whether there is no better evaluation of dev so far; if so, it is remembered."""
        reached = torch.tensor([scores["maxTWV_searched"].value, -scores["minCnxe_searched"].value])
        best = reached.tolist() > self.best_score.tolist()
        if best:
            self.best_score.copy_(reached)
        return best

    def load_audio(self, path: str) -> Tensor:
        """A recording as the corpus' are read, with zeros behind it up to whole segments."""
        return filled_up(read_waveform(path))

    def inference(self, features: list[Tensor], names: list[str]) -> list[dict[str, Any]]:
        """How alike a query and the most alike three seconds of a document are (a cosine), and where these begin, in seconds.

        Segments are cut from the features here; in a corpus they are cut from the waveform.
        """
        frames, hop = round(SEGMENT / self.rate), max(1, round(HOP / self.rate))
        query, document = features
        starts = range(0, max(1, len(document) - frames + 1), hop)
        vector = self.embed([query[:frames]])
        found = []
        for first in range(0, len(starts), AT_ONCE):
            some = [document[start : start + frames] for start in starts[first : first + AT_ONCE]]
            found.append(F.cosine_similarity(vector, self.embed(some)))
        score, place = torch.cat(found).max(dim=0)
        start = starts[int(place)] * self.rate / self.sample_rate
        return [{"query": names[0], "document": names[1], "score": float(score), "start": round(start, 4)}]


def answers_of(records: Mapping[str, list]) -> Answers:
    """(document, score, decision) of each query.

    Args:
        records: ``query_name`` and ``document_name``, ids; ``query_embedding`` and ``document_embedding``, (segments, E) of each. Of a
            query the first segment counts.

    Raises:
        DataError: there is no query or no document.
    """
    if not records.get("query_name") or not records.get("document_name"):
        raise DataError("there is no query, or no document, so that nothing can be searched")
    queries = torch.stack([embedding[0] for embedding in records["query_embedding"]])
    scores = normalised(best_of_all(queries, records["document_embedding"]))
    rows = zip(records["query_name"], scores.tolist(), strict=True)
    return {
        query: [(name, score, score > YES_ABOVE) for name, score in zip(records["document_name"], row, strict=True)] for query, row in rows
    }


def _margin(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1 <= value <= 1:
        raise ConfigError(f"margin must be a number from -1 to 1, not {value!r}", SOURCE)
    return float(value)


def _share(value: Any, source: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise ConfigError(f"held_out must be a number above 0 and below 1, not {value!r}", source)
    return float(value)


def _accept_without_best(module: DownstreamExpert, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """S3PRL's checkpoints know no best score."""
    state.setdefault(f"{prefix}best_score", module.best_score)
