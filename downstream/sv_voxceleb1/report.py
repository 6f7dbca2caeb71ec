"""Which checkpoint of an experiment is the best: by S3PRL's rule, and by a sane one; report.sh calls it.

    report.sh EXPDIR

SUPERB's number is the lowest EER that any saved checkpoint has on the test trials, which flatters it. The other number is the test EER
of the checkpoint with the lowest EER on the trials of dev. ``EXPDIR/test_predict.txt``, which is what SUPERB's leaderboard wants, leads
to the prediction of the former.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from utility.errors import DataError, program

PREDICTION = "test_predict.txt"


@dataclass(frozen=True)
class Evaluated:
    """The results of one checkpoint.

    Args:
        folder: where they lie.
        step: updates done.
        test, min_dcf: EER (a fraction) and detection cost on the test trials.
        dev: EER on the trials of dev, if they were evaluated.
    """

    folder: Path
    step: int
    test: float
    min_dcf: float
    dev: float | None

    @property
    def line(self) -> str:
        """One row of the report."""
        dev = "" if self.dev is None else f" dev-EER: {self.dev:.6f}"
        return f"{self.folder.name} test-EER: {self.test:.6f} minDCF: {self.min_dcf:.4f}{dev}"


def evaluated(folder: Path) -> list[Evaluated]:
    """The numbered checkpoints with a result on the test trials, the worst first."""
    found = []
    for place in folder.glob("results/states-*"):
        test, dev = (_scores(place / f"{split}.json") for split in ("test", "dev"))
        if test:
            found.append(Evaluated(place, int(place.name.partition("-")[2]), test["EER"], test["minDCF"], dev.get("EER")))
    return sorted(found, key=lambda result: (-result.test, result.step))


def _scores(file: Path) -> dict[str, float]:
    if not file.is_file():
        return {}
    return {name: score["value"] for name, score in json.loads(file.read_text(encoding="utf-8"))["scores"].items()}


def publish(folder: Path) -> Path | None:
    """Lets ``test_predict.txt`` lead to the best prediction by S3PRL's rule, if there is one; returns where that lies.

    Raises:
        OSError: as the system gives it, with the name of the link.
    """
    results = evaluated(folder)
    if not results:
        return None
    link, draft, best = folder / PREDICTION, folder / f".{PREDICTION}.tmp", Path("results", results[-1].folder.name, PREDICTION)
    if not (link.is_symlink() and link.readlink() == best):  # nothing is to be written where nothing is new
        try:
            draft.unlink(missing_ok=True)
            draft.symlink_to(best)
            draft.replace(link)
        except OSError as error:
            error.filename, error.filename2 = str(link), None
            raise
    return results[-1].folder / PREDICTION


def report(folder: Path) -> list[str]:
    """The lines of the report.

    Raises:
        DataError: no checkpoint of the folder has been evaluated.
    """
    results = evaluated(folder)
    if not results:
        raise DataError(f"{folder} has no result of a states-*.ckpt yet; ./downstream/sv_voxceleb1/test_expdirs.sh {folder} makes them")
    best = results[-1]
    lines = [result.line for result in results]
    lines += [f"{len(results)} checkpoints are evaluated; the predictions of the last one are in {folder / PREDICTION}"]
    chosen = min((result for result in results if result.dev is not None), key=lambda result: (result.dev, result.step), default=None)
    if chosen is None:
        lines += ["chosen on dev: none, no checkpoint was evaluated on the trials of dev"]
    else:
        lines += [f"chosen on dev: test-EER {chosen.test:.6f} of {chosen.folder.name}, whose dev-EER is {chosen.dev:.6f}"]
    return [*lines, f"chosen on test, as SUPERB does: test-EER {best.test:.6f} of {best.folder.name}"]


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    parser = argparse.ArgumentParser(prog="report.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="EXPDIR")
    folder = parser.parse_args(argv).folder
    print("\n".join(report(folder)), flush=True)
    publish(folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
