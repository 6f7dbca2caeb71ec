"""The smallest form of the task, for the tests that every task has to pass."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.downstream.mos_prediction.layouts import override, rated_tones

REPO = Path(__file__).resolve().parents[3]
VARIANTS = ("sslmos", "listeners", "segments")
SLOW = ("sslmos", "segments")  # what they share with the other is most of it


def prepare(place: Path, variant: str) -> dict[str, str]:
    """A dozen tones, and a predictor on means or one of listeners and data sets."""
    train, dev = rated_tones(place, "train"), rated_tones(place, "dev", seed=1)
    config = yaml.safe_load((REPO / "downstream/mos_prediction/config.yaml").read_text())
    expert = config["downstream_expert"]
    expert["selection"] |= {"keep_nbest_models": 1, "patience": 3}
    if variant == "listeners":
        model = {"use_listener_modeling": True, "listener_emb_dim": 3, "use_domain_modeling": True, "domain_emb_dim": 2}
        expert["modelrc"] = {"model_type": "AlignNet", "model_params": {**model, "decoder_rnn_dim": 4, "decoder_dnn_dim": 4}}
        expert["lossrc"] = {"listener_score_criterions": expert["lossrc"]["mean_score_criterions"]}
        expert["datarc"]["wav_only"], expert["inference"] = False, {"domain_idx": 0}
    if variant == "segments":
        expert["modelrc"] = {"model_type": "MBNet", "model_params": {"projector_dim": 8}}
        expert["lossrc"] = {
            "mean_score_criterions": [{"criterion_type": "SegmentLoss"}],
            "listener_score_criterions": [{"criterion_type": "UtteranceLoss"}],
        }
        expert["datarc"]["wav_only"] = False
    path = place / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return {"upstream": "fbank", "override": override(train, dev), "config": str(path), "split": "dev"}
