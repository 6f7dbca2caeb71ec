"""S3PRL's hf_wav2vec2_custom and hf_hubert_custom against their recorded outputs."""

from __future__ import annotations

import pytest

from tests.upstream.recorded import GOLDEN, Case, manifest
from upstream.registry import build

CORE = "hf_hubert"


@pytest.mark.parametrize("form", ["own name", "hf", "hf:FOLDER"])
@pytest.mark.parametrize("name", ["hf_wav2vec2", CORE])
def test_states(golden, name, form):
    case = Case(name, golden(f"upstreams/{name}"), manifest()["cases"][name])
    folder = str(case.folder / "model")
    upstream = build(f"hf:{folder}") if form == "hf:FOLDER" else build("hf" if form == "hf" else f"{name}_custom", ckpt=folder)
    case.assert_states(upstream)
    case.assert_featurizer(lambda: upstream)


def test_the_core_lies_in_the_repository():
    assert (GOLDEN / CORE / "model" / "model.safetensors").is_file()
