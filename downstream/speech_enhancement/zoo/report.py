"""What ``stm32ai_main.log`` says of a stage that is done."""

from __future__ import annotations

import json
from pathlib import Path

_PREFIX = {"evaluate": "Float ", "evaluate_torch": "Float ", "evaluate_quantized": "Quantized "}


def lines_of(folder: Path, name: str) -> list[str]:
    """The scores of the newest result of this name, one a line: ``Float pesq : 2.48``.

    Args:
        folder: of the experiment.
        name: ``train`` or an operation.
    """
    if name == "train":
        return ["training finished"]
    results = sorted((folder / "results").glob(f"*/{name}.json"), key=lambda path: path.stat().st_mtime)
    if not results:
        return [f"{name} finished"]
    scores = json.loads(results[-1].read_text(encoding="utf-8"))["scores"]
    return [f"{_PREFIX.get(name, f'{name} ')}{score} : {found['value']}" for score, found in scores.items()] or [f"{name} finished"]
