"""Work that is not a pass over a split: predictions on a test set, and the datastore of a training set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from downstream.blocks.corpus_task import SOURCE
from downstream.interfaces import RunContext, Score
from utility.errors import ConfigError

from .audio import load
from .datastore import read_datastore, write_datastore
from .neighbours import Datastore, naive_knn, nearest_domains
from .reports import Predictions, write_report
from .table import Rating, read_tables, samples_of

if TYPE_CHECKING:
    from .expert import DownstreamExpert


def infer(expert: DownstreamExpert, context: RunContext) -> Mapping[str, Score]:
    """Scores the samples of ``inference.csv``, by the predictor or with the help of a datastore."""
    settings = expert.settings.inference
    if not settings.csv:
        raise ConfigError("field 'csv' is missing: the table of the test set", f"{SOURCE}.inference")
    samples = samples_of(read_tables([settings.csv], f"{SOURCE}.inference.csv"))
    if settings.domain_idx is not None:
        samples = [replace(sample, domain=settings.domain_idx if sample.domain is None else sample.domain) for sample in samples]
    scored = _by_neighbours if settings.np_inference_mode else _by_predictor
    folder = Path(settings.outdir) if settings.outdir else context.results_dir / Path(settings.csv).stem
    return write_report(folder, scored(expert, context, samples), settings.bootstrap)


def build_datastore(expert: DownstreamExpert, context: RunContext) -> None:
    """Writes the representations and scores of ``datastore.csv``."""
    settings = expert.settings.store
    if not settings.out:
        raise ConfigError("field 'out' is missing: the file to write, such as datastore.h5", f"{SOURCE}.datastore")
    paths = [settings.csv] if settings.csv else expert.datarc.get("train_csv")
    if not paths:
        raise ConfigError("field 'csv' is missing: the table of the training set", f"{SOURCE}.datastore")
    samples = samples_of(read_tables([paths] if isinstance(paths, str) else paths, f"{SOURCE}.datastore.csv"))
    embeddings = [_pooled(features).cpu().numpy() for _, features in _features(expert, context, samples)]
    names = [f"{sample.system}_{sample.sample}" for sample in samples]
    write_datastore(settings.out, Datastore(names, np.stack(embeddings), np.array([sample.mean for sample in samples])))
    print(f"{len(names)} training utterances in {settings.out}")


RUNS: Mapping[str, Callable] = {"inference": infer, "datastore": build_datastore}


def _by_predictor(expert: DownstreamExpert, context: RunContext, samples: list[Rating]) -> Predictions:
    answers = [expert.answer([features], [sample]) for sample, features in _features(expert, context, samples)]
    uncertain = answers[0].log_variances is not None
    variances = [float(answer.log_variances) for answer in answers] if uncertain else None
    return Predictions(samples, [float(answer.scores) for answer in answers], variances)


def _by_neighbours(expert: DownstreamExpert, context: RunContext, samples: list[Rating]) -> Predictions:
    settings = expert.settings.inference
    if not settings.datastore:
        raise ConfigError(
            f"field 'datastore' is missing, which {settings.np_inference_mode} needs; stage 3 makes one", f"{SOURCE}.inference"
        )
    store = read_datastore(settings.datastore)
    if settings.np_inference_mode == "naive_knn":
        queries = torch.stack([_pooled(features) for _, features in _features(expert, context, samples)])
        return Predictions(samples, naive_knn(store, queries, settings.k, settings.weighting, settings.temperature).tolist())
    answers, retrieved = [], []
    for sample, features in _features(expert, context, samples):
        (domain,), _ = nearest_domains(store, _pooled(features)[None])
        answers.append(float(expert.answer([features], [replace(sample, domain=domain)]).scores))
        retrieved.append(str(domain))
    return Predictions(samples, answers, retrieved=retrieved)


def _features(expert: DownstreamExpert, context: RunContext, samples: list[Rating]):
    """Each sample with its (T, D) features, one by one, so that none depends on what else is in a batch."""
    for sample in tqdm(samples, desc="inference", unit="file", dynamic_ncols=True):
        wav = torch.from_numpy(load(sample.wav_path, expert.settings.data.max_seconds))
        with torch.no_grad():
            yield sample, context.extract([wav])[0]


def _pooled(features: Tensor) -> Tensor:
    """(T, D) -> (D,)."""
    return features.float().mean(0)
