"""The losses of MOS predictors: frame scores against the score of their utterance.

Each is built from its section of a config, ``{criterion_type, criterion_weight, criterion_params}``, and called with frame scores (B, T),
targets (B,) and the number of valid frames of each item (B,); padded frames do not count. (The public code averages over padded frames,
and its masked losses work for two kinds of predictions only.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from utility.errors import ConfigError
from utility.training.fields import check_fields, check_name, check_options, keywords_of

LAPLACE_FLOOR = 1e-6


@dataclass(frozen=True)
class _Section:
    """A loss of a config."""

    criterion_type: str
    criterion_weight: float = 1.0
    criterion_params: Mapping[str, Any] | None = None


class ScalarLoss(nn.Module):
    """mean of |prediction - target|^order, zero where that difference is no larger than tau.

    Args:
        order: 1 or 2.
        tau: the difference that does not count.
        masked_loss: taken for compatibility; padding never counts.
    """

    def __init__(self, tau: float = 0.0, order: int = 2, masked_loss: bool = False):
        super().__init__()
        if order not in (1, 2):
            raise ConfigError(f"order must be 1 or 2, not {order!r}", "criterion_params")
        self.tau, self.order = tau, order

    def forward(self, scores: Tensor, targets: Tensor, lengths: Tensor | None = None, log_variance: Tensor | None = None) -> Tensor:
        distance = (scores - targets[:, None]).abs()
        return valid_mean((distance > self.tau) * distance**self.order, lengths)


class GaussianNLLLoss(nn.Module):
    """Negative log likelihood of the target under a normal distribution with the predicted variance, without its constant."""

    of_variance, distribution = True, "Gaussian"

    def __init__(self, tau: float = 0.0, masked_loss: bool = False):
        super().__init__()
        self.tau = tau

    def forward(self, scores: Tensor, targets: Tensor, lengths: Tensor | None = None, log_variance: Tensor | None = None) -> Tensor:
        distance = (scores - targets[:, None]).abs()
        log_variance = _present(log_variance, "GaussianNLLLoss")
        return valid_mean((distance > self.tau) * 0.5 * (torch.exp(-log_variance) * distance**2 + log_variance), lengths)


class LaplaceNLLLoss(nn.Module):
    """The same under a Laplace distribution, whose scale is the exponential of the predicted number."""

    of_variance, distribution = True, "Laplace"

    def __init__(self, tau: float = 0.0, masked_loss: bool = False):
        super().__init__()
        self.tau = tau

    def forward(self, scores: Tensor, targets: Tensor, lengths: Tensor | None = None, log_variance: Tensor | None = None) -> Tensor:
        distance = (scores - targets[:, None]).abs()
        log_scale = _present(log_variance, "LaplaceNLLLoss")
        return valid_mean((distance > self.tau) * (distance / (log_scale.exp() + LAPLACE_FLOOR) + log_scale), lengths)


class CategoricalLoss(nn.Module):
    """Cross entropy of the logits (B, T, C) of each frame with the class (B,) of its utterance."""

    of_classes = True

    def __init__(self, masked_loss: bool = False):
        super().__init__()

    def forward(self, scores: Tensor, targets: Tensor, lengths: Tensor | None = None, log_variance: Tensor | None = None) -> Tensor:
        classes = targets.long()[:, None].expand(-1, scores.size(1))
        return valid_mean(F.cross_entropy(scores.transpose(1, 2), classes, reduction="none"), lengths)


class ContrastiveLoss(nn.Module):
    """Differences of utterance scores against those of their targets, over all pairs of a batch, each pair twice and with itself.

    Args:
        margin: the error of a difference that does not count.
    """

    def __init__(self, margin: float = 0.2):
        super().__init__()
        self.margin = margin

    def forward(self, scores: Tensor, targets: Tensor, lengths: Tensor | None = None, log_variance: Tensor | None = None) -> Tensor:
        means = scores if scores.dim() == 1 else _means(scores, lengths)
        error = (means[:, None] - means) - (targets[:, None] - targets)
        return (error.abs() - self.margin).clamp_min(0).mean() / 2


class UtteranceLoss(nn.Module):
    """Mean squared error of the scores of whole utterances."""

    def forward(self, scores: Tensor, targets: Tensor, lengths: Tensor | None = None, log_variance: Tensor | None = None) -> Tensor:
        return (_means(scores, lengths) - targets).square().mean()


class SegmentLoss(nn.Module):
    """Mean squared error of the scores of segments, each utterance counting the same."""

    def forward(self, scores: Tensor, targets: Tensor, lengths: Tensor | None = None, log_variance: Tensor | None = None) -> Tensor:
        return _means((scores - targets[:, None]).square(), lengths).mean()


_LOSSES = (ScalarLoss, GaussianNLLLoss, LaplaceNLLLoss, CategoricalLoss, ContrastiveLoss, UtteranceLoss, SegmentLoss)
CRITERIONS = {loss.__name__: loss for loss in _LOSSES}


class Criterion(nn.Module):
    """The weighted sum of the losses of one list of a config; zero for none.

    Args:
        sections: the list, or None.
        source: its name, for messages.

    Raises:
        ConfigError: unknown losses or fields.
    """

    def __init__(self, sections: Sequence[Mapping[str, Any]] | None, source: str):
        super().__init__()
        self.losses, self.weights = nn.ModuleList(), []
        if sections is not None and not isinstance(sections, list | tuple):
            raise ConfigError(f"must be a list of losses, not {sections!r}", source)
        for number, section in enumerate(sections or ()):
            place = f"{source}[{number}]"
            check_fields(section, keywords_of(_Section), ("criterion_type",), source=place)
            check_name(f"{place}.criterion_type", section["criterion_type"], CRITERIONS)
            check_options(_Section, section, source=place)
            kind, params = CRITERIONS[section["criterion_type"]], section.get("criterion_params") or {}
            check_fields(params, keywords_of(kind), source=f"{place}.criterion_params")
            check_options(kind, params, source=f"{place}.criterion_params")
            self.losses.append(kind(**params))
            self.weights.append(section.get("criterion_weight", 1.0))

    def __bool__(self) -> bool:
        """Whether there is any."""
        return len(self.losses) > 0

    def of_classes(self) -> set[bool]:
        """Whether the losses are of classes or of scores: one of them, both, or nothing."""
        return {getattr(loss, "of_classes", False) for loss in self.losses}

    def of_variance(self) -> bool:
        """Whether a loss trains the predicted variance."""
        return any(getattr(loss, "of_variance", False) for loss in self.losses)

    def distributions(self) -> set[str]:
        """Of which the losses are negative log likelihoods, by the names of :data:`utility.metrics.mos.NLL`."""
        return {loss.distribution for loss in self.losses if hasattr(loss, "distribution")}

    def forward(self, scores: Tensor, targets: Tensor, lengths: Tensor | None = None, log_variance: Tensor | None = None) -> Tensor:
        """(B, T) scores or (B, T, C) logits, (B,) targets -> scalar."""
        losses = [weight * loss(scores, targets, lengths, log_variance) for loss, weight in zip(self.losses, self.weights, strict=True)]
        return torch.stack(losses).sum() if losses else scores.new_zeros(())


def class_of(scores: Tensor, step: float) -> Tensor:
    """The class of each score on a scale that begins at 1: (x - 1) // step, in double precision."""
    return ((scores.double() - 1) // step).long()


def valid_mean(values: Tensor, lengths: Tensor | None) -> Tensor:
    """The mean of (B, T) over the first ``lengths`` of each row."""
    if lengths is None:
        return values.mean()
    mask = torch.arange(values.size(1), device=values.device) < lengths[:, None]
    return (values * mask).sum() / mask.sum()


def _means(scores: Tensor, lengths: Tensor | None) -> Tensor:
    if lengths is None:
        return scores.mean(1)
    mask = torch.arange(scores.size(1), device=scores.device) < lengths[:, None]
    return (scores * mask).sum(1) / lengths


def _present(log_variance: Tensor | None, loss: str) -> Tensor:
    if log_variance is None:
        raise ConfigError(f"{loss} needs a predictor with an uncertainty: model_type SSLMOS_U or AlignNet_U", "mean_score_criterions")
    return log_variance
