"""The expert against S3PRL's recorded outputs, its folds, and real speakers."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from downstream.emotion.corpus import CLASSES
from downstream.emotion.expert import DownstreamExpert
from downstream.emotion.model import MODELS
from tests.downstream.emotion.layouts import lay_out_emodb, with_lists, write_corpus
from tests.downstream.recorded import Log, assert_recorded_logs, assert_recorded_step, by_formula, params_of
from utility.errors import ConfigError, DataError, UnknownNameError
from utility.experiment import checkpoint

HEAD = {"projector_dim": 8, "select": "UtteranceLevel", "UtteranceLevel": {"pooling": "MeanPooling"}}


def make(expdir: Path, root: Path | None = None, modelrc: dict | None = None, datarc: dict | None = None, **kwargs: Any):
    fields = {"train_batch_size": 4, "eval_batch_size": 3, "num_workers": 0, **({"root": str(root)} if root else {}), **(datarc or {})}
    return DownstreamExpert(kwargs.pop("upstream_dim", 6), 160, {"datarc": fields, "modelrc": modelrc or HEAD}, str(expdir), **kwargs)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two sessions of ten recordings at 8 kHz."""
    return with_lists(write_corpus(tmp_path / "corpus", {"Session1": 10, "Session2": 10}, rate=8000))


@pytest.mark.parametrize("case", ["er_mean", "er_mean_pre_post_net", "er_deepmodel_cnn_selfattention"])
def test_recorded_step(golden, tmp_path: Path, capsys: pytest.CaptureFixture, case: str):
    folder = golden(f"tasks/heads/{case}")
    saved = checkpoint.load(folder / "state.pt")
    expert = make(tmp_path / "run", modelrc=saved["Config"]["downstream_expert"]["modelrc"]).eval()
    expert.load_state_dict(saved["Downstream"], strict=False)
    assert_recorded_step(expert, folder, capsys)


def test_recorded_logs(golden, tmp_path: Path, capsys: pytest.CaptureFixture):
    assert_recorded_logs(partial(make, tmp_path / "run"), golden("tasks/logs/log_records"), "emotion", capsys)


@pytest.mark.parametrize("case", ["er_deepnet", "er_fcn_formula_weights"])
def test_recorded_model(golden, case: str):
    folder = golden(f"tasks/heads/{case}")
    params, x = params_of(folder), torch.from_numpy(np.load(folder / "inputs.npz")["x"])
    model = MODELS[params["cls"]](**params["kwargs"]).eval()
    if "formula_init" in params:
        by_formula(model, params["formula_init"])
    else:
        model.load_state_dict(torch.load(folder / "state.pt", weights_only=True))
    logits = model(x, torch.full((len(x),), x.size(1)))
    np.testing.assert_allclose(logits.detach(), np.load(folder / "outputs.npz")["y0"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_the_length_of_a_batch_may_be_anything(tmp_path: Path, model: str):
    """S3PRL's mask fits only some lengths."""
    deep = {"model_type": model, "hidden_dim": 5, "kernel_size": 5, "padding": 2, "pooling": 3}
    expert = make(tmp_path, modelrc={"projector_dim": 6, "select": "DeepModel", "DeepModel": deep}).eval()
    for frames in range(1, 40):
        logits = expert.logits([torch.randn(frames, 6), torch.randn(12, 6)])
        assert logits.shape == (2, 4)
        assert logits.isfinite().all()


def test_shipped_configs(repo: Path, small: Path, tmp_path: Path):
    for name, select in (("config", "UtteranceLevel"), ("config", "DeepModel"), ("convolution", "UtteranceLevel")):
        config = yaml.safe_load((repo / f"downstream/emotion/{name}.yaml").read_text())
        config["downstream_expert"]["datarc"] |= {"root": str(small), "meta_data": None}
        config["downstream_expert"]["modelrc"]["select"] = select
        expert = DownstreamExpert(240, 160, expdir=tmp_path, mode="train", **config)
        assert expert.logits([torch.randn(30, 240), torch.randn(20, 240)]).shape == (2, 4)


def test_unknown_model(tmp_path: Path):
    with pytest.raises(UnknownNameError, match=r"model_type 'CNNSelfAttentoin'; did you mean 'CNNSelfAttention'"):
        make(tmp_path, modelrc={"projector_dim": 8, "select": "DeepModel", "DeepModel": {"model_type": "CNNSelfAttentoin"}})


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"padding": 3}, "CNNSelfAttention: padding must be at most half of kernel_size, 2, not 3"),
        ({"padding": -1}, "DeepModel: padding must be a whole number of at least 0, not -1"),
        ({"kernel_size": "5"}, "kernel_size must be a whole number of at least 1, not '5'"),
        ({"pooling": 0, "dropout": 2}, "pooling must be .* at least 1, not 0; dropout must be a number from 0 to 1, not 2"),
    ],
)
def test_wrong_settings_of_a_model(tmp_path: Path, given: dict, sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        make(tmp_path, modelrc={"projector_dim": 8, "select": "DeepModel", "DeepModel": {"model_type": "CNNSelfAttention", **given}})


@pytest.mark.parametrize(
    ("variant", "test_fold", "fold"),
    [("fold2", "fold1", "fold2"), (None, "fold2", "fold2"), (None, None, "fold1"), ("fold1", None, "fold1")],
)
def test_the_command_line_chooses_the_fold(small: Path, tmp_path: Path, variant: str, test_fold: str, fold: str):
    expert = make(tmp_path / "run", small, datarc={"test_fold": test_fold}, mode="train", downstream_variant=variant)
    names = {name for _, _, batch in expert.get_dataloader("test") for name in batch}
    assert {name[:5] for name in names} == {f"Ses0{fold[-1]}"}
    records = {"acc": [1.0], "loss": [0.1], "filename": ["a"], "predict": ["neu"], "truth": ["neu"]}
    log = Log()
    expert.log_records("test", records, log, 5, [0], 1)
    assert [tag for tag, _, _ in log] == [f"emotion-{fold}/test-{name}" for name in ("loss", "acc", "uar")]
    assert (tmp_path / f"run/test_{fold}_predict.txt").read_text() == "a neu\n"


def test_batches(small: Path, tmp_path: Path):
    expert = make(tmp_path, small, mode="train", runner={"eval_dataloaders": ["dev", "test"]})
    assert [len(names) for _, _, names in expert.get_dataloader("train")] == [4, 4]
    assert [len(names) for _, _, names in expert.get_dataloader("dev")] == [2]
    wavs, labels, names = next(iter(expert.get_dataloader("test")))
    assert [len(wav) for wav in wavs] == [4000] * 3
    assert (labels, names) == ([0, 1, 2], [f"Ses01F_impro01_F00{number}" for number in range(3)])


def test_unweighted_accuracy(tmp_path: Path):
    records = {"truth": ["neu"] * 8 + ["sad"] * 2, "predict": ["neu"] * 9 + ["sad"]}
    scores = make(tmp_path).further_scores(records)
    assert scores["uar"].value == pytest.approx((1 + 0.5) / 2)


def test_seeds_of_the_run_do_not_move_the_split_nor_the_split_the_run(small: Path, tmp_path: Path):
    splits, draws = [], []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        splits.append([item.name for item in make(tmp_path, small).corpus_of("train")])
        draws.append(torch.rand(1).item())
    assert splits[0] == splits[1] == splits[2]
    assert draws[0] == draws[2] != draws[1]


def test_a_checkpoint_answers_without_its_corpus(small: Path, tmp_path: Path):
    torch.save(make(tmp_path, small, mode="train").state_dict(), tmp_path / "state.pt")
    expert = make(tmp_path, mode="inference")
    expert.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    (answer,) = expert.inference([torch.randn(9, 6)], ["a.wav"])
    assert set(answer["probabilities"]) == set(CLASSES)
    assert answer["label"] in CLASSES


@pytest.mark.parametrize(
    ("datarc", "error", "sentence"),
    [
        ({"root": None}, ConfigError, "field 'root' is missing"),
        ({"roots": "x"}, ConfigError, "did you mean 'root'"),
        ({"valid_ratio": 1.2}, ConfigError, "valid_ratio must be a number between 0 and 1, not 1.2"),
        ({"root": "elsewhere", "meta_data": "nowhere"}, DataError, r"nowhere has no Session1/train_meta_data\.json"),
        ({"test_fold": "fold3"}, UnknownNameError, "unknown fold 'fold3'; did you mean 'fold2'"),
    ],
)
def test_wrong_fields(small: Path, tmp_path: Path, datarc: dict, error: type, sentence: str):
    with pytest.raises(error, match=sentence):
        make(tmp_path, small, datarc=datarc, mode="train")


def test_real_speakers(shared: Path, tmp_path: Path):
    """EmoDB's neutral, happy, angry and sad recordings; each fold tests on a speaker that it never heard."""
    root = lay_out_emodb(shared / "data/emodb/wav", tmp_path / "corpus")
    counts = Counter()
    for fold in range(1, 6):
        expert = make(tmp_path / "run", root, mode="train", downstream_variant=f"fold{fold}")
        speakers = {split: {item.name[:2] for item in expert.corpus_of(split)} for split in ("train", "dev", "test")}
        assert len(speakers["test"]) == 1 and not speakers["test"] & (speakers["train"] | speakers["dev"])
        counts.update(CLASSES[item.label] for item in expert.corpus_of("test"))
    assert counts == {"neu": 38, "hap": 28, "ang": 61, "sad": 27}
    wavs, _, _ = next(iter(expert.get_dataloader("test")))
    assert [len(wav) for wav in wavs] == [32000] * 3
