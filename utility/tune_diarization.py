"""Scores the predictions of the task diarization with each threshold and median filter, worst first, as S3PRL's score.sh does.

    python3 utility/tune_diarization.py EXPDIR downstream/diarization/data/test
    python3 utility/tune_diarization.py EXPDIR downstream/diarization/data/test --dev downstream/diarization/data/dev
    python3 utility/tune_diarization.py EXPDIR --report

The first line is the honest score: the setting was chosen on dev, while the model was trained or, with --dev, now, from the predictions of
``-m evaluate -t dev``. The last line is what S3PRL and SUPERB report: the best setting on the test set itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if __package__ in (None, ""):
    import _root  # noqa: F401

from utility.errors import DataError, UsageError, program
from utility.score_diarization import OVERALL, check_names, table

if TYPE_CHECKING:
    from utility.metrics.diarization import DiarizationScore
    from utility.metrics.diarization_tuning import Setting

SCORING, DEV, BEST = "scoring", "scoring-dev", "best-states-dev"
REPORT = "report.txt"
S3PRL_RATE = 16000


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns the exit status."""
    args = arguments(argv)
    folder = scoring_folder(args.expdir)
    if not args.report:
        if args.test is None:
            raise UsageError("name the Kaldi folder of the test set, or give --report to see an earlier score again")
        text, files = report(folder, args.test, args.dev)
        print(text, end="", flush=True)
        _write({folder / REPORT: text, **files})
        return 0
    if not (folder / REPORT).is_file():
        raise DataError(f"{folder} has not been scored yet: run score.sh first")
    print((folder / REPORT).read_text(), end="")
    return 0


def _write(files: Mapping[Path, str]) -> None:
    for path, text in files.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("expdir", type=Path, help="the experiment folder, or one of its results/<checkpoint>")
    parser.add_argument("test", type=Path, nargs="?", help="the Kaldi folder with the rttm of the test set")
    parser.add_argument("--dev", type=Path, help="the Kaldi folder with the rttm of dev")
    parser.add_argument("--report", action="store_true", help="print what the last scoring found")
    return parser.parse_args(argv)


def scoring_folder(expdir: Path) -> Path:
    """Where the evaluation has put its predictions.

    Raises:
        DataError: there is no evaluation, or there are several and none is of the best checkpoint.
    """
    found = sorted(path.parent for path in expdir.glob(f"results/*/{SCORING}/predictions"))
    if not found and (expdir / SCORING / "predictions").is_dir():
        return expdir / SCORING
    preferred = [path for path in found if path.parent.name == BEST] or found
    if len(preferred) == 1:
        return preferred[0]
    if not found:
        raise DataError(f"{expdir} has no predictions: run -m evaluate -t test -e {expdir / BEST}.ckpt first")
    raise DataError(f"{expdir} has predictions of {len(found)} checkpoints; name one of {', '.join(str(path.parent) for path in found)}")


def report(folder: Path, test: Path, dev: Path | None) -> tuple[str, dict[Path, str]]:
    """Scores all settings.

    Returns:
        what came of it, and the files of turns and tables that are to be written.
    """
    from utility.metrics.diarization_tuning import best, grid

    seconds, chosen = _settings(folder)
    files: dict[Path, str] = {}
    split = _Split(folder, test, seconds, files)
    scores = {setting: split.scored(setting) for setting in grid()}
    if dev is not None:
        other = _Split(folder.parent / DEV, dev, seconds, files)
        chosen = best({setting: other.scored(setting) for setting in grid()})
    if chosen is None:
        head = "chosen on dev: none, as the checkpoint has no choice; evaluate dev, and give its Kaldi folder as well"
    else:
        score = scores.get(chosen) or split.scored(chosen)
        head = f"chosen on dev ({chosen}): DER {100 * score.der:.2f}"
    winner = best(scores)
    lines = [head, f"chosen on test, as S3PRL does ({winner}): DER {100 * scores[winner].der:.2f}"]
    ranked = sorted(scores, key=lambda setting: (scores[setting].der, setting != winner), reverse=True)
    lines += [f"{folder / result_name(setting)}:{OVERALL}  {100 * scores[setting].der:.2f}" for setting in ranked]
    return "".join(f"{line}\n" for line in lines), files


def result_name(setting: Setting) -> str:
    """The file with the table of one setting."""
    return f"result_th{setting.threshold:g}_med{setting.median}"


def _settings(folder: Path) -> tuple[float, Setting | None]:
    """Seconds per frame, and what was chosen on dev; of S3PRL's folders, which have neither, only the file frame_shift is read."""
    import yaml

    from utility.metrics.diarization_tuning import SETTINGS, Setting

    if (folder / SETTINGS).is_file():
        known = yaml.safe_load((folder / SETTINGS).read_text())
        return known["frame_shift"] / known["sample_rate"], Setting(**known["chosen_on_dev"]) if known["chosen_on_dev"] else None
    file = folder.parent / "frame_shift"
    if not file.is_file() or not file.read_text().strip().isdigit():
        raise DataError(f"{folder} has no {SETTINGS}, and {file} does not say how many samples a frame has")
    return int(file.read_text()) / S3PRL_RATE, None


class _Split:
    """The predictions of a split beside its truth.

    Args:
        folder: of the predictions.
        kaldi: of the truth.
        seconds_per_frame: of the predictions.
        files: gets the files that are to be written.

    Raises:
        DataError: one of them is missing, or they have no recording in common.
    """

    def __init__(self, folder: Path, kaldi: Path, seconds_per_frame: float, files: dict[Path, str]):
        from utility.metrics.diarization_tuning import PREDICTIONS, read_predictions
        from utility.metrics.rttm import read_rttm

        self.folder, self.seconds, self.files = folder, seconds_per_frame, files
        self.predictions = read_predictions(folder / PREDICTIONS)
        self.references = read_rttm(kaldi / "rttm")
        check_names(set(self.references), set(self.predictions), None)

    def scored(self, setting: Setting) -> DiarizationScore:
        """The overall score of one setting, whose turns and table are to lie beside the predictions."""
        from utility.metrics.diarization import pooled, score_recordings
        from utility.metrics.diarization_tuning import turns
        from utility.metrics.rttm import rttm_lines

        found = turns(self.predictions, setting, self.seconds)
        lines = (line for name, speakers in found.items() for line in rttm_lines(name, speakers))
        self.files[self.folder / "rttm" / f"hyp_{setting.threshold:g}_{setting.median}.rttm"] = "".join(lines)
        scores = score_recordings(self.references, found)
        self.files[self.folder / result_name(setting)] = table(scores)
        return pooled(scores.values())


if __name__ == "__main__":
    raise SystemExit(main())
