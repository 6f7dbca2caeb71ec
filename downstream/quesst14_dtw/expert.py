"""Query by example on QUESST 2014: which documents hold a spoken query, by dynamic time warping (SUPERB's QbE). Nothing is trained."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from downstream.blocks.detection import Answers, publish, score_answers
from downstream.blocks.quesst import ENGLISH, PARTS, ground_truth_folder, recordings
from downstream.interfaces import DownstreamBase, Outcome
from utility.errors import ConfigError, DataError, UnknownNameError
from utility.training.fields import check_counts, check_fields, check_flags, check_texts
from utility.training.loading import usable_cores

from .dataset import SAMPLE_RATE, RecordingsDataset, read_waveform
from .distances import metric_named
from .dtw import PATTERNS, Warping
from .frames import FrameStore, Statistics
from .search import LEAST_FRAMES, Method, Queries, normalised_scores, search_all

log = logging.getLogger(__name__)

SOURCE = "config.downstream_expert"
USUAL = "cosine_exp"
YES_ABOVE = 2.0  # in standard deviations of a query's scores
SHORTEST = SAMPLE_RATE // 20  # samples that every upstream takes


class DownstreamExpert(DownstreamBase):
    """Warps each query into each document; the metric is the maximum term-weighted value.

    Args:
        upstream_dim: width of the features.
        upstream_rate: samples per frame.
        downstream_expert: as in config.yaml.
        expdir: the experiment folder.
    """

    sample_rate = SAMPLE_RATE
    splits = tuple(PARTS)
    trains = False
    task_version = 2  # recordings of less than 0.05 s no longer end a search
    inference_inputs = "pairs"
    distributed_evaluation = False  # features stay where they are extracted, and the warping uses all cores

    def __init__(self, upstream_dim: int, upstream_rate: int, downstream_expert: Mapping[str, Any], expdir: str, **kwargs: Any):
        super().__init__(expdir, **kwargs)
        self.upstream_rate = upstream_rate
        fields = {"max_workers", "feature_normalization", "silence_frame", "datarc", "dtwrc"}
        check_fields(downstream_expert, fields, ("datarc", "dtwrc"), source=SOURCE)
        self.datarc = downstream_expert["datarc"]
        check_fields(self.datarc, {"dataset_root", "num_workers", "batch_size", "language"}, source=f"{SOURCE}.datarc")
        check_flags(downstream_expert, ("feature_normalization",), source=SOURCE)
        given = {name: value for name, value in self.datarc.items() if value is not None}
        check_counts(given, {"num_workers": 0, "batch_size": 1}, source=f"{SOURCE}.datarc")
        self.normalises = bool(downstream_expert.get("feature_normalization", True))
        self.method = method_of(downstream_expert["dtwrc"], self.normalises)
        self.workers = _workers(downstream_expert.get("max_workers"))
        self.silence = _silence(downstream_expert.get("silence_frame"), upstream_dim)
        self.language = self.datarc.get("language") or ENGLISH
        self.variant = variant_of(downstream_expert, kwargs)
        self._store: FrameStore | None = None

    def get_dataloader(self, split: str, epoch: int = 0) -> DataLoader:
        """Batches of ``(wavs, names, are_queries, samples)``: the queries of the part, then the documents."""
        if split not in self.splits:
            raise UnknownNameError("split", split, self.splits)
        found = recordings(self._root, PARTS[split], self.language)
        return DataLoader(
            RecordingsDataset(found, max(SHORTEST, LEAST_FRAMES * self.upstream_rate)),
            batch_size=self.datarc.get("batch_size") or 1,
            num_workers=min(self.datarc.get("num_workers") or 0, usable_cores()),
            collate_fn=RecordingsDataset.collate_fn,
        )

    @property
    def _root(self) -> str:
        root = self.datarc.get("dataset_root")
        if not root:
            raise ConfigError("field 'dataset_root' is missing", source=f"{SOURCE}.datarc")
        return root

    def forward(
        self,
        split: str,
        features: list[Tensor],
        names: list[str],
        are_queries: list[bool],
        samples: list[int] | None = None,
        *,
        records: dict[str, list],
        **kwargs: Any,
    ) -> Tensor:
        """Puts the features aside, without the frames of silence; nothing is computed before all are there.

        Args:
            features: list of (T_i, D).
            names: ids of the recordings.
            are_queries: whether each is a query.
            samples: how long each recording is; frames beyond its end are dropped.
            records: lists to grow.
        """
        self._store = self._store or FrameStore(self.results_dir)
        most = [len(feature) for feature in features] if samples is None else [round(n / self.upstream_rate) for n in samples]
        for feature, name, is_query, end in zip(features, names, are_queries, most, strict=True):
            frames = _array(feature[:end])
            kept = frames[self._spoken(frames)]
            kind = "query" if is_query else "document"
            records[f"{kind}_name"].append(name)
            records[f"{kind}_frames"].append(len(kept))
            records[f"{kind}_number"].append(self._store.add(kept))
        return torch.zeros(())

    def log_records(self, split: str, records: dict[str, list], logger: Any, global_step: int, **kwargs: Any) -> Outcome:
        """Searches every query in every document, writes the answers, and scores them where there is a ground truth."""
        store, self._store = self._store, None
        try:
            answers = self._answers(records, store)
        finally:
            store.close()
        folder = self.results_dir / "-".join(filter(None, (split, self.variant)))
        print(f"{split} answers: {publish(answers, folder, self.expdir)}")
        truth = ground_truth_folder(self.datarc.get("dataset_root") or "", PARTS[split])
        return Outcome(scores=score_answers(answers, truth), variant=self.variant)

    def _answers(self, records: dict[str, list], store: FrameStore) -> Answers:
        """(document, normalised score, decision) of each query."""
        names, counted = np.array(records["document_name"]), np.array(records["document_frames"], int)
        documents = [number for number, frames in zip(records["document_number"], counted, strict=True) if frames]
        if not documents or not records["query_name"]:
            raise DataError("there is no query, or no document with a frame, so that nothing can be searched")
        _warn(len(names) - len(documents), "documents have no frame; they are left out, and the scorer takes its default score for them")
        long = np.array(records["query_frames"], int) >= LEAST_FRAMES
        _warn((~long).sum(), f"queries have less than {LEAST_FRAMES} frames; they score 0 in every document")
        scores = np.zeros((len(long), len(documents)))
        if long.any():
            asked = [store.read(number) for number, kept in zip(records["query_number"], long, strict=True) if kept]
            queries = self._queries(asked, store.statistics)
            bar = partial(tqdm, desc="warping", total=len(documents), unit="document", dynamic_ncols=True, leave=False)
            scores[long] = normalised_scores(search_all(queries, [partial(store.read, number) for number in documents], self.workers, bar))
        found = names[counted > 0].tolist()
        rows = zip(records["query_name"], scores.tolist(), strict=True)
        return {query: [(name, score, score > YES_ABOVE) for name, score in zip(found, row, strict=True)] for query, row in rows}

    def load_audio(self, path: str) -> Tensor:
        """A recording as the corpus' are read."""
        return read_waveform(path)

    def inference(self, features: list[Tensor], names: list[str]) -> list[dict[str, Any]]:
        """The best place of a query in a document: its score, and its begin and end in seconds.

        Features are normalised over the two recordings, since there is no corpus.

        Raises:
            DataError: the query has less than 5 frames, or the document none.
        """
        arrays = [_array(feature) for feature in features]
        kept = [np.flatnonzero(self._spoken(frames)) for frames in arrays]
        query, document = (frames[places] for frames, places in zip(arrays, kept, strict=True))
        if len(query) < LEAST_FRAMES:
            raise DataError(f"the query has {len(query)} frames and needs at least {LEAST_FRAMES}")
        if not len(document):
            raise DataError("the document is too short, it has no frame")
        statistics, second = Statistics(), self.upstream_rate / self.sample_rate
        for frames in (query, document):
            statistics.add(frames)
        match = self._queries([query], statistics).locate(0, document)
        start, end = kept[1][match.first] * second, (kept[1][match.last] + 1) * second
        return [{"query": names[0], "document": names[1], "score": match.score, "start": round(start, 4), "end": round(end, 4)}]

    def _queries(self, frames: list[np.ndarray], statistics: Statistics) -> Queries:
        return Queries(frames, self.method, *([statistics.normalise] if self.normalises else []))

    def _spoken(self, frames: np.ndarray) -> np.ndarray:
        """(T,) bool: the frames that are not silence."""
        if self.silence is None or not len(frames):
            return np.ones(len(frames), bool)
        return frames.argmax(axis=1) != self.silence


def variant_of(settings: Mapping[str, Any], args: Mapping[str, Any]) -> str:
    """How a search differs from the task's own one, such as ``"layer3-cosine"``; searches of one folder are told apart by it.

    Args:
        settings: the section ``downstream_expert`` of the config.
        args: arguments of the command line.
    """
    dtwrc, key, layer = settings["dtwrc"], args.get("upstream_feature_selection"), args.get("upstream_layer_selection")
    silence, language = settings.get("silence_frame"), settings["datarc"].get("language")
    told = {
        str(key): key not in (None, "hidden_states"),
        f"layer{layer}": layer is not None,
        "layernorm": bool(args.get("upstream_feature_normalize")),
        str(dtwrc.get("dist_method")): dtwrc.get("dist_method", USUAL) != USUAL,
        "raw": not settings.get("feature_normalization", True),
        f"silence{silence}": silence is not None,
        "nominmax": not dtwrc.get("minmax_norm", True),
        str(dtwrc.get("step_pattern")): dtwrc.get("step_pattern", "asymmetric") != "asymmetric",
        "whole": not dtwrc.get("subsequence", True),
        str(language): language not in (None, ENGLISH),
    }
    return "-".join(name for name, differs in told.items() if differs)


def method_of(dtwrc: Mapping[str, Any], normalised: bool) -> Method:
    """The method of a config section.

    Args:
        dtwrc: the section.
        normalised: whether features are normalised.

    Raises:
        ConfigError: fields that do not go together.
        UnknownNameError: no such metric or step pattern.
    """
    source = f"{SOURCE}.dtwrc"
    check_fields(dtwrc, {"dist_method", "minmax_norm", "step_pattern", "subsequence"}, source=source)
    check_flags(dtwrc, ("minmax_norm", "subsequence"), source=source)
    check_texts(dtwrc, ("dist_method", "step_pattern"), source=source)
    pattern, subsequence = dtwrc.get("step_pattern", "asymmetric"), bool(dtwrc.get("subsequence", True))
    if pattern not in PATTERNS:
        raise UnknownNameError("step_pattern", str(pattern), PATTERNS)
    metric = metric_named(dtwrc.get("dist_method", USUAL), source)
    faults = []
    if pattern == "symmetric1":
        faults.append("step_pattern symmetric1 gives costs that cannot be compared between documents; symmetric2 can")
    elif pattern != "asymmetric" and subsequence:
        faults.append(f"step_pattern {pattern} has no subsequence search; set subsequence: False or step_pattern: asymmetric")
    if metric.name == "cosine_neg_log" and normalised:
        faults.append("dist_method cosine_neg_log needs positive cosines, which feature_normalization: True does not leave")
    if faults:
        raise ConfigError(faults, source=source)
    return Method(metric, Warping(pattern, subsequence), bool(dtwrc.get("minmax_norm", True)))


def _workers(value: Any) -> int:
    if value is None:
        return usable_cores()
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"max_workers is {value!r} and should be a whole number above 0, or empty for all cores", source=SOURCE)
    return value


def _silence(value: Any, width: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < width:
        raise ConfigError(f"silence_frame is {value!r} and should be a feature's index from 0 to {width - 1}, or empty", source=SOURCE)
    return value


def _array(feature: Tensor) -> np.ndarray:
    return feature.detach().float().cpu().numpy()


def _warn(count: int, what: str) -> None:
    if count:
        log.warning("%d %s", count, what)
