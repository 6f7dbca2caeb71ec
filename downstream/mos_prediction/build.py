"""From a config's ``model_type`` and ``model_params`` to a predictor."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from typing import Any

from torch import nn

from utility.errors import ConfigError
from utility.training.fields import check_fields, check_name, check_options, keywords_of

from .losses import Criterion
from .models.conditioned import UTMOS, AlignNet
from .models.ld_net import LDNet
from .models.mb_net import MBNet
from .models.ssl_mos import SSLMOS

log = logging.getLogger(__name__)

BINS = 257
PREDICTORS: dict[str, Callable[..., nn.Module]] = {
    "SSLMOS": SSLMOS,
    "SSLMOS_U": partial(SSLMOS, uncertain=True),
    "AlignNet": AlignNet,
    "AlignNet_U": partial(AlignNet, uncertain=True),
    "LDNet": LDNet,
    "UTMOS": UTMOS,
    "MBNet": MBNet,
}
OF_THE_DATA = ("input_dim", "num_listeners", "num_domains", "uncertain")


def build_predictor(
    model_type: str, params: Mapping[str, Any], input_dim: int, listeners: int | None, domains: int | None, source: str
) -> nn.Module:
    """Makes a predictor.

    Args:
        model_type: one of ``PREDICTORS``.
        params: its options.
        input_dim: width of the features.
        listeners: listeners with the mean listener, or None.
        domains: data sets of the pool, or None.
        source: the config section, for messages.

    Raises:
        UnknownNameError, ConfigError: another model, or options that it does not have.
    """
    check_name("model_type", model_type, PREDICTORS)
    make = PREDICTORS[model_type]
    own = make.func if isinstance(make, partial) else make
    check_fields(params, keywords_of(own, besides=OF_THE_DATA), source=source)
    check_options(own, params, source=source)
    data = {"input_dim": input_dim, "num_listeners": listeners, "num_domains": domains}
    if model_type == "LDNet" and input_dim != BINS:
        raise ConfigError(
            f"LDNet reads magnitudes of {BINS} bins, not features of {input_dim}: use -u stft_mag -g downstream/mos_prediction/stft.yaml",
            source,
        )
    return make(**{name: value for name, value in data.items() if name in keywords_of(own)}, **params)


def heads_of(model_type: str, params: Mapping[str, Any]) -> dict[str, str | None]:
    """The heads of a predictor, by the list of losses that trains each: None for scores, for classes the option with their distance."""
    mean, listener, classes = "mean_score_criterions", "listener_score_criterions", "categorical_head_criterions"
    if model_type == "MBNet":
        return {mean: None, listener: None}
    if uses_listeners(model_type, params):
        return {listener: None, **({mean: None} if params.get("use_mean_net") else {})}
    step = "mean_net_output_step" if params.get("mean_net_output_type") == "categorical" else None
    return {mean: step, **({classes: "categorical_head_output_step"} if params.get("use_additional_categorical_head") else {})}


def check_heads(model_type: str, params: Mapping[str, Any], step: float, criterions: Mapping[str, Criterion], source: str) -> None:
    """Compares the heads of a predictor with the losses of a config: what is trained on nothing answers anything.

    Args:
        step: distance of the scores that classes are trained to stand for.
        source: the section of all losses and models, for messages.

    Raises:
        UnknownNameError: another model.
        ConfigError: all faults.
    """
    check_name("model_type", model_type, PREDICTORS)
    heads, faults = heads_of(model_type, params), []
    for name, criterion in criterions.items():
        if bool(criterion) and name not in heads:
            faults.append(f"lossrc.{name} has a loss, and {model_type} has no head for it with these model_params")
        elif name in heads:
            faults += _misfits(f"lossrc.{name}", criterion, model_type, heads[name])
    for option in filter(None, heads.values()):
        if (own := params.get(option, signature(SSLMOS).parameters[option].default)) != step:
            faults.append(f"modelrc.categorical_step is {step:g} and {option} {own}: both must be the distance of the classes' scores")
    faults += _of_variance(model_type, params, criterions)
    if faults:
        raise ConfigError(faults, source)


def _misfits(name: str, criterion: Criterion, model_type: str, classes: str | None) -> list[str]:
    if not criterion:
        return [f"{name} is empty, and without a loss a head of {model_type} would stay untrained"]
    if criterion.of_classes() != {classes is not None}:
        return [f"{name} must be CategoricalLoss for a categorical head" if classes else f"{name} has CategoricalLoss for a head of scores"]
    return []


def _of_variance(model_type: str, params: Mapping[str, Any], criterions: Mapping[str, Criterion]) -> list[str]:
    """SHEET trains an uncertain predictor on any loss, and reports the variance that nothing trained."""
    faults, mean = [], "mean_score_criterions"
    if without := model_type.removesuffix("_U") * model_type.endswith("_U"):
        if params.get("use_listener_modeling") or params.get("mean_net_output_type") == "categorical":
            return [f"{model_type} has no log variance with these model_params: model_type {without} is the same"]
        if criterions[mean] and not criterions[mean].of_variance():
            losses = f"without GaussianNLLLoss or LaplaceNLLLoss in lossrc.{mean}"
            faults.append(f"{losses} the log variance of {model_type} would stay untrained: model_type {without} has none")
    for name, criterion in criterions.items():
        if criterion.of_variance() and not (without and name == mean):
            faults.append(f"lossrc.{name} has a loss of the variance, which only {mean} of SSLMOS_U and AlignNet_U can have")
    return faults


def uses_listeners(model_type: str, params: Mapping[str, Any]) -> bool:
    """Whether a predictor scores by listener."""
    return model_type in ("LDNet", "MBNet") or bool(params.get("use_listener_modeling"))


def uses_domains(params: Mapping[str, Any]) -> bool:
    """Whether a predictor is told the data set."""
    return bool(params.get("use_domain_modeling"))


def uses_text(model_type: str, params: Mapping[str, Any]) -> bool:
    """Whether a predictor reads phonemes."""
    return model_type == "UTMOS" and params.get("use_phoneme", True)


def check_scale(model_type: str, params: Mapping[str, Any], step: float, scale: tuple[float, float], source: str) -> None:
    """Compares the range of the scores with what a predictor can say; scores that it can only come near to are a warning.

    Raises:
        ConfigError: it has no class for some scores.
    """
    heads = {"mean_net_output_dim": params.get("mean_net_output_type") == "categorical"}
    heads["categorical_head_output_dim"] = bool(params.get("use_additional_categorical_head"))
    for name, there in heads.items():
        classes = params.get(name, signature(SSLMOS).parameters[name].default)
        if there and not 1 <= scale[0] <= scale[1] < 1 + step * classes:
            reach = f"{classes} classes of {step:g} from 1 on reach to {1 + step * (classes - 1):g}"
            raise ConfigError(f"the scores are from {scale[0]:g} to {scale[1]:g}, and {name}: {reach}", source)
    clips = params.get("mean_net_range_clipping" if model_type.startswith("SSLMOS") else "range_clipping", True)
    if clips and (scale[0] < 1 or scale[1] > 5):
        log.warning("%s: the scores are from %g to %g, and the predictor answers from 1 to 5 (range_clipping)", source, *scale)
