"""Which checkpoint of an experiment is the best: by S3PRL's rule, and by a sane one; report.sh calls it.

    report.sh EXPDIR

SUPERB's number is the lowest EER that any saved checkpoint has on the test trials, which flatters it. The other number is the test EER
of the checkpoint with the lowest EER on the trials of dev; beside it stands whether the speakers of dev were trained on.
``EXPDIR/test_predict.txt``, which is what SUPERB's leaderboard wants, leads to the prediction of the former.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        heard: whether the speakers of dev were trained on, so that their EER flatters; None where the results do not say.
    """

    folder: Path
    step: int
    test: float
    min_dcf: float
    dev: float | None
    heard: bool | None = None

    @property
    def choice(self) -> str:
        """What is said of it if it is the best on dev."""
        heard = "; the speakers of dev were trained on (hold_out_dev: false)" if self.heard else ""
        return f"test-EER {self.test:.6f} of {self.folder.name}, whose dev-EER is {self.dev:.6f}{heard}"

    @property
    def line(self) -> str:
        """One row of the report."""
        dev = "" if self.dev is None else f" dev-EER: {self.dev:.6f}"
        return f"{self.folder.name} test-EER: {self.test:.6f} minDCF: {self.min_dcf:.4f}{dev}"


def evaluated(folder: Path) -> list[Evaluated]:
    """The numbered checkpoints with a result on the test trials, the worst first.

    Raises:
        DataError: a result is damaged, or is one of another task.
    """
    found = []
    for place in folder.glob("results/states-*"):
        if not (number := re.fullmatch(r"states-(\d+)", place.name)):
            continue
        results = [_result(place / f"{split}.json") for split in ("test", "dev")]
        test, dev = (_scores(result) for result in results)
        if test:
            if missing := {"EER", "minDCF"} - test.keys():
                raise DataError(f"{place / 'test.json'} has no {min(missing)}; is {folder} an experiment with sv_voxceleb1?")
            found.append(Evaluated(place, int(number[1]), test["EER"], test["minDCF"], dev.get("EER"), _trains_on_dev(results[0])))
    return sorted(found, key=lambda result: (-result.test, result.step))


def _result(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise DataError(f"result {file} is damaged: {error}") from error


def _scores(result: Mapping[str, Any]) -> dict[str, float]:
    return {name: score["value"] for name, score in result.get("scores", {}).items()}


def _trains_on_dev(result: Mapping[str, Any]) -> bool | None:
    if "config" not in result:
        return None
    return not result["config"]["downstream_expert"]["datarc"].get("hold_out_dev")


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
        DataError: there is no such folder, or no checkpoint of it has been evaluated.
    """
    if not folder.is_dir():
        raise DataError(f"there is no experiment folder {folder}")
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
        lines += [f"chosen on dev: {chosen.choice}"]
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
