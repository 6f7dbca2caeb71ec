"""What keeps weights and activations small, so that eight bits are enough for them (spec: speech-enhancement.md A6.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from utility.errors import ConfigError, UnknownNameError
from utility.training.fields import NotNegative, check_fields, check_lists, check_options, keywords_of

PENALTIES = {"l1": 1, "l2": 2}


@dataclass(frozen=True)
class Regularisation:
    """The section ``training.regularization``.

    Args:
        weight_clipping_max: every parameter is kept within plus and minus this.
        activation_regularization: weight of the norms of activations in the loss.
        act_reg_layer_types: names of the classes whose outputs count; None: all layers without layers of their own.
        act_reg_threshold: smaller activations do not count; others count whole.
        penalty_type: ``l1`` or ``l2``, the norm of a layer's output in a batch as one vector.
    """

    weight_clipping_max: NotNegative | None = None
    activation_regularization: NotNegative | None = None
    act_reg_layer_types: list | None = None
    act_reg_threshold: NotNegative | None = None
    penalty_type: str = "l2"

    @classmethod
    def of(cls, section: Mapping[str, Any] | None, source: str) -> Regularisation:
        """From the config; fields that are null have no effect.

        Raises:
            ConfigError, UnknownNameError: impossible fields.
        """
        given = {name: value for name, value in (section or {}).items() if value is not None}
        check_fields(given, keywords_of(cls), source=source)
        check_lists(given, ["act_reg_layer_types"], source=source)
        check_options(cls, given, source=source)
        made = cls(**given)
        if made.penalty_type not in PENALTIES:
            raise UnknownNameError(f"{source}.penalty_type", str(made.penalty_type), PENALTIES)
        if made.weight_clipping_max == 0:
            raise ConfigError("weight_clipping_max must be above 0", source)
        return made

    @torch.no_grad()
    def clip(self, model: nn.Module) -> None:
        """Brings all parameters back into the range, after an update."""
        if self.weight_clipping_max is not None:
            for parameter in model.parameters():
                parameter.clamp_(-self.weight_clipping_max, self.weight_clipping_max)


class ActivationPenalty:
    """The weighted sum of the norms of what layers put out in training; 0 where nothing of the kind is asked for.

    Args:
        model: the network; its layers are watched from now on.
        options: what is wanted.

    Raises:
        UnknownNameError: it has no layer of a named type.
    """

    def __init__(self, model: nn.Module, options: Regularisation):
        self.options, self._norms = options, []
        if not options.activation_regularization:
            return
        layers = [module for module in model.modules() if module is not model]
        types = options.act_reg_layer_types or sorted({type(layer).__name__ for layer in layers if not list(layer.children())})
        for name in types:
            if name not in {type(layer).__name__ for layer in layers}:
                raise UnknownNameError("type of layer in act_reg_layer_types", name, {type(layer).__name__ for layer in layers})
        for layer in layers:
            if type(layer).__name__ in types:
                layer.register_forward_hook(self._watch)

    def _watch(self, layer: nn.Module, _: Any, output: Any) -> None:
        if not layer.training:
            return
        activations = output[0] if isinstance(output, tuple) else output
        if self.options.act_reg_threshold is not None:
            activations = activations * (activations.abs() >= self.options.act_reg_threshold)
        self._norms.append(torch.linalg.vector_norm(activations.float(), PENALTIES[self.options.penalty_type]))

    def taken(self, device: torch.device) -> Tensor:
        """The penalty since the last call, scalar."""
        norms, self._norms = self._norms, []
        if not norms:
            return torch.zeros((), device=device)
        return self.options.activation_regularization * torch.stack(norms).sum()
