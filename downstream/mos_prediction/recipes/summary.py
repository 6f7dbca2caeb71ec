"""MOS-Bench's table over all test sets, of one predictor or of several beside each other (specs/mos-prediction.md, 12)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import mean, stdev

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
    return {name: metrics_of(found[name]) for name in in_order(found)}


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
        print(f"headline: mean SRCC of {len(defined)} sets ({_level(all_utt)}): {sum(defined) / len(defined):.3f}")


def print_seeds(folders: Mapping[str, str | Path], all_utt: bool = False) -> None:
    """Means and standard deviations over the trainings of a recipe that differ in their seed, and which of them lack which sets.

    The deviation is that of a sample (divisor n - 1), and is left out of a single training. Only sets count that all trainings have.

    Args:
        folders: the results folder of each training, by its seed.
        all_utt: the headline's level is the utterance's for synthetic speech too.

    Raises:
        DataError: a training has no results, or the trainings have no test set in common.
    """
    seeds = {seed: read_results(folder) for seed, folder in folders.items()}
    found = list(dict.fromkeys(name for own in seeds.values() for name in own))
    common = in_order(name for name in found if all(name in own for own in seeds.values()))
    for seed, own in seeds.items():
        if lacking := [name for name in in_order(found) if name not in own]:
            print(f"seed {seed} lacks {', '.join(lacking)}", file=sys.stderr)
    if not common:
        raise DataError(f"the trainings with seeds {', '.join(seeds)} have no test set in common")
    rows = [[name, *(_spread([own[name][key] for own in seeds.values()]) for key in SHOWN)] for name in common]
    print(markdown(["test set", *(key.replace("_", " ") for key in SHOWN)], rows))
    keys = {name: headline_key(name, all_utt=all_utt) for name in common}
    headlines = [[own[name][key] for name, key in keys.items()] for own in seeds.values()]
    means = [None if None in own else sum(own) / len(own) for own in headlines]
    print(f"headline: mean SRCC of {len(common)} sets ({_level(all_utt)}) over {len(seeds)} seeds ({', '.join(seeds)}): {_spread(means)}")


def in_order(names: Iterable[str]) -> list[str]:
    """Test sets in MOS-Bench's order, others after them as they come."""
    given = list(names)
    return [name for name in ORDER if name in given] + [name for name in given if name not in ORDER]


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


def _level(all_utt: bool) -> str:
    return "utterances" if all_utt else "systems of synthetic sets, utterances of distorted ones"


def _spread(values: Sequence[float | None]) -> str:
    """The mean, with the standard deviation of several values; undefined if one of them is."""
    if None in values:
        return "undefined"
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
