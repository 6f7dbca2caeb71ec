"""Small archives, and the scripts of the recipes as a user calls them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

EGS = Path(__file__).resolve().parents[3] / "downstream" / "mos_prediction" / "egs"


def zipped(members: dict[str, bytes], stored: bool = False) -> bytes:
    """A zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def script(recipe: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Calls a script inside a recipe's folder."""
    environment = {**os.environ, "PYTHON": sys.executable}
    line = [str(word) for word in words]
    return subprocess.run(line, cwd=EGS / recipe, env=environment, capture_output=True, text=True, check=False)
