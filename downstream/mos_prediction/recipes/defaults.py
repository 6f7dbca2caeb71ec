"""The options that ``run.sh`` and the benchmark scripts have in common, and their defaults."""

from __future__ import annotations

from collections.abc import Mapping

from .options import real, whole

SEARCH = {"k": "", "temperature": "", "weighting": "", "search": "", "bootstrap": ""}
COMMON = {
    "stage": "-1",
    "stop_stage": "100",
    "verbose": "1",
    "n_gpus": "1",
    "n_jobs": "16",
    "seed": "1337",
    "device": "",
    "conf": "",
    "tag": "",
    "checkpoint": "",
    "db_root": "",
    "datadir": "",
    "exp_root": "exp",
    "target_sampling_rate": "16000",
    "domain_idx": "",
    "datastore_path": "",
    "model_averaging": "False",
    "use_stacking": "False",
    "meta_model_checkpoint": "",
    **SEARCH,
}


def search(options: Mapping[str, str]) -> dict[str, object]:
    """What the options of a script say of neighbours and of confidence intervals; what they leave open is the task's default."""
    kinds = {"k": whole, "bootstrap": whole, "temperature": real}
    given = {name: kind(options, name) for name, kind in kinds.items() if options[name]}
    return {f"inference.{name}": value for name, value in {**given, "weighting": options["weighting"], "search": options["search"]}.items()}
