"""The stages of ``utils/BENCHMARKS/run_<set>_test.sh``, and of the scripts for all sets, from the folder of the recipe that was trained.

-1 download    0 csv files    1 inference by the predictor    3 inference by neighbours (--np_inference_mode)

Stages 2 (every domain index in turn) and 4 (SpeechLMScore) of SHEET are not here.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from utility.errors import DataError, UsageError, program

from ..preparation.recipe import Recipe
from .commands import StageError
from .data import download_data, prepare
from .defaults import COMMON
from .options import parse, stages, whole
from .places import Run, check_mode, current_recipe, run_of, sibling
from .training import infer, wishes_of

DEFAULTS = {**COMMON, "np_inference_mode": ""}
HELP = f"run_<set>_test.sh --stage N --stop_stage N [options]\n{__doc__}\nOptions and their defaults:"
# As the second MOS-Bench orders them; vmc23, the first one's form of three of them, is not part of "all".
ALL = (
    *("bvcc", "somos", "bc19", "bc23", "svcc23", "singmos", "brspeechmos", "hablamos", "ttsds2"),
    *("nisqa", "tmhint-qi", "tmhint-qi-s", "tcd-voip", "vmc24_track3"),
)
ABSENT = {
    2: "stage 2, inference with every domain index in turn, is not here: SHEET has given it up; stage 3 with "
    "--np_inference_mode domain_id_knn_1 finds an index for each recording, --domain_idx N of stage 1 gives one for all",
    4: "stage 4, SpeechLMScore, is not here: it needs a published k-means and language model of speech units, "
    "which this toolkit does not read",
}


@program
def main(argv: list[str] | None = None) -> int:
    """``SCRIPT OPTIONS``: the name of a script without suffix, then its options; returns the exit status."""
    script, *words = sys.argv[1:] if argv is None else argv
    if script.startswith("get_all_"):
        return _get_all(words, script.endswith("_installation_free"))
    if script.startswith("run_all_"):
        return _run_all(words)
    recipe = sibling(script.removeprefix("run_").removesuffix("_test"))
    own_root = f"{recipe.name.replace('-', '_')}_db_root"
    options = parse(words, {**DEFAULTS, own_root: ""}, HELP)
    options["db_root"] = options[own_root] or options["db_root"]
    for stage in stages(options):
        _stage(stage, recipe, options)
    return 0


def _stage(stage: int, recipe: Recipe, options: Mapping[str, str], average: bool = False) -> None:
    if stage == -1:
        download_data(recipe, _db_root(recipe, options))
    elif stage == 0:
        domain = whole(options, "domain_idx") if options["domain_idx"] else None
        wishes = replace(wishes_of(options), sample_rate=None) if average else wishes_of(options)
        prepare(
            recipe, _db_root(recipe, options), _data(recipe, options), wishes, ("test",) if average else ("dev", "test"), domain, average
        )
    elif stage == 1:
        _infer_all(recipe, options, "")
    elif stage == 3:
        if options["np_inference_mode"]:
            _infer_all(recipe, options, check_mode(options["np_inference_mode"]))
        elif whole(options, "stop_stage") == 3:  # asked for, not merely passed on the way to stage 100
            raise UsageError("stage 3 needs --np_inference_mode naive_knn, domain_id_knn_1 or fusion")
    elif stage in ABSENT and stage in (whole(options, "stage"), whole(options, "stop_stage")):  # likewise
        raise UsageError(ABSENT[stage])


def _db_root(recipe: Recipe, options: Mapping[str, str]) -> Path:
    return Path(options["db_root"]) if options["db_root"] else recipe.folder / "downloads"


def _data(recipe: Recipe, options: Mapping[str, str]) -> Path:
    return Path(options["datadir"]) if options["datadir"] else recipe.folder / "data"


def _infer_all(recipe: Recipe, options: Mapping[str, str], mode: str) -> None:
    trained = current_recipe()
    run = run_of(options, trained.conf).trained()
    tables = {rated.result: _data(recipe, options) / f"{rated.name}.csv" for rated in recipe.sets.values() if rated.result}
    if missing := next((table for table in tables.values() if not table.is_file()), None):
        raise DataError(f"there is no test set {missing}; stage 0 of this script makes it")
    for name, table in tables.items():
        _infer(run, trained, recipe, name, table, mode, options)


def _infer(run: Run, trained: Recipe, recipe: Recipe, name: str, table: Path, mode: str, options: Mapping[str, str]) -> None:
    datastore = str(options["datastore_path"] or run.datastore) if mode else ""
    if mode and not Path(datastore).is_file():
        raise DataError(f"there is no datastore {datastore}; stage 3 of run.sh makes it")
    infer(run, str(table), name, options, mode, datastore, domain_of(trained, recipe, options))


def domain_of(trained: Recipe, recipe: Recipe, options: Mapping[str, str]) -> int | None:
    """The number of a test set's data set in the pool that was trained on: the option's, the pool's, or none."""
    if options["domain_idx"]:
        return whole(options, "domain_idx")
    folders = [Path(path).parts[-3] for path in trained.pool.get("train", ())]
    return folders.index(recipe.name) if recipe.name in folders else None


def _get_all(words: Sequence[str], average: bool) -> int:
    """Downloads and prepares every test set; ``--db_root`` holds a folder for each, by its name.

    Args:
        average: write mean scores only, of recordings as they are: for other predictors and ``calculate_metrics.py``.
    """
    options = parse(words, DEFAULTS, HELP)
    failed = []
    for name in ALL:
        recipe = sibling(name)
        own = {**options, "db_root": str(Path(options["db_root"]) / name) if options["db_root"] else ""}
        try:
            for stage in (number for number in stages(options) if number in (-1, 0)):
                _stage(stage, recipe, own, average)
        except DataError as error:  # the other sets are worth having
            failed.append(name)
            print(f"{name}: {error}", file=sys.stderr)
    if failed:
        raise DataError(f"{len(failed)} of {len(ALL)} test sets are not ready: {', '.join(failed)}")
    return 0


def _run_all(words: Sequence[str]) -> int:
    """Inference on every test set that is prepared, then the table of results."""
    from .summary import print_summary

    options = parse(words, DEFAULTS, HELP)
    mode = check_mode(options["np_inference_mode"]) if options["np_inference_mode"] else ""
    run = run_of(options, current_recipe().conf).trained()
    recipes = [sibling(name) for name in ALL]
    ready = [r for r in recipes if all((_data(r, options) / f"{s.name}.csv").is_file() for s in r.sets.values() if s.result)]
    if not ready:
        raise DataError("no test set is prepared; get_all_benchmarks.sh --stage -1 --stop_stage 0 does it")
    failed = [recipe.name for recipe in ready if not _scored(recipe, options, mode)]
    if left := [recipe.name for recipe in recipes if recipe not in ready]:
        print(f"left out, since they are not prepared: {', '.join(left)}", file=sys.stderr)
    if len(failed) < len(ready):
        print_summary(run.results(ALL[0], mode).parent)
    if failed:
        raise DataError(f"{len(failed)} of {len(ready)} test sets have no scores, as said above: {', '.join(failed)}")
    return 0


def _scored(recipe: Recipe, options: Mapping[str, str], mode: str) -> bool:
    """Whether inference on a set came to its end; where it did not, the other sets are worth having."""
    try:
        _infer_all(recipe, options, mode)
    except StageError as error:
        print(f"{recipe.name}: {error}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(main())
