"""CPC, PASE+, wav2vec and vq-wav2vec against outputs recorded from S3PRL 0.4.18."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.upstream.recorded import Case, manifest
from upstream.registry import build

FILES = [
    ("modified_cpc", "cpc_local", "ckpt.pt"),
    ("cpc_gru_batchnorm", "cpc_local", "ckpt.pt"),
    ("pase_plus", "pase_local", "ckpt.pt"),
    ("wav2vec", "wav2vec_local", "ckpt.pt"),
    ("wav2vec", "wav2vec_custom", "ckpt_fairseq_args.pt"),
    ("vq_wav2vec_gumbel", "vq_wav2vec_custom", "ckpt.pt"),
    ("vq_wav2vec_gumbel", "vq_wav2vec_local", "ckpt_fairseq_args.pt"),
    ("vq_wav2vec_kmeans", "vq_wav2vec_custom", "ckpt.pt"),
    ("vq_wav2vec_kmeans", "vq_wav2vec_local", "ckpt_fairseq_args.pt"),
]


def test_every_recorded_checkpoint_is_listed():
    cases = manifest()["cases"]
    recorded = {(case, file) for case in {case for case, _, _ in FILES} for file in cases[case]["ckpt_files"] if file.endswith(".pt")}
    assert {(case, file) for case, _, file in FILES} == recorded


@pytest.fixture(params=FILES, ids=lambda param: f"{param[0]}-{param[2]}")
def recorded(request, golden):
    """The case and what builds its upstream."""
    name, entry, file = request.param
    folder: Path = golden(f"upstreams/{name}")
    config = folder / "model.cfg"
    arguments = {"ckpt": str(folder / file), "model_config": str(config) if config.exists() else None}
    return Case(name, folder, manifest()["cases"][name]), lambda: build(entry, **arguments).eval()


def test_states_and_other_keys(recorded):
    case, make = recorded
    case.assert_states(make())


def test_featurizer_and_padded_interface(recorded):
    case, make = recorded
    case.assert_featurizer(make)
    case.assert_padded(make())
