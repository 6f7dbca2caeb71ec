"""Options as Kaldi's scripts take them: ``--some_name VALUE``; an empty value is the default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from utility.errors import UnknownNameError, UsageError


def parse(arguments: Sequence[str], defaults: Mapping[str, str], help_text: str = "") -> dict[str, str]:
    """Options by name.

    A value that is empty, or missing because the next word is an option, is the default: scripts write ``--checkpoint ${checkpoint}``.

    Args:
        arguments: of the command line; dashes within a name are underscores.
        defaults: all options.
        help_text: printed above the options by ``--help``.

    Raises:
        UsageError: an unknown option, or a word that is none.
        SystemExit: after ``--help``.
    """
    given, words = dict(defaults), list(arguments)
    while words:
        word = words.pop(0)
        if word in ("-h", "--help"):
            print(help_text, *(f"  --{name} {value or '...'}" for name, value in defaults.items()), sep="\n")
            raise SystemExit(0)
        if not word:
            continue
        if not word.startswith("--") or "=" in word:
            raise UsageError(f"{word!r} is no option: write --name VALUE")
        name = word.removeprefix("--").replace("-", "_")
        if name not in defaults:
            raise UnknownNameError("option", word, [f"--{known}" for known in defaults])
        value = words.pop(0) if words and not words[0].startswith("--") else ""
        given[name] = value or defaults[name]
    return given


def whole(options: Mapping[str, str], name: str) -> int:
    """An option as a whole number.

    Raises:
        UsageError: it is none.
    """
    try:
        return int(options[name])
    except ValueError:
        raise UsageError(f"--{name} must be a whole number, not {options[name]!r}") from None


def real(options: Mapping[str, str], name: str) -> float:
    """An option as a number.

    Raises:
        UsageError: it is none.
    """
    try:
        return float(options[name])
    except ValueError:
        raise UsageError(f"--{name} must be a number, not {options[name]!r}") from None


def true(options: Mapping[str, str], name: str) -> bool:
    """An option that is ``True`` or ``False``, in any case.

    Raises:
        UsageError: it is neither.
    """
    if (text := options[name].lower()) not in ("true", "false"):
        raise UsageError(f"--{name} must be True or False, not {options[name]!r}")
    return text == "true"


def stages(options: Mapping[str, str]) -> range:
    """The stages from ``--stage`` to ``--stop_stage``."""
    return range(whole(options, "stage"), whole(options, "stop_stage") + 1)
