"""The recipes' configs are SHEET's, and each builds its predictor."""

from __future__ import annotations

from pathlib import Path

import pytest

from downstream.mos_prediction.build import build_predictor, check_heads
from downstream.mos_prediction.losses import Criterion
from downstream.mos_prediction.recipes.commands import upstream_options
from downstream.mos_prediction.settings import Settings, check_config
from downstream.mos_prediction.sheet import translated
from tests.downstream.mos_prediction.archives import EGS
from utility.experiment.config import load_config

CONF = EGS.parent / "conf"
CONFIGS = sorted(path.relative_to(CONF) for path in CONF.rglob("*.yaml") if path.name != "stacking_ridge.yaml")
WIDTHS = {"wav2vec2": 768, "stft_mag": 257}


@pytest.mark.parametrize("path", CONFIGS, ids=str)
def test_it_builds(path: Path):
    given = load_config(CONF / path)
    config = translated(given)
    config["downstream_expert"]["datarc"] |= {"train_csv": "a.csv", "dev_csv": "b.csv"}
    check_config(config["downstream_expert"])
    settings = Settings.of(config["downstream_expert"])
    criterions = {name: Criterion(own, name) for name, own in settings.losses.items()}
    check_heads(settings.model.model_type, settings.model.params, settings.model.categorical_step, criterions, str(path))
    name = upstream_options(given)[1]
    width = WIDTHS.get(name, 1024)
    assert given["model_params"].get("ssl_model_output_dim", 257) == width
    model = build_predictor(settings.model.model_type, settings.model.params, width, 5, 7, str(path))
    assert set(given.get("init-mods", ())) - {"ssl_model"} <= {name for name, _ in model.named_children()}
    assert config["optimizer"]["lr"] > 0
    assert config["runner"]["gradient_clipping"] == 1


def test_every_config_is_a_recipes():
    linked = {path.resolve().relative_to(CONF) for path in EGS.glob("*/conf/*.yaml")}
    assert linked == {*CONFIGS, Path("stacking_ridge.yaml")}


def test_ldnet_has_as_many_parameters_as_recorded():
    """Of BVCC's recipe, with its 288 listeners, the mean one among them (golden/mos/manifest.json, ldnet_ml_published_config)."""
    settings = Settings.of(translated(load_config(EGS / "bvcc/conf/ldnet-ml.yaml"))["downstream_expert"])
    model = build_predictor(settings.model.model_type, settings.model.params, WIDTHS["stft_mag"], 288, None, "ldnet-ml")
    assert sum(weight.numel() for weight in model.parameters()) == 956_929
