"""What a training would stumble over at its first evaluation is said before its first step."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from downstream.mos_prediction.expert import DownstreamExpert
from downstream.mos_prediction.vcc import read_2016
from tests.downstream.mos_prediction.layouts import rated_tones
from utility.errors import ConfigError, DataError

ALIGNNET = ("AlignNet", {"use_domain_modeling": True, "domain_emb_dim": 2, "use_decoder_rnn": False, "decoder_dnn_dim": 2})
SIZES = {f"phoneme_encoder_{name}": 2 for name in ("dim", "emb_dim", "out_dim", "n_lstm_layers")}
UTMOS = ("UTMOS", {**SIZES, "use_decoder_rnn": False, "decoder_dnn_dim": 2})


def begun(place: Path, model: tuple[str, dict], dev: dict[str, str], **more: object) -> DownstreamExpert:
    """A training whose dev set has other values in these columns."""
    tables = {name: rated_tones(place, name, systems=2, samples=1) for name in ("train", "dev")}
    for name, path in tables.items():
        with path.open(newline="") as file:
            rows = [{**row, "phoneme": "ab", "reference": "b", **(dev if name == "dev" else {})} for row in csv.DictReader(file)]
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    config = {
        "datarc": {f"{name}_csv": str(path) for name, path in tables.items()},
        "modelrc": {"model_type": model[0], "model_params": model[1], **more},
        "lossrc": {"mean_score_criterions": [{"criterion_type": "ScalarLoss"}]},
    }
    return DownstreamExpert(4, 160, config, str(place), mode="train", runner={"eval_dataloaders": ["dev"]})


@pytest.mark.parametrize(
    ("model", "dev", "sentence"),
    [
        (ALIGNNET, {"domain_idx": "2"}, r"dev_csv: the sample s0u0 is of data set 2; this predictor needs one of 0 to 1"),
        (ALIGNNET, {"domain_idx": ""}, r"dev_csv: the sample s0u0 has no domain_idx; this predictor needs one of 0 to 1"),
        (UTMOS, {"phoneme": ""}, r"dev_csv: the sample s0u0 has no phoneme"),
        (UTMOS, {"reference": ""}, r"dev_csv: the sample s0u0 has no reference"),
        (UTMOS, {"reference": "bß"}, r"dev_csv: the reference of the sample s0u0 has 'ß', which is not among the symbols"),
    ],
)
def test_a_dev_set_that_cannot_be_scored(model, dev, sentence, tmp_path):
    with pytest.raises(DataError, match=sentence):
        begun(tmp_path, model, dev, symbols="_ab")


def test_texts_that_nothing_reads_may_be_missing(tmp_path):
    expert = begun(tmp_path, (UTMOS[0], {**UTMOS[1], "use_reference": False}), {"reference": "", "domain_idx": ""}, symbols="_ab")
    assert {(sample.phoneme, sample.reference) for sample in expert.corpus_of("dev")} == {("ab", None)}


def test_phonemes_need_their_symbols(tmp_path):
    with pytest.raises(ConfigError, match="field 'symbols' is missing"):
        begun(tmp_path, UTMOS, {})


@pytest.mark.parametrize("score", ["nan", "inf", "good"])
def test_a_score_of_a_system_is_a_number(score, tmp_path):
    (tmp_path / "unified_speech").mkdir()
    (tmp_path / "unified_speech/A_1.wav").touch()
    (tmp_path / "system_mos.csv").write_text(f"A\n{score}\n")
    with pytest.raises(DataError, match=f"the A '{score}' is no number"):
        read_2016(tmp_path, "field")
