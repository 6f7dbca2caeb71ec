"""Stacks of convolutions as fairseq writes them down, ``[(512,10,5)] + [(512,3,2)] * 4``, read without running the expression."""

from __future__ import annotations

import ast
from typing import Any

from utility.errors import CheckpointError

_MOST_LAYERS = 1000
_LONGEST = 20000


def conv_layers(value: Any, what: str, size: int = 3) -> list[tuple[int, ...]]:
    """The layers of a stack.

    Args:
        value: the expression: lists of tuples of positive whole numbers, joined by ``+`` and repeated by ``*``; or such a list itself.
        what: the file and the field, for the error.
        size: the numbers of a layer; 3 for (channels, kernel, stride).

    Returns:
        at least one tuple of ``size`` positive numbers.

    Raises:
        CheckpointError: it is something else.
    """
    try:
        layers = _value(_parsed(value)) if isinstance(value, str) else value
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise CheckpointError(f"{what} {str(value)[:80]!r} is no list of layers ({error or type(error).__name__})") from error
    if not isinstance(layers, (list, tuple)) or not layers:
        raise CheckpointError(f"{what} {str(value)[:80]!r} is no list of layers")
    for layer in layers:
        if not _is_layer(layer, size):
            raise CheckpointError(f"{what} has the layer {str(layer)[:80]}; {size} positive whole numbers are expected")
    return [tuple(layer) for layer in layers]


def least_samples(layers: list[tuple[int, ...]], kernel: int = 1, stride: int = 2) -> int:
    """The fewest samples that give one frame, without padding.

    Args:
        layers: tuples with the kernel and the stride at these places.
    """
    samples = 1
    for layer in reversed(layers):
        samples = (samples - 1) * layer[stride] + layer[kernel]
    return samples


def frames_of(samples: int, layers: list[tuple[int, ...]], kernel: int = 1, stride: int = 2) -> int:
    """The frames that so many samples give, without padding."""
    for layer in layers:
        samples = (samples - layer[kernel]) // layer[stride] + 1
    return samples


def _is_layer(layer: Any, size: int) -> bool:
    return isinstance(layer, (list, tuple)) and len(layer) == size and all(type(number) is int and number > 0 for number in layer)


def _parsed(text: str) -> ast.expr:
    if len(text) > _LONGEST:
        raise ValueError(f"{len(text)} characters")
    return ast.parse(text.strip(), mode="eval").body


def _value(node: ast.expr) -> Any:
    """A list, a tuple or a whole number; sums of lists and repetitions."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.List):
        return [_value(member) for member in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(member) for member in node.elts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _short(_list(node.left) + _list(node.right))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        layers, times = (node.left, node.right) if isinstance(node.right, ast.Constant) else (node.right, node.left)
        return _repeated(_list(layers), _value(times))
    raise ValueError(f"{type(node).__name__} is not allowed")


def _list(node: ast.expr) -> list[Any]:
    value = _value(node)
    if not isinstance(value, list):
        raise ValueError("only lists are joined and repeated")
    return value


def _repeated(layers: list[Any], times: Any) -> list[Any]:
    if type(times) is not int or times > _MOST_LAYERS:
        raise ValueError("a repetition by something else than a small whole number")
    return _short(layers * times)


def _short(layers: list[Any]) -> list[Any]:
    if len(layers) > _MOST_LAYERS:
        raise ValueError(f"more than {_MOST_LAYERS} layers")
    return layers
