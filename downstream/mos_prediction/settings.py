"""The config of MOS prediction as checked data classes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from downstream.blocks.corpus_task import SOURCE
from utility.errors import ConfigError, UnknownNameError
from utility.metrics.mos import KEYS
from utility.training.fields import Count, CountFromZero, NotNegative, check_fields, check_lists, check_options, check_sections

from .audio import HEARD
from .dataset import PADDINGS
from .neighbours import SEARCHES, WEIGHTINGS, K
from .ranking import ORDERS

NP_MODES = ("naive_knn", "domain_id_knn_1", "fusion")
LOSSES = ("mean_score_criterions", "listener_score_criterions", "categorical_head_criterions")


@dataclass(frozen=True)
class Data:
    """``datarc``.

    Args:
        train_csv, dev_csv: a file or several.
        vcc2018_file_path, vcc2016_file_path: the folders of the Voice Conversion Challenges, in place of csv files.
        wav_only: train on mean opinion scores, not on single ratings.
        mean_listener: ratings are followed by their mean as that of one listener more.
        padding_mode: of LDNet's batches in training.
        max_seconds: how much of a recording is heard; None: all.
    """

    train_csv: Any = None
    dev_csv: Any = None
    vcc2018_file_path: str | None = None
    vcc2016_file_path: str | None = None
    train_batch_size: Count = 16
    eval_batch_size: Count = 1
    num_workers: CountFromZero = 0
    wav_only: bool = True
    mean_listener: bool = True
    padding_mode: str = "repetitive"
    max_seconds: float | None = HEARD


@dataclass(frozen=True)
class Model:
    """``modelrc``.

    Args:
        model_type, model_params: see :mod:`.build`.
        num_domains: data sets of a pool; None: as many as the training data names.
        symbols: of phoneme strings, the first one for padding.
        categorical_step: distance of the scores that classes stand for.
        init: parts of another training's weights, see :func:`.checkpoints.begin_with_parts`.
        normalize_features: by their mean and variance over training.
    """

    model_type: str
    model_params: Mapping[str, Any] | None = None
    num_domains: Count | None = None
    symbols: str | None = None
    categorical_step: float = 0.25
    init: Mapping[str, Any] | None = None
    normalize_features: bool = False

    @property
    def params(self) -> Mapping[str, Any]:
        """``model_params``, {} for none."""
        return self.model_params or {}


@dataclass(frozen=True)
class Selection:
    """``selection``: which checkpoints stay, and when training stops.

    Args:
        keep_nbest_models: how many.
        patience: evaluations outside of these until the end; None: never.
        key: one of the eight numbers, on all dev sets together.
        order: ``highest`` or ``lowest``.
    """

    keep_nbest_models: Count = 5
    patience: Count | None = 20
    key: str = "utt_SRCC"
    order: str = "highest"


@dataclass(frozen=True)
class Inference:
    """``inference``: what ``-t inference`` does.

    Args:
        csv: the test set.
        outdir: where the results go; by default the results folder of the evaluation.
        np_inference_mode: None, ``naive_knn``, ``domain_id_knn_1`` or ``fusion``.
        datastore: the file for these.
        fusion: the file of ``-t fusion``; by default beside the datastore.
        k, temperature, weighting: of naive_knn.
        search: ``torch`` or ``faiss``: what looks for neighbours.
        bootstrap: samples for confidence intervals; 0 for none.
        domain_idx: the data set that recordings without one are taken for.
        model_averaging: take the mean weights of the kept checkpoints.
        meta_model: the file of ``-t stacking``: answers of all kept checkpoints go through that regression.
    """

    csv: str | None = None
    outdir: str | None = None
    np_inference_mode: str | None = None
    datastore: str | None = None
    fusion: str | None = None
    k: Count = K
    temperature: float = 1.0
    weighting: str = "negative_distance"
    search: str = "torch"
    bootstrap: CountFromZero = 0
    domain_idx: CountFromZero | None = None
    model_averaging: bool = False
    meta_model: str | None = None


@dataclass(frozen=True)
class Stacking:
    """``stacking``: what ``-t stacking`` does.

    Args:
        csv: the set to fit on; by default the dev set of the training.
        out: the file.
        alpha: weight of the squared coefficients.
    """

    csv: str | None = None
    out: str | None = None
    alpha: NotNegative = 1.0


@dataclass(frozen=True)
class Store:
    """``datastore``: what ``-t datastore`` does.

    Args:
        csv: the training set; by default that of the training.
        out: the file.
    """

    csv: str | None = None
    out: str | None = None


@dataclass(frozen=True)
class Settings:
    """All sections."""

    data: Data
    model: Model
    losses: Mapping[str, Sequence[Mapping[str, Any]] | None]
    selection: Selection
    inference: Inference
    store: Store
    stacking: Stacking

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Settings:
        """From a checked config."""
        return cls(
            Data(**given["datarc"]),
            Model(**given["modelrc"]),
            {name: given["lossrc"].get(name) for name in LOSSES},
            Selection(**(given.get("selection") or {})),
            Inference(**_filled(given.get("inference"))),
            Store(**_filled(given.get("datastore"))),
            Stacking(**_filled(given.get("stacking"))),
        )


SECTIONS = {
    "datarc": Data,
    "modelrc": Model,
    "selection": Selection,
    "inference": Inference,
    "datastore": Store,
    "stacking": Stacking,
}
OF_WORK = ("inference", "datastore", "stacking")


def check_config(given: Mapping[str, Any]) -> None:
    """Refuses what cannot be meant.

    Raises:
        ConfigError, UnknownNameError: unknown or impossible fields.
    """
    names = (*SECTIONS, "lossrc")
    check_fields(given, names, ("datarc", "modelrc", "lossrc"), source=SOURCE)
    check_sections(given, names, source=SOURCE, null=("selection", *OF_WORK))
    for name, section in SECTIONS.items():
        own = _filled(given.get(name)) if name in OF_WORK else given.get(name) or {}
        required = ("model_type",) if section is Model else ()
        check_fields(own, [f.name for f in fields(section)], required, source=f"{SOURCE}.{name}")
        check_options(section, own, source=f"{SOURCE}.{name}")
    check_fields(given["lossrc"], LOSSES, source=f"{SOURCE}.lossrc")
    check_lists(given["datarc"], ("train_csv", "dev_csv"), source=f"{SOURCE}.datarc", alone=True)
    data, model, selection = Data(**given["datarc"]), Model(**given["modelrc"]), Selection(**(given.get("selection") or {}))
    inference = Inference(**_filled(given.get("inference")))
    _known(f"{SOURCE}.selection.key", selection.key, KEYS)
    _known(f"{SOURCE}.selection.order", selection.order, ORDERS)
    _known(f"{SOURCE}.datarc.padding_mode", data.padding_mode, PADDINGS)
    _known(f"{SOURCE}.inference.weighting", inference.weighting, WEIGHTINGS)
    _known(f"{SOURCE}.inference.search", inference.search, SEARCHES)
    if inference.np_inference_mode is not None:
        _known(f"{SOURCE}.inference.np_inference_mode", inference.np_inference_mode, NP_MODES)
    if bool(inference.np_inference_mode) + inference.model_averaging + bool(inference.meta_model) > 1:
        raise ConfigError("np_inference_mode, model_averaging and meta_model exclude each other", f"{SOURCE}.inference")
    _above_zero(f"{SOURCE}.inference", "temperature", inference.temperature)
    _above_zero(f"{SOURCE}.datarc", "max_seconds", 1 if data.max_seconds is None else data.max_seconds)
    _above_zero(f"{SOURCE}.modelrc", "categorical_step", model.categorical_step)


def _known(what: str, value: str, valid: Any) -> None:
    if value not in valid:
        raise UnknownNameError(what, str(value), valid)


def _above_zero(source: str, name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ConfigError(f"{name} must be above 0 and finite, not {value}", source)


def _filled(section: Mapping[str, Any] | None) -> dict[str, Any]:
    """The fields that have a value: an empty option of a script is its default."""
    return {name: value for name, value in (section or {}).items() if value not in (None, "")}
