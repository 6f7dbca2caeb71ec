"""Values that people type: Python literals and simple sums, read without evaluating anything."""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable
from typing import Any

_WORDS = {"true": True, "false": False, "null": None}
_MOST_BITS = 4096  # 9**9**9 would take forever, and be of no use

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}


def parse_literal(text: str) -> Any:
    """The value that ``text`` spells; text that spells none is itself.

    Numbers and sums of them (``16000*5``, ``-3``, ``2**10``), quoted strings, lists, tuples (as lists, which is what yaml makes of them),
    dicts, ``True``, ``False``, ``None``; ``true``, ``false`` and ``null`` in any case. A word inside a list is a string: ``[dev, test]``. A
    quoted string that spells a list is that list: ``"['dev', 'test']"``.
    """
    text = text.strip()
    try:
        value = _parse(text)
        if isinstance(value, str) and value.strip().startswith("["):
            return _list_or(value)
    except (SyntaxError, ValueError, ArithmeticError, TypeError, MemoryError, RecursionError):
        return text if not _quoted(text) else text[1:-1]
    return value


def _parse(text: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's remarks on odd code, which this is not
        return _fold(ast.parse(text, mode="eval").body)


def _list_or(text: str) -> Any:
    inner = parse_literal(text)
    return inner if isinstance(inner, list) else text


def _quoted(text: str) -> bool:
    """Quoted as a whole, yet no literal inside: the quotes were the shell's."""
    return len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" and text[0] not in text[1:-1]


def _fold(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str, type(None))):
        return _bounded(node.value)
    if isinstance(node, ast.Name):
        return _WORDS.get(node.id.lower(), node.id)
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_fold(member) for member in node.elts]
    if isinstance(node, ast.Dict):
        return {_key(key): _fold(value) for key, value in zip(node.keys, node.values, strict=True)}
    if isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
        return _bounded(_UNARY[type(node.op)](_number(node.operand)))
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        left, right = _number(node.left), _number(node.right)
        if isinstance(node.op, ast.Pow) and isinstance(left, int) and abs(right) * left.bit_length() > _MOST_BITS:
            raise OverflowError("too large")
        return _bounded(_BINARY[type(node.op)](left, right))
    raise ValueError("not a literal")


def _key(node: ast.expr | None) -> Any:
    if node is None:  # the ** of {**other}
        raise ValueError("not a literal")
    key = _fold(node)
    hash(key)
    return key


def _number(node: ast.expr) -> int | float:
    value = _fold(node)
    if type(value) not in (int, float):
        raise TypeError("not a number")
    return value


def _bounded(value: Any) -> Any:
    if isinstance(value, complex) or (isinstance(value, int) and value.bit_length() > _MOST_BITS):
        raise OverflowError("not a number of reasonable size")
    return value
