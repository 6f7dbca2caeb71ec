"""What is refused in a config: sections of another kind, impossible values, heads without a loss and losses without a head."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
import yaml

from downstream.mos_prediction.build import build_predictor, check_heads
from downstream.mos_prediction.checkpoints import begin_with_parts
from downstream.mos_prediction.losses import Criterion
from downstream.mos_prediction.settings import Settings, check_config
from utility.errors import ConfigError, UnknownNameError

SCALAR, CLASSES, GAUSSIAN, LAPLACE = (
    [{"criterion_type": f"{kind}Loss"}] for kind in ("Scalar", "Categorical", "GaussianNLL", "LaplaceNLL")
)
MEAN, LISTENER, HEAD = "mean_score_criterions", "listener_score_criterions", "categorical_head_criterions"


@pytest.fixture(scope="module")
def config(repo) -> dict[str, Any]:
    return yaml.safe_load((repo / "downstream/mos_prediction/config.yaml").read_text())["downstream_expert"]


def test_the_config_is_accepted(config):
    check_config(config)
    assert Settings.of(config).model.params["mean_net_dnn_dim"] == 64


@pytest.mark.parametrize(
    ("section", "field", "value", "sentence"),
    [
        ("datarc", "max_seconds", -1, "max_seconds must be above 0 and finite, not -1"),
        ("datarc", "max_seconds", float("inf"), "max_seconds must be above 0 and finite, not inf"),
        ("datarc", "train_csv", 5, "train_csv must be a text or a list of texts, not 5"),
        ("datarc", "dev_csv", [5], "dev_csv must be a text or a list of texts"),
        ("modelrc", "model_type", [1], "model_type must be a text"),
        ("modelrc", "model_params", [1], "model_params must be a section of fields"),
        ("modelrc", "num_domains", 0, "num_domains must be a whole number of at least 1"),
        ("modelrc", "symbols", [1], "symbols must be a text"),
        ("modelrc", "categorical_step", "x", "categorical_step must be a number"),
        ("modelrc", "categorical_step", 0, "categorical_step must be above 0"),
        ("modelrc", "init", 5, "init must be a section of fields"),
        ("modelrc", "normalize_features", "yes", "normalize_features must be True or False"),
        ("selection", "order", "up", "selection.order 'up'; valid: highest, lowest"),
        ("inference", "temperature", float("nan"), "temperature must be above 0"),
    ],
)
def test_an_impossible_value_is_one_sentence(section, field, value, sentence, config):
    given = deepcopy(config)
    given[section][field] = value
    with pytest.raises((ConfigError, UnknownNameError)) as caught:
        check_config(given)
    assert sentence in str(caught.value)


def test_a_model_type_is_needed(config):
    with pytest.raises(ConfigError, match="modelrc: field 'model_type' is missing"):
        check_config({**config, "modelrc": {}})


@pytest.mark.parametrize(
    ("model", "params", "losses", "sentence"),
    [
        ("SSLMOS", {}, {}, "mean_score_criterions is empty, and without a loss a head of SSLMOS would stay untrained"),
        ("SSLMOS", {}, {MEAN: SCALAR, LISTENER: SCALAR}, "listener_score_criterions has a loss, and SSLMOS has no head for it"),
        ("SSLMOS", {}, {MEAN: CLASSES}, "mean_score_criterions has CategoricalLoss for a head of scores"),
        ("SSLMOS", {}, {MEAN: SCALAR + CLASSES}, "mean_score_criterions has CategoricalLoss for a head of scores"),
        ("SSLMOS", {"mean_net_output_type": "categorical"}, {MEAN: SCALAR}, "must be CategoricalLoss for a categorical head"),
        ("SSLMOS", {"use_additional_categorical_head": True}, {MEAN: SCALAR}, "categorical_head_criterions is empty"),
        (
            "SSLMOS",
            {"mean_net_output_type": "categorical", "mean_net_output_step": 0.5},
            {MEAN: CLASSES},
            "categorical_step is 0.25 and mean_net_output_step 0.5",
        ),
        ("AlignNet", {"use_listener_modeling": True}, {MEAN: SCALAR}, "listener_score_criterions is empty"),
        ("UTMOS", {"use_listener_modeling": True}, {MEAN: SCALAR}, "mean_score_criterions has a loss, and UTMOS has no head for it"),
        ("LDNet", {"use_mean_net": True}, {LISTENER: SCALAR}, "mean_score_criterions is empty"),
        ("MBNet", {}, {MEAN: SCALAR}, "listener_score_criterions is empty"),
        ("SSLMOS_U", {}, {MEAN: SCALAR}, "the log variance of SSLMOS_U would stay untrained: model_type SSLMOS has none"),
        ("AlignNet_U", {}, {MEAN: SCALAR}, "without GaussianNLLLoss or LaplaceNLLLoss in lossrc.mean_score_criterions the log variance"),
        ("SSLMOS_U", {}, {}, "mean_score_criterions is empty"),
        (
            "SSLMOS",
            {},
            {MEAN: GAUSSIAN},
            "lossrc.mean_score_criterions has a loss of the variance, which only mean_score_criterions of SSL",
        ),
        ("LDNet", {}, {LISTENER: LAPLACE}, "lossrc.listener_score_criterions has a loss of the variance"),
        ("AlignNet_U", {"use_listener_modeling": True}, {LISTENER: SCALAR}, "AlignNet_U has no log variance with these model_params"),
        ("SSLMOS_U", {"mean_net_output_type": "categorical"}, {MEAN: CLASSES}, "these model_params: model_type SSLMOS is the same"),
    ],
)
def test_a_head_and_its_loss_belong_together(model, params, losses, sentence):
    criterions = {name: Criterion(losses.get(name), name) for name in (MEAN, LISTENER, HEAD)}
    with pytest.raises(ConfigError) as caught:
        check_heads(model, params, 0.25, criterions, "config")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("model", "params", "losses"),
    [
        ("SSLMOS_U", {}, {MEAN: GAUSSIAN}),
        ("AlignNet_U", {"use_domain_modeling": True}, {MEAN: SCALAR + LAPLACE}),
        ("SSLMOS", {"mean_net_output_type": "categorical"}, {MEAN: CLASSES}),
        ("SSLMOS", {"use_additional_categorical_head": True}, {MEAN: SCALAR, HEAD: CLASSES}),
        ("AlignNet", {"use_domain_modeling": True}, {MEAN: SCALAR}),
        ("LDNet", {}, {LISTENER: SCALAR}),
        ("MBNet", {}, {MEAN: SCALAR, LISTENER: SCALAR}),
    ],
)
def test_what_fits_passes(model, params, losses):
    check_heads(model, params, 0.25, {name: Criterion(losses.get(name), name) for name in (MEAN, LISTENER, HEAD)}, "config")


@pytest.mark.parametrize(
    ("losses", "sentence"),
    [
        (5, "must be a list of losses, not 5"),
        ([{"criterion_type": ["a"]}], "criterion_type"),
        ([{**SCALAR[0], "criterion_weight": "x"}], "criterion_weight must be a number"),
        ([{**SCALAR[0], "criterion_params": {"tau": "x"}}], "tau must be a number"),
        ([{**SCALAR[0], "criterion_params": {"order": 3}}], "order must be 1 or 2"),
    ],
)
def test_a_broken_list_of_losses_is_one_sentence(losses, sentence):
    with pytest.raises((ConfigError, UnknownNameError)) as caught:
        Criterion(losses, "lossrc.list")
    assert sentence in str(caught.value)


@pytest.mark.parametrize("block", [5, [16, 3, 72, 24], [16, 3, 16, 16, True, [1], 3, 1], ["a", 3, 16, 16, True, "RE", 3, 1]])
def test_a_broken_block_of_ldnet_is_one_sentence(block):
    with pytest.raises(ConfigError, match="encoder_bneck_configs must"):
        build_predictor("LDNet", {"encoder_bneck_configs": [block]}, 257, 2, None, "config")


def test_sizes_are_above_zero():
    for model, option in (("SSLMOS", "mean_net_dnn_dim"), ("AlignNet", "decoder_rnn_dim"), ("MBNet", "projector_dim")):
        with pytest.raises(ConfigError, match=f"{option} must be a whole number of at least 1, not 0"):
            build_predictor(model, {option: 0}, 4, 2, None, "config")


@pytest.mark.parametrize("init", [{"checkpoint": 5, "modules": ["ssl_model"]}, {"checkpoint": "a.pkl", "modules": "ssl_model"}])
def test_parts_of_another_training_are_named_as_texts(init):
    with pytest.raises(ConfigError, match=r"must be a (text|list of texts)"):
        begin_with_parts(init, torch.nn.Identity(), torch.nn.Identity())
