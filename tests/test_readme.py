"""The first command of the README, as it stands there but for what it installs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

INSTALLS = "python3 -m venv .venv && .venv/bin/python -m pip install -q -r requirements.txt && "


@pytest.fixture
def checkout(repo: Path, tmp_path: Path) -> Path:
    """The tracked files, with an environment that is this test's."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=repo, capture_output=True, text=True, check=True).stdout.split("\0")[:-1]
    for name in files:
        if (repo / name).is_file() and not name.startswith("tests/"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(repo / name, tmp_path / name)
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return tmp_path


@pytest.mark.slow
def test_the_first_command_trains_and_says_the_result(checkout):
    text = (checkout / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"<!-- command: train -->\n```bash\n(.+)\n```", text)
    assert command.startswith(INSTALLS)
    done = subprocess.run(["bash", "-c", command.removeprefix(INSTALLS)], cwd=checkout, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    scores = r"acc ([\d.e-]+), loss [\d.e-]+"
    result = rf"\[Runner\] - training is complete at step 400 in (\S+) \| dev: {scores}; test: {scores}"
    folder, dev, test = re.fullmatch(result, line).groups()
    assert folder in text  # where the README says that it lies
    assert (checkout / folder / "dev-best.ckpt").is_file()
    assert min(float(dev), float(test)) > 0.95
    assert all(f"{split} acc=" in done.stderr for split in ("dev", "test"))  # beside the progress bar
