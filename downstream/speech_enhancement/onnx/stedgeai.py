"""ST Edge AI Core, a program of ST that is not part of this toolkit: footprints of a file on a microcontroller."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utility.errors import ConfigError, DataError, ToolkitError, UnknownNameError

log = logging.getLogger(__name__)

OPTIMIZATIONS = ("balanced", "time", "ram")
_REPORTS = ("network_report.json", "network_c_info.json")
_PATHS = {  # figures, and where versions of the tool have put them
    "activations": (("memory_footprint", "activations"), ("ram_size",)),
    "weights": (("memory_footprint", "weights"), ("rom_size",)),
    "macs": (("macc",), ("rom_n_macc",)),
}
_UNITS = {"activations": (1024, "KiB"), "weights": (1024, "KiB"), "macs": (1e6, "million")}
_SECONDS = 2500  # that ST's own scripts wait

Figures = dict[str, tuple[float, str]]


def footprints(model: Path, board: str, tool: Mapping[str, Any], folder: Path) -> Figures | None:
    """RAM, flash and multiplications as ST's tool says; None where it is not installed and its path is not given.

    Args:
        model: an ONNX file.
        board: whose family is the target, ``STM32N6570-DK`` and the like.
        tool: ``path_to_stedgeai``, ``optimization``; ``on_cloud`` is refused.
        folder: for the files that it writes.

    Returns:
        ``activations`` and ``weights`` in KiB, ``macs`` in millions, each with its unit.

    Raises:
        ConfigError, UnknownNameError: fields of the section that cannot be honoured.
        ToolkitError: the tool failed.
        DataError: it wrote no report that is understood.
    """
    program = _program(tool)
    if program is None:
        return None
    optimization = tool.get("optimization") or "balanced"
    if optimization not in OPTIMIZATIONS:
        raise UnknownNameError("stedgeai.optimization", str(optimization), OPTIMIZATIONS)
    folder.mkdir(parents=True, exist_ok=True)
    target = "stm32n6" if "N6" in board.upper() else "stm32"
    words = ["generate", "--target", target, "-m", model, "--output", folder, "--workspace", folder, "--optimization", optimization]
    _call([program, *map(str, words)])
    return read_report(folder)


def _program(tool: Mapping[str, Any]) -> str | None:
    if tool.get("on_cloud"):
        raise ConfigError("on_cloud needs an account of ST's developer cloud, which is not used here; set it to False", "tools.stedgeai")
    given = tool.get("path_to_stedgeai")
    if given and Path(given).is_file():
        return str(Path(given).resolve())
    if given:
        log.warning("tools.stedgeai.path_to_stedgeai: there is no program %s", given)
    return shutil.which("stedgeai")


def _call(words: list[str]) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolkitError(f"{words[0]} could not be run: {error}") from error
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
        raise ToolkitError(f"{words[0]} ended with status {done.returncode}: {last}")


def read_report(folder: Path) -> Figures:
    """The figures of the reports in a folder; what they do not tell is left out.

    Raises:
        DataError: there is no report, or it tells none of the figures.
    """
    found: Figures = {}
    for path in (folder / name for name in _REPORTS if (folder / name).is_file()):
        content = _content(path)
        for figure, places in _PATHS.items():
            for value in (_at(content, place) for place in places):
                if value is not None:
                    found.setdefault(figure, (value / _UNITS[figure][0], _UNITS[figure][1]))
    for path in sorted(folder.glob("*_report.txt")):
        if line := re.search(r"^macc\s*:\s*([\d,]+)", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE):
            found.setdefault("macs", (int(line.group(1).replace(",", "")) / 1e6, "million"))
    if not found:
        raise DataError(f"stedgeai left no {_REPORTS[0]} with footprints in {folder}")
    return found


def _content(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise DataError(f"{path} is no report of stedgeai: {error}") from error


def _at(content: Any, place: tuple[str, ...]) -> float | None:
    """The number at a path of keys."""
    for key in place:
        content = content.get(key) if isinstance(content, Mapping) else None
    return float(content) if isinstance(content, (int, float)) and not isinstance(content, bool) else None
