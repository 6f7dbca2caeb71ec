"""The stages of ``run.sh``, from the folder of a recipe.

-1 download    0 csv files    1 published predictors    2 training    3 datastore    4 stacking    5 inference on the test sets
    6 nets that join neighbours and predictor (--np_inference_mode fusion of the benchmarks)
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from utility.errors import DataError, UnknownNameError, program
from utility.experiment.config import load_config

from ..preparation.recipe import Recipe
from ..preparation.rows import Wishes
from . import commands
from .data import download_data, prepare
from .defaults import COMMON, search
from .options import parse, stages, true, whole
from .places import Run, current_recipe, run_of
from .published import fetch_published

DEFAULTS = {
    **COMMON,
    "meta_model_conf": "conf/stacking_ridge.yaml",
    "resume": "",
    "pretrained_model_checkpoint": "",
    "db_root": "downloads",
    "datadir": "data",
    "num_total_samples": "",
    "use_domain_idx": "False",
    "test_sets": "",
}
HELP = f"run.sh --stage N --stop_stage N [options]\n{__doc__}\nOptions and their defaults:"


@program
def main(argv: list[str] | None = None) -> int:
    """Runs the stages; returns the exit status."""
    recipe = current_recipe()
    own_root = f"{recipe.name.replace('-', '_')}_db_root"
    options = parse(sys.argv[1:] if argv is None else argv, {**DEFAULTS, own_root: ""}, HELP)
    options["db_root"] = options[own_root] or options["db_root"]
    options["conf"] = options["conf"] or recipe.conf
    for stage in stages(options):
        if stage in STAGES:
            name, work = STAGES[stage]
            print(f"stage {stage}: {name}", file=sys.stderr, flush=True)
            work(recipe, options)
    return 0


def _download(recipe: Recipe, options: Mapping[str, str]) -> None:
    download_data(recipe, Path(options["db_root"]))


def _prepare(recipe: Recipe, options: Mapping[str, str]) -> None:
    domain = whole(options, "domain_idx") if options["domain_idx"] else 1 if recipe.domain_copies else None
    prepare(recipe, Path(options["db_root"]), Path(options["datadir"]), wishes_of(options), domain_idx=domain)


def wishes_of(options: Mapping[str, str]) -> Wishes:
    """What the options of a script say of the csv files."""
    most = whole(options, "num_total_samples") if options.get("num_total_samples") else None
    return Wishes(whole(options, "seed"), whole(options, "target_sampling_rate"), most, whole(options, "n_jobs"))


def _published(recipe: Recipe, options: Mapping[str, str]) -> None:
    fetch_published(recipe, Path(options["exp_root"]))


def _train(recipe: Recipe, options: Mapping[str, str]) -> None:
    fields = {f"datarc.{role}_csv": _tables(recipe, role, options) for role in ("train", "dev")}
    config, run = commands.config_path(options["conf"]), run_of({**options, "checkpoint": ""}, recipe.conf)
    if first := options["pretrained_model_checkpoint"]:
        modules = load_config(config).get("init-mods")
        if not modules:
            raise DataError(
                f"{config} has no init-mods, which say what is taken from --pretrained_model_checkpoint; take a conf ending in -mdf"
            )
        fields["modelrc.init"] = {"checkpoint": first, "modules": list(modules)}
    commands.train(config, run.folder, options["seed"], fields, options["resume"], options)


def _tables(recipe: Recipe, role: str, options: Mapping[str, str]) -> list[str]:
    names = recipe.train if role == "train" else recipe.dev
    if not names:
        raise DataError(f"{recipe.name} is a test set alone: it has nothing to train on")
    suffix = ""
    if true(options, "use_domain_idx"):
        suffix = f"_with_domain_idx_{options['domain_idx'] or 1}"
    return [_there(Path(options["datadir"]) / f"{name}{suffix}.csv") for name in names]


def _there(path: Path, maker: str = "stage 0") -> str:
    if not path.is_file():
        raise DataError(f"there is no {path}; {maker} makes it")
    return str(path)


def _datastore(recipe: Recipe, options: Mapping[str, str]) -> None:
    run = run_of(options, recipe.conf).trained()
    (table,) = _tables(recipe, "train", options)
    out = options["datastore_path"] or run.datastore
    commands.evaluate(run.checkpoint, "datastore", {"datastore.csv": table, "datastore.out": str(out)}, options)


def _fuse(recipe: Recipe, options: Mapping[str, str]) -> None:
    if whole(options, "stop_stage") > FUSION:
        print(f"stage {FUSION} is for --stop_stage {FUSION}", file=sys.stderr)
        return
    run = run_of(options, recipe.conf).trained()
    store = _there(Path(options["datastore_path"] or run.datastore), "stage 3")
    (table,) = _tables(recipe, "train", options)
    commands.evaluate(run.checkpoint, "fusion", {"datastore.csv": table, "inference.datastore": store, **search(options)}, options)


def _stack(recipe: Recipe, options: Mapping[str, str]) -> None:
    if not true(options, "use_stacking"):
        print("stage 4 is for --use_stacking True", file=sys.stderr)
        return
    run = run_of(options, recipe.conf).trained()
    alpha = (load_config(commands.config_path(options["meta_model_conf"])).get("meta_model_params") or {}).get("alpha", 1.0)
    (table,) = _tables(recipe, "dev", options)
    out = options["meta_model_checkpoint"] or run.folder / "meta_model.pkl"
    commands.evaluate(run.checkpoint, "stacking", {"stacking.csv": table, "stacking.out": str(out), "stacking.alpha": alpha}, options)


def _infer(recipe: Recipe, options: Mapping[str, str]) -> None:
    run = run_of(options, recipe.conf).trained()
    names = options["test_sets"].replace(",", " ").split() or list(recipe.dev)
    for name in names:
        table = Path(options["datadir"]) / f"{name}.csv"
        there = [path.stem for path in sorted(table.parent.glob("*.csv"))]
        if there and name not in there:
            raise UnknownNameError(f"test set of {table.parent}", name, there)
        _there(table)
        infer(run, str(table), name, options)


def infer(
    run: Run, table: str, name: str, options: Mapping[str, str], mode: str = "", datastore: str = "", domain: int | None = None
) -> None:
    """Predicts a test set's scores, by the predictor, several of them, or neighbours."""
    averaging, stacking = true(options, "model_averaging"), true(options, "use_stacking")
    kind = "model-averaging" if averaging else "stacking-model" if stacking else ""
    fields = {
        "inference.csv": table,
        "inference.outdir": str(run.results(name, mode, kind)),
        "inference.np_inference_mode": mode,
        "inference.datastore": datastore,
        "inference.domain_idx": domain,
        **search(options),
        "inference.model_averaging": averaging or None,
        "inference.meta_model": str(options["meta_model_checkpoint"] or run.folder / "meta_model.pkl") if stacking else None,
    }
    commands.evaluate(run.checkpoint, "inference", fields, options)


FUSION = 6
STAGES = {
    -1: ("data download", _download),
    0: ("csv files", _prepare),
    1: ("published predictors", _published),
    2: ("training", _train),
    3: ("datastore", _datastore),
    4: ("stacking", _stack),
    5: ("inference", _infer),
    FUSION: ("fusion", _fuse),
}

if __name__ == "__main__":
    raise SystemExit(main())
