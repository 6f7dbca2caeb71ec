"""MOS-Bench's table over all test sets, of one predictor or of several beside each other (specs/mos-prediction.md, 12)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from utility.errors import DataError
from utility.metrics.mos import HIGHER_IS_BETTER, evaluate
from utility.text.files import rows_of

from ..preparation.recipe import FILE, read_recipe
from .places import EGS

RESULTS, SHOWN = "results.csv", ("utt_MSE", "utt_LCC", "utt_SRCC", "sys_MSE", "sys_LCC", "sys_SRCC")
ORDER = (
    *("bvcc_test", "somos_test", "bc19_test", "bc23a_test", "bc23b_test", "svcc23_test", "singmos_test", "brspeechmos_test"),
    *("hablamos_test", "ttsds2_test", "nisqa_FOR", "nisqa_LIVETALK", "nisqa_P501", "tmhintqi_test", "tmhint_qi_s_test", "tcd_voip_test"),
    "vmc24_track3_test",
)
Results = Mapping[str, Mapping[str, float | None]]


@cache
def kinds() -> dict[str, str]:
    """``synthetic`` or ``distorted`` by the name of a test set in results."""
    recipes = [read_recipe(path.parent) for path in sorted(EGS.glob(f"*/{FILE}"))]
    return {rated.result: rated.kind for recipe in recipes for rated in recipe.sets.values() if rated.result}


def metrics_of(path: str | Path, answer: str = "answer", truth: str = "avg_score") -> dict[str, float | None]:
    """The eight numbers of a file with predictions.

    Args:
        path: with ``system_id`` and these two columns.

    Raises:
        DataError: it is missing or damaged, has no row, or a score is no number.
    """
    systems, predicted, true = [], [], []
    for line, row in rows_of(path, ("system_id", answer, truth), "results"):
        try:
            predicted.append(float(row[answer]))
            true.append(float(row[truth]))
        except ValueError:
            raise DataError(f"results {path}, line {line}: {row[answer]!r} or {row[truth]!r} is no number") from None
        systems.append(row["system_id"])
    if not systems:
        raise DataError(f"results {path} has no row")
    return evaluate(systems, true, predicted)


def read_results(folder: str | Path) -> dict[str, dict[str, float | None]]:
    """The numbers of each test set below the results folder of a checkpoint, in MOS-Bench's order.

    Raises:
        DataError: there is none.
    """
    found = {path.parent.name: path for path in sorted(Path(folder).glob(f"*/{RESULTS}"))}
    if not found:
        raise DataError(f"{folder} has no results: no */{RESULTS} below it")
    names = [name for name in ORDER if name in found] + [name for name in found if name not in ORDER]
    return {name: metrics_of(found[name]) for name in names}


def headline_key(name: str, measure: str = "SRCC", all_utt: bool = False) -> str:
    """Of a test set: the system's level for synthetic speech, the utterance's for distorted speech."""
    return f"{'utt' if all_utt or kinds().get(name) == 'distorted' else 'sys'}_{measure}"


def best_scores(models: Mapping[str, Results], measure: str = "SRCC", all_utt: bool = False) -> dict[str, tuple[float, float | None]]:
    """Best-score difference and ratio of each model.

    For each test set the best of these models counts as 0 and as 1: the difference is the mean over sets of a model's score minus the
    best one, the ratio the mean of their quotients. Sets that a model lacks, or where a number is undefined, are left out for all models.
    A best score of 0 or below has no part in ratios (the worse of two negative correlations would have the larger one); of no set at all
    the ratio is None.

    Raises:
        DataError: no set has a number of every model.
    """
    names = [name for name in next(iter(models.values())) if all(name in own for own in models.values())]
    scores = {name: [own[name][headline_key(name, measure, all_utt)] for own in models.values()] for name in names}
    scores = {name: own for name, own in scores.items() if None not in own}
    if not scores:
        raise DataError(f"the models {', '.join(models)} have no test set in common")
    best = {name: (max if HIGHER_IS_BETTER[f"utt_{measure}"] else min)(own) for name, own in scores.items()}
    found = {}
    for place, model in enumerate(models):
        difference = sum(own[place] - best[name] for name, own in scores.items()) / len(scores)
        quotients = [own[place] / best[name] for name, own in scores.items() if best[name] > 0]
        found[model] = (difference, sum(quotients) / len(quotients) if quotients else None)
    return found


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column to the left, the others to the right."""
    widths = [max(len(row[place]) for row in (header, *rows)) for place in range(len(header))]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [[row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in (header, *rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:]))


def print_summary(folder: str | Path, all_utt: bool = False) -> None:
    """The table of one predictor, and its headline."""
    results = read_results(folder)
    rows = [[name, *(_number(own[key]) for key in SHOWN)] for name, own in results.items()]
    print(markdown(["test set", *(key.replace("_", " ") for key in SHOWN)], rows))
    headline = [own[headline_key(name, all_utt=all_utt)] for name, own in results.items()]
    defined = [value for value in headline if value is not None]
    if defined:
        level = "utterances" if all_utt else "systems of synthetic sets, utterances of distorted ones"
        print(f"headline: mean SRCC of {len(defined)} sets ({level}): {sum(defined) / len(defined):.3f}")


def print_comparison(folders: Mapping[str, str | Path], measure: str = "SRCC", all_utt: bool = False) -> None:
    """Several predictors beside each other, with best-score difference and ratio among them."""
    models = {name: read_results(folder) for name, folder in folders.items()}
    names = list(dict.fromkeys(name for own in models.values() for name in own))
    rows = []
    for name in names:
        key = headline_key(name, measure, all_utt)
        rows.append([f"{name} ({key.replace('_', ' ')})", *(_number(own[name][key]) if name in own else "" for own in models.values())])
    best = best_scores(models, measure, all_utt)
    rows.append(["best-score difference", *(f"{best[name][0]:+.3f}" for name in models)])
    rows.append(["best-score ratio", *(_percent(best[name][1]) for name in models)])
    print(markdown(["test set", *models], rows))


def _percent(value: float | None) -> str:
    return "undefined" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
