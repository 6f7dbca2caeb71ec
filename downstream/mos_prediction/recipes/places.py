"""Where a run keeps what: names as SHEET has them (specs/mos-prediction.md, 12)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from utility.errors import DataError, UnknownNameError

from ..preparation.recipe import FILE, Recipe, read_recipe
from .commands import config_path

EGS = Path(__file__).resolve().parents[1] / "egs"
BEST = "checkpoint-best.pkl"
MODES = ("naive_knn", "domain_id_knn_1", "fusion")


@dataclass(frozen=True)
class Run:
    """A training and the checkpoint of it that is used.

    Args:
        folder: of the training.
        checkpoint: the file.
    """

    folder: Path
    checkpoint: Path

    @property
    def datastore(self) -> Path:
        """Where stage 3 keeps the datastore of the checkpoint."""
        return self.folder / "datastore" / self.checkpoint.stem / "datastore.h5"

    def results(self, test_set: str, mode: str = "", kind: str = "") -> Path:
        """Where the results on a test set go.

        Args:
            mode: of inference by neighbours, or "".
            kind: another name than the checkpoint's, such as ``model-averaging``.
        """
        if mode:
            return self.folder / "results" / f"np_{self.checkpoint.stem}" / mode / test_set
        return self.folder / "results" / (kind or self.checkpoint.stem) / test_set

    def trained(self) -> Run:
        """Itself, if the checkpoint is there.

        Raises:
            DataError: it is not.
        """
        if not self.checkpoint.exists():
            raise DataError(f"there is no checkpoint {self.checkpoint}; stage 2 of run.sh trains one, --checkpoint names another")
        return self


def run_of(options: Mapping[str, str], conf: str) -> Run:
    """The run that options mean: that of ``--checkpoint``, else that of config file, tag and seed."""
    if options["checkpoint"]:
        checkpoint = Path(options["checkpoint"])
        return Run(checkpoint.parent, checkpoint)
    stem = options["tag"] or config_path(options["conf"] or conf).stem
    folder = Path(options["exp_root"]) / f"{stem}-{options['seed']}"
    return Run(folder, folder / BEST)


def current_recipe() -> Recipe:
    """The recipe in the working directory.

    Raises:
        DataError: there is none.
    """
    if not Path(FILE).is_file():
        raise DataError(f"the working directory {Path.cwd()} is no recipe: run this inside a folder of egs that has a {FILE}")
    return read_recipe(Path.cwd())


def sibling(name: str) -> Recipe:
    """The recipe of a data set, beside that in the working directory if it is there.

    Args:
        name: of the folder; underscores may stand for its hyphens.

    Raises:
        UnknownNameError: there is none.
    """
    known = {path.parent.name: path.parent for base in (EGS, Path("..")) for path in sorted(base.glob(f"*/{FILE}"))}
    alias = {folder.replace("-", "_"): folder for folder in known}
    folder = known.get(name) or known.get(alias.get(name, ""))
    if folder is None:
        raise UnknownNameError("data set", name, known)
    return read_recipe(folder)


def check_mode(mode: str) -> str:
    """A mode of inference by neighbours.

    Raises:
        UnknownNameError: there is no such mode.
    """
    if mode not in MODES:
        raise UnknownNameError("--np_inference_mode", mode, MODES)
    return mode
