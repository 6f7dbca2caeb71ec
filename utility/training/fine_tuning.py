"""What an ``optimizer`` section says of an upstream that is trained along: a learning rate of its own, and layers that stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from utility.errors import ConfigError, nearest
from utility.training.fields import plain

FIELDS = ("upstream_lr", "upstream_freeze")
_SHOWN = 5


@dataclass(frozen=True)
class FineTuning:
    """The fields of an ``optimizer`` section that concern the upstream alone.

    Args:
        lr: its learning rate; None: that of everything else.
        freeze: patterns of parameter names, such as ``net.model.feature_extractor.*``, that are not trained.
    """

    lr: float | None = None
    freeze: tuple[str, ...] = ()

    @classmethod
    def of(cls, optimizer: Mapping[str, Any]) -> FineTuning:
        """From the section.

        Raises:
            ConfigError: the rate is no positive number, or the patterns are no texts.
        """
        lr, freeze = (plain(optimizer.get(name)) for name in FIELDS)
        faults = []
        if lr is not None and (isinstance(lr, bool) or not isinstance(lr, int | float) or not 0 < lr < float("inf")):
            faults.append(f"upstream_lr must be a positive number, not {lr!r}")
        freeze = [freeze] if isinstance(freeze, str) else freeze or []
        if not isinstance(freeze, Sequence) or not all(isinstance(pattern, str) and pattern for pattern in freeze):
            faults.append(f"upstream_freeze must be a pattern of parameter names or a list of them, not {optimizer['upstream_freeze']!r}")
        if faults:
            raise ConfigError(faults, "optimizer")
        return cls(lr, tuple(freeze))

    def check_use(self, trained: bool) -> None:
        """Refuses the fields where the upstream is not trained.

        Raises:
            ConfigError: they would be without effect.
        """
        if self.given and not trained:
            raise ConfigError(
                f"{' and '.join(self.given)} need{'s' * (len(self.given) == 1)} an upstream that is trained along (-f)", "optimizer"
            )

    @property
    def given(self) -> list[str]:
        """The fields that say something."""
        return [name for name, value in zip(FIELDS, (self.lr, self.freeze), strict=True) if value]

    def hold(self, upstream: nn.Module) -> None:
        """Takes what the patterns name out of the training: no gradient is computed for it.

        Dropout and running statistics among the frozen layers work on as in the layers that are trained.

        Raises:
            ConfigError: a pattern names nothing, nothing is left, or there was nothing to train.
        """
        if self.given and not any(parameter.requires_grad for parameter in upstream.parameters()):
            raise ConfigError(f"{' and '.join(self.given)} has no effect: the upstream has nothing to train", "optimizer")
        frozen = self.frozen(upstream)
        for name, parameter in upstream.named_parameters():
            if name in frozen:
                parameter.requires_grad_(False)
        if frozen and not any(parameter.requires_grad for parameter in upstream.parameters()):
            raise ConfigError("upstream_freeze leaves nothing of the upstream to train; without -f it stays as it is", "optimizer")

    def frozen(self, upstream: nn.Module) -> set[str]:
        """The names of the parameters that the patterns name.

        Raises:
            ConfigError: a pattern names nothing.
        """
        names = [name for name, _ in upstream.named_parameters()]
        found = {pattern: {name for name in names if fnmatchcase(name, pattern)} for pattern in self.freeze}
        if missing := [pattern for pattern, matching in found.items() if not matching]:
            raise ConfigError([f"upstream_freeze: the upstream has no parameter {p!r}; {_hint(p, names)}" for p in missing], "optimizer")
        return set().union(*found.values())


def _hint(pattern: str, names: Sequence[str]) -> str:
    """The nearest name or beginning of names; else some names."""
    beginnings = {".".join(name.split(".")[:depth]) + ".*" for name in names for depth in range(1, name.count(".") + 1)}
    guess = nearest(pattern, [*names, *sorted(beginnings)])
    return f"did you mean {guess!r}?" if guess else f"there are {', '.join(names[:_SHOWN])} ..."
