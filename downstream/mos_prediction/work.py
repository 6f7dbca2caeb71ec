"""Work that is not a pass over a split: predictions on a test set, the datastore of a training set, the nets of RAMP's fusion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from downstream.blocks.corpus_task import SOURCE
from downstream.interfaces import Outcome, RunContext
from utility.errors import CheckpointError, ConfigError
from utility.experiment import checkpoint as files

from . import ensemble, fusion
from .audio import load
from .datastore import read_datastore, write_datastore
from .neighbours import Datastore, Index, naive_knn, nearest_domains
from .reports import Predictions, write_report
from .table import Rating, read_tables, samples_of

if TYPE_CHECKING:
    from .expert import DownstreamExpert
    from .models.parts import Answer


def infer(expert: DownstreamExpert, context: RunContext) -> Outcome:
    """Scores the samples of ``inference.csv``, by the predictor or with the help of a datastore; each set and mode is a variant."""
    settings = expert.settings.inference
    if not settings.csv:
        raise ConfigError("field 'csv' is missing: the table of the test set", f"{SOURCE}.inference")
    folder = Path(settings.outdir) if settings.outdir else context.results_dir / Path(settings.csv).stem
    samples = samples_of(read_tables([settings.csv], f"{SOURCE}.inference.csv"))
    _make_folder(folder, "inference.outdir")
    if settings.domain_idx is not None:
        samples = [replace(sample, domain=settings.domain_idx if sample.domain is None else sample.domain) for sample in samples]
    if settings.model_averaging:
        context.take(ensemble.averaged(ensemble.members_of(expert.expdir)))
    scored = _by_stack if settings.meta_model else _MODES[settings.np_inference_mode]
    ways = {settings.np_inference_mode, "averaging" * settings.model_averaging, "stacking" * bool(settings.meta_model)} - {None, ""}
    scores = write_report(folder, scored(expert, context, samples), settings.bootstrap)
    return Outcome(scores=scores, variant="-".join((*ways, folder.name)))


def build_datastore(expert: DownstreamExpert, context: RunContext) -> None:
    """Writes the representations and scores of ``datastore.csv``."""
    if not expert.settings.store.out:
        raise ConfigError("field 'out' is missing: the file to write, such as datastore.h5", f"{SOURCE}.datastore")
    _make_folder(Path(expert.settings.store.out).parent, "datastore.out")
    if Path(expert.settings.store.out).is_dir():
        raise ConfigError(f"{expert.settings.store.out} is a folder, not a file to write", f"{SOURCE}.datastore.out")
    samples = _training_samples(expert)
    embeddings = [_pooled(features).cpu().numpy() for _, features in _features(expert, context, samples)]
    write_datastore(expert.settings.store.out, Datastore(_names(samples), np.stack(embeddings), np.array([s.mean for s in samples])))
    print(f"{len(samples)} training utterances in {expert.settings.store.out}")


def train_fusion(expert: DownstreamExpert, context: RunContext) -> None:
    """Fits the nets of ``np_inference_mode: fusion`` on ``datastore.csv``, with the datastore of ``inference.datastore``."""
    samples, index = _training_samples(expert), _index(expert, context)
    evidence = _evidence(expert, context, samples, index, expert.settings.inference.k, without_itself=True)
    truth = torch.tensor([sample.mean for sample in samples], device=evidence.predicted.device)
    path = _fusion_file(expert)
    fusion.save(path, fusion.train(evidence, truth, context.seed))
    print(f"nets of {len(samples)} training utterances in {path}")


def fit_stack(expert: DownstreamExpert, context: RunContext) -> None:
    """Fits a ridge regression on the answers of all kept checkpoints to ``stacking.csv``."""
    settings, members = expert.settings.stacking, ensemble.members_of(expert.expdir)
    given = settings.csv or expert.datarc.get("dev_csv")
    if not given:
        raise ConfigError("field 'csv' is missing: the table to fit on", f"{SOURCE}.stacking")
    samples = samples_of(read_tables([given] if isinstance(given, str) else given, f"{SOURCE}.stacking.csv"))
    truth = np.array([sample.mean for sample in samples])
    stack = ensemble.fit([path.name for path in members], _answers_of(expert, context, members, samples), truth, settings.alpha)
    path = Path(settings.out) if settings.out else expert.expdir / "meta_model.pkl"
    ensemble.save_stack(path, stack)
    print(f"a regression on the answers of {len(members)} checkpoints in {path}")


RUNS: Mapping[str, Callable] = {"inference": infer, "datastore": build_datastore, "fusion": train_fusion, "stacking": fit_stack}


def _by_predictor(expert: DownstreamExpert, context: RunContext, samples: list[Rating]) -> Predictions:
    answers = [expert.answer(features, [sample]) for sample, features in _features(expert, context, samples)]
    return _predictions(expert, samples, answers)


def _predictions(expert: DownstreamExpert, samples: list[Rating], answers: list[Answer], retrieved: list[str] | None = None) -> Predictions:
    uncertain = answers[0].log_variances is not None
    variances = [float(answer.log_variances) for answer in answers] if uncertain else None
    kinds = expert.criterions["mean_score_criterions"].distributions()
    return Predictions(samples, [float(answer.scores) for answer in answers], variances, retrieved, kinds)


def _by_stack(expert: DownstreamExpert, context: RunContext, samples: list[Rating]) -> Predictions:
    stack = ensemble.read_stack(Path(expert.settings.inference.meta_model))
    members = [expert.expdir / name for name in stack.members]
    if missing := [path for path in members if not path.is_file()]:
        raise CheckpointError(f"the regression is of {missing[0].name}, which is not in {expert.expdir} any more; run -t stacking again")
    return Predictions(samples, stack(_answers_of(expert, context, members, samples)).tolist())


def _answers_of(expert: DownstreamExpert, context: RunContext, members: list[Path], samples: list[Rating]) -> np.ndarray:
    """(Q, members)."""
    columns = []
    for path in members:
        context.take(files.load(path))
        columns.append(_by_predictor(expert, context, samples).answers)
    return np.array(columns).T


def _by_neighbours(expert: DownstreamExpert, context: RunContext, samples: list[Rating]) -> Predictions:
    settings, index = expert.settings.inference, _index(expert, context)
    queries = torch.stack([_pooled(features) for _, features in _features(expert, context, samples)])
    return Predictions(samples, naive_knn(index, queries, settings.k, settings.weighting, settings.temperature).tolist())


def _by_nearest_domain(expert: DownstreamExpert, context: RunContext, samples: list[Rating]) -> Predictions:
    index, answers, domains = _index(expert, context), [], []
    for sample, features in _features(expert, context, samples):
        (domain,), _ = nearest_domains(index, _pooled(features)[None])
        answers.append(expert.answer(features, [replace(sample, domain=domain)]))
        domains.append(str(domain))
    return _predictions(expert, samples, answers, domains)


def _by_fusion(expert: DownstreamExpert, context: RunContext, samples: list[Rating]) -> Predictions:
    nets, index = fusion.read(_fusion_file(expert)), _index(expert, context)
    evidence = _evidence(expert, context, samples, index, nets.k)
    return Predictions(samples, nets.to(evidence.predicted.device)(evidence).tolist())


_MODES: Mapping[str | None, Callable] = {
    None: _by_predictor,
    "naive_knn": _by_neighbours,
    "domain_id_knn_1": _by_nearest_domain,
    "fusion": _by_fusion,
}


def _evidence(
    expert: DownstreamExpert, context: RunContext, samples: list[Rating], index: Index, k: int, without_itself: bool = False
) -> fusion.Evidence:
    """What RAMP's nets are told of each sample."""
    head = getattr(expert.model, "categorical_head", None)
    if head is None:
        raise ConfigError("fusion needs a predictor with use_additional_categorical_head: true", f"{SOURCE}.inference")
    if len(index.store.names) < k + without_itself:
        raise ConfigError(f"k is {k}, and the datastore has {len(index.store.names)} utterances", f"{SOURCE}.inference")
    queries, predicted, classes = [], [], []
    for sample, features in _features(expert, context, samples):
        answer = expert.answer(features, [sample])
        queries.append(_pooled(features))
        predicted.append(answer.scores[0].float())
        classes.append(answer.confidences[0].softmax(-1).mean(0))
    found = index.nearest(torch.stack(queries), k + without_itself)
    squared, indices = found.squared, found.indices
    if without_itself:
        places = {name: place for place, name in enumerate(index.store.names)}
        own = torch.tensor([places.get(name, -1) for name in _names(samples)], device=indices.device)
        order = (indices == own[:, None]).long().sort(dim=1, stable=True).indices[:, :k]
        squared, indices = squared.gather(1, order), indices.gather(1, order)
    scores = torch.as_tensor(index.store.scores, dtype=torch.float32, device=indices.device)[indices]
    return fusion.Evidence(squared, scores, torch.stack(predicted), torch.stack(classes), head.output_step)


def _training_samples(expert: DownstreamExpert) -> list[Rating]:
    given = expert.settings.store.csv or expert.datarc.get("train_csv")
    if not given:
        raise ConfigError("field 'csv' is missing: the table of the training set", f"{SOURCE}.datastore")
    return samples_of(read_tables([given] if isinstance(given, str) else given, f"{SOURCE}.datastore.csv"))


def _make_folder(folder: Path, field: str) -> None:
    """Before the work is done, not after it.

    Raises:
        ConfigError: the path, or one above it, is a file.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError, FileNotFoundError) as error:
        raise ConfigError(f"{folder} cannot be a folder: {error.strerror}", f"{SOURCE}.{field}") from error


def _index(expert: DownstreamExpert, context: RunContext) -> Index:
    settings = expert.settings.inference
    if not settings.datastore:
        mode = settings.np_inference_mode or "fusion"
        raise ConfigError(f"field 'datastore' is missing, which {mode} needs; stage 3 of a recipe makes one", f"{SOURCE}.inference")
    return Index(read_datastore(settings.datastore), settings.search, context.device)


def _fusion_file(expert: DownstreamExpert) -> Path:
    settings = expert.settings.inference
    return Path(settings.fusion) if settings.fusion else Path(settings.datastore).with_suffix(".fusion.pt")


def _names(samples: list[Rating]) -> list[str]:
    return [f"{sample.system}_{sample.sample}" for sample in samples]


def _features(expert: DownstreamExpert, context: RunContext, samples: list[Rating]) -> Iterator[tuple[Rating, list[Tensor]]]:
    """Each sample with its (T, D) features, or those of its segments, one by one, so that none depends on what else is in a batch."""
    for sample in tqdm(samples, desc="inference", unit="file", dynamic_ncols=True):
        wav = torch.from_numpy(load(sample.wav_path, expert.settings.data.max_seconds))
        with torch.no_grad():
            yield sample, [context.extract([part])[0] for part in expert.heard(wav)]


def _pooled(features: list[Tensor]) -> Tensor:
    """(T_i, D) -> (D,)."""
    return torch.cat(features).float().mean(0)
