"""What every upstream gives: the dict contract, the base class with hooks on inner modules, and the adapter for older upstreams.

An upstream is any ``nn.Module`` that maps a list of unpadded 1-D waveforms to a dict with ``hidden_states``, a list or tuple of padded
(B, T, D) tensors from input to output, and that answers ``get_downsample_rates(key) -> int``, the samples per frame. Optional: the key
``lengths``, (B,) frame counts, and the attributes
``batch_independent``, True where an utterance's states do not depend on its batch, and ``stateless``, True where they are a function of the
waveforms alone, without random numbers or traces, so that loader workers may compute them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from upstream.featurizer import Featurizer
from upstream.record import UpstreamRecord
from utility.errors import ToolkitError

__all__ = ["Featurizer", "Hook", "ListUpstream", "UpstreamBase", "UpstreamRecord", "adapt"]

SAMPLE_RATE = 16000
STATE_KEYS = ("_hidden_states_info", "hidden_states", "last_hidden_state")
Transform = Callable[[tuple, Any], Tensor]
_STEP = re.compile(r"\.?([A-Za-z_]\w*)|\[(-?\d+)\]|\[['\"]([^'\"]+)['\"]\]|\.(\d+)")


def resolve(root: nn.Module, path: str) -> Any:
    """Follows an attribute path with indexes, such as ``self.model.encoder.layers[0]`` or ``model.encoder.layers.0``.

    Raises:
        AttributeError, IndexError, KeyError: a step leads nowhere.
        ValueError: the path is not of this form.
    """
    rest, found = path.removeprefix("self"), root
    while rest:
        step = _STEP.match(rest)
        if step is None:
            raise ValueError(f"{path!r} is not a path of attributes and indexes")
        name, index, key, number = step.groups()
        found = getattr(found, name) if name else found[key] if key else found[int(index or number)]
        rest = rest[step.end() :]
    return found


class _Recorder:
    """Collects what hooks yield while the upstream's own call runs; silent otherwise (recomputation in a backward pass, for one)."""

    def __init__(self):
        self.active = False
        self.states: list[tuple[str, Tensor]] = []

    def __enter__(self) -> _Recorder:
        self.active, self.states = True, []
        return self

    def __exit__(self, *_: object) -> None:
        self.active = False

    def take(self) -> list[tuple[str, Tensor]]:
        """The states so far in firing order; they are held no longer."""
        states, self.states = self.states, []
        return states


class Hook:
    """Where to listen and what to keep.

    Args:
        module_path: an attribute path from the upstream, such as ``self.model.encoder.layers[0]``.
        transform: ``(inputs, output) -> tensor``; inputs is the tuple of what the module was called with.
        unique_identifier: the state's name; the path by default.
    """

    def __init__(self, module_path: str, transform: Transform, unique_identifier: str | None = None):
        self.module_path = module_path
        self.transform = transform
        self.unique_identifier = unique_identifier or module_path
        self.recorder: _Recorder | None = None
        self.handle: Any = None

    def __call__(self, module: nn.Module, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        """Called by PyTorch after the module; keyword inputs follow the positional ones."""
        if self.recorder is not None and self.recorder.active:
            self.recorder.states.append((self.unique_identifier, self.transform((*args, *kwargs.values()), output)))

    def attach(self, root: nn.Module, recorder: _Recorder) -> None:
        """Registers on the module; warns and stays detached if the path leads to none."""
        try:
            module = resolve(root, self.module_path)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            module = error
        if not isinstance(module, nn.Module):
            warnings.warn(f"hook {self.module_path!r} of {type(root).__name__} leads to no module and is skipped", stacklevel=3)
            return
        self.recorder = recorder
        self.handle = module.register_forward_hook(self, with_kwargs=True)

    def remove(self) -> None:
        """Stops listening."""
        if self.handle is not None:
            self.handle.remove()


class UpstreamBase(nn.Module):
    """Base of upstreams whose hidden states are what inner modules yield.

    Hooks are attached at the first call, so that a subclass may create the modules that they name after ``super().__init__``. With
    hooks, a call's dict gains ``hidden_states`` (tuple, firing order), ``last_hidden_state``, ``hidden_state_0`` ... and
    ``_hidden_states_info`` (the identifiers). Without any, the dict is what ``forward`` returned.

    Args:
        hooks: argument tuples of :class:`Hook`.
        hook_postprocess: maps the list of (identifier, tensor) before it becomes the states.

    Attributes:
        hooks: the hooks there are; a subclass adds its default ones where this is empty.
    """

    batch_independent = False
    stateless = False

    def __init__(
        self,
        hooks: Sequence[tuple] | None = None,
        hook_postprocess: Callable[[list[tuple[str, Tensor]]], list[tuple[str, Tensor]]] | None = None,
        **kwargs: Any,
    ):
        super().__init__()
        self.hook_postprocess = hook_postprocess
        self._recorder = _Recorder()
        self.hooks: list[Hook] = [Hook(*arguments) for arguments in hooks or ()]
        self._pending: list[Hook] = list(self.hooks)

    def add_hook(self, module_path: str, transform: Transform, unique_identifier: str | None = None) -> None:
        """Adds a hook; see :class:`Hook`."""
        hook = Hook(module_path, transform, unique_identifier)
        self.hooks.append(hook)
        self._pending.append(hook)

    def remove_hook(self, unique_identifier: str) -> None:
        """Removes the hooks of this identifier."""
        for hook in [h for h in self.hooks if h.unique_identifier == unique_identifier]:
            self._drop(hook)

    def remove_all_hooks(self) -> None:
        """Removes every hook."""
        for hook in list(self.hooks):
            self._drop(hook)

    def _drop(self, hook: Hook) -> None:
        hook.remove()
        self.hooks.remove(hook)
        self._pending = [h for h in self._pending if h is not hook]

    def __call__(self, wavs: list[Tensor], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Runs ``forward`` and adds the states that hooks collected.

        Raises:
            TypeError: ``forward`` returned no dict.
            ValueError: hooks fired and ``forward`` gave states of its own.
        """
        for hook in self._pending:
            hook.attach(self, self._recorder)
        self._pending = []
        with self._recorder as recorder:
            result = super().__call__(wavs, *args, **kwargs)
        result = {} if result is None else result
        if not isinstance(result, dict):
            raise TypeError(f"{type(self).__name__}.forward returned {type(result).__name__}; a dict is expected")
        return self._with_states(result, recorder.take())

    def _with_states(self, result: dict[str, Any], states: list[tuple[str, Tensor]]) -> dict[str, Any]:
        if not states:
            return result
        clash = [key for key in STATE_KEYS if key in result]
        if clash:
            raise ValueError(f"{type(self).__name__}.forward returned {clash[0]!r}, which its hooks give as well")
        if callable(self.hook_postprocess):
            states = self.hook_postprocess(states)
        names, tensors = tuple(n for n, _ in states), tuple(t for _, t in states)
        numbered = {f"hidden_state_{i}": t for i, t in enumerate(tensors)}
        return {**result, "_hidden_states_info": names, "hidden_states": tensors, "last_hidden_state": tensors[-1], **numbered}


class ListUpstream(nn.Module):
    """Gives the dict contract to an upstream of the older form.

    The older form returns a list of unpadded (T_i, D) features and has ``get_output_dim()`` and perhaps ``get_downsample_rate()``;
    without the latter the rate is whichever of 160 and 320 is nearer to what one second of noise shows.
    """

    def __init__(self, upstream: nn.Module):
        super().__init__()
        self.upstream = upstream
        self._rate = int(upstream.get_downsample_rate()) if hasattr(upstream, "get_downsample_rate") else 0

    def get_downsample_rates(self, key: str = "hidden_states") -> int:
        """Samples per frame."""
        if not self._rate:
            self._rate = self._measured_rate()
        return self._rate

    def get_output_dim(self) -> int:
        """Width of the features."""
        return int(self.upstream.get_output_dim())

    def _measured_rate(self) -> int:
        from upstream.featurizer import probe

        frames = probe(self, next((p.device for p in self.parameters()), "cpu"))["last_hidden_state"].size(1)
        return min((160, 320), key=lambda rate: abs(SAMPLE_RATE / frames - rate))

    def forward(self, wavs: list[Tensor]) -> dict[str, Any]:
        """Pads the list; adds ``lengths``, (B,)."""
        features = list(self.upstream(wavs))
        padded = nn.utils.rnn.pad_sequence(features, batch_first=True)
        lengths = torch.tensor([len(f) for f in features], device=padded.device)
        return {"hidden_states": [padded], "last_hidden_state": padded, "lengths": lengths}


def adapt(upstream: Any, name: str) -> nn.Module:
    """The upstream itself, or an adapter around one of the older form; ``name`` becomes its attribute unless it has one.

    Raises:
        ToolkitError: it is no ``nn.Module`` or tells neither its frame rate nor its width.
    """
    if not isinstance(upstream, nn.Module):
        raise ToolkitError(f"upstream {name!r} is no torch.nn.Module but {type(upstream).__name__}")
    if not hasattr(upstream, "get_downsample_rates"):
        if not hasattr(upstream, "get_output_dim"):
            raise ToolkitError(f"upstream {name!r} has neither get_downsample_rates(key) nor, in the older form, get_output_dim()")
        upstream = ListUpstream(upstream)
    if not hasattr(upstream, "name"):
        upstream.name = name
    return upstream
