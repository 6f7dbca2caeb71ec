"""Stage 1: the predictors that SHEET's authors published."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from utility.experiment.download import download

from ..preparation.recipe import Recipe
from .commands import ENTRY, StageError

HUB = "https://huggingface.co/unilight/sheet-models/resolve/main"
IMPORT = ENTRY.parent / "utility" / "import_checkpoint.py"
ORIGINAL = "original"


def fetch_published(recipe: Recipe, exp_root: Path, hub: str = HUB) -> list[Path]:
    """Downloads the predictors of a recipe and makes checkpoints of this toolkit of them.

    Each lies in ``exp/pt_<config>-<seed>`` under its own name, with ``checkpoint-best.pkl`` as a link to it, and the guide's name of the
    folder, with an underscore before the seed, is a link too. What was downloaded stays in ``original`` there.

    Raises:
        DataError: it cannot be downloaded. StageError: it is no checkpoint of SHEET.
    """
    if not recipe.pretrained:
        print(f"{recipe.name}: no predictor is published in SHEET's form")
    made = []
    for name, own in recipe.pretrained.items():
        for seed, steps in own["steps"].items():
            folder = exp_root / f"pt_{own['conf']}-{seed}"
            made.append(_fetch(f"{hub}/{name}/{seed}", f"checkpoint-{steps}steps", folder, bool(own.get("datastore"))))
            _link(exp_root / f"pt_{own['conf']}_{seed}", folder.name)
            print(made[-1])
    return made


def _fetch(url: str, stem: str, folder: Path, datastore: bool) -> Path:
    original, target = folder / ORIGINAL, folder / f"{stem}.pkl"
    files = [download(f"{url}/{name}", original / name) for name in ("config.yml", f"{stem}.pkl")]
    if datastore:
        download(f"{url}/datastore/{stem}/datastore.h5", folder / "datastore" / stem / "datastore.h5")
    if not target.exists():
        line = [sys.executable, str(IMPORT), "-d", "mos_prediction", str(files[1]), "--output", str(target)]
        if subprocess.run(line, check=False).returncode:
            raise StageError(f"{files[1]} could not be taken over")
    _link(folder / "checkpoint-best.pkl", target.name)
    return target


def _link(path: Path, target: str) -> None:
    if not path.exists() and not path.is_symlink():
        path.symlink_to(target)
