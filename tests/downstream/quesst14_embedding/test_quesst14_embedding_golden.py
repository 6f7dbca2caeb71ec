"""What S3PRL recorded: segments of recordings, embeddings, the loss of a batch, the answers of a search."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch

from downstream.blocks.detection import publish
from downstream.quesst14_embedding.dataset import EFFECTS, SEGMENT, segments_of
from downstream.quesst14_embedding.expert import DownstreamExpert, answers_of
from downstream.quesst14_embedding.model import Model
from utility.audio.effects import apply_effects
from utility.metrics.detection_files import read_stdlist


def test_segments(golden):
    """Of recordings whose n-th sample is n."""
    folder = golden("tasks/batching/quesst_embedding_segments")
    expected = json.loads((folder / "outputs.json").read_text())
    assert [case["n"] for case in expected] == json.loads((folder / "params.json").read_text())["lengths"]
    for case in expected:
        segments = segments_of(torch.arange(case["n"], dtype=torch.float32))
        assert segments.shape == (case["segments"], SEGMENT)
        assert segments[:, 0].tolist() == case["first_sample_of_each"]
        assert (segments[-1] == 0).sum() == case["tail_zeros"]


def test_embeddings_with_recorded_weights(golden):
    folder = golden("tasks/heads/quesst_embedding_model")
    model = Model(**json.loads((folder / "params.json").read_text())["kwargs"])
    model.load_state_dict(torch.load(folder / "state.pt", weights_only=True))
    with torch.no_grad():
        found = model.eval()(torch.from_numpy(np.load(folder / "inputs.npz")["x"]))
    np.testing.assert_allclose(found, np.load(folder / "outputs.npz")["y0"], rtol=1e-4, atol=1e-5)


class Embedded(DownstreamExpert):
    """Features are embeddings already."""

    def embed(self, features: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(features)


@pytest.fixture
def scoring(golden) -> Path:
    return golden("tasks/qbe/embedding_scoring")


@pytest.fixture
def embedded(tmp_path) -> Embedded:
    settings = {"datarc": {"batch_size": 2}, "modelrc": {"bottleneck_dim": 2, "hidden_dim": 2, "num_layers": 1}}
    return Embedded(5, 160, settings, str(tmp_path))


def test_loss_and_records_of_a_batch(scoring, embedded):
    params, expected = (json.loads((scoring / f"{name}.json").read_text()) for name in ("params", "outputs"))
    embeddings = torch.from_numpy(np.load(scoring / "inputs.npz")["train_embs"])
    counts = np.diff(params["prefix_sums"]).tolist()
    assert len(counts) == params["batch_size"]
    records: dict[str, list] = defaultdict(list)
    loss = embedded("train", list(embeddings), ["-"] * len(embeddings), counts, params["labels"], records=records)
    np.testing.assert_allclose(loss, np.load(scoring / "outputs.npz")["loss"], rtol=1e-4)
    assert records == {name: pytest.approx(values, rel=1e-4) for name, values in expected["records"].items()}


def test_scores_and_decisions_of_a_search(scoring, embedded, tmp_path):
    params, arrays = json.loads((scoring / "params.json").read_text()), np.load(scoring / "inputs.npz")
    records: dict[str, list] = defaultdict(list)
    for letter, names in (("q", params["query_names"]), ("d", params["doc_names"])):
        for index, name in enumerate(names):
            segments = torch.from_numpy(arrays[f"{letter}{index}"])
            embedded("test", list(segments), [name] * len(segments), [len(segments)], [letter == "q"], records=records)
    path = publish(answers_of(records), tmp_path / "test", tmp_path)
    found, expected = read_stdlist(path), read_stdlist(scoring / "outputs_files/benchmark.stdlist.xml")
    assert found.keys() == expected.keys()
    for trial, detection in expected.items():
        assert found[trial].score == pytest.approx(detection.score, abs=1.5e-4)
        assert found[trial].decision == detection.decision


@pytest.mark.parametrize("case", ["sox_effects_ks_word", "sox_effects_speech", "sox_effects_speech2"])
def test_loudness(golden, case):
    folder = golden(f"tasks/ks/{case}")
    params, wav = json.loads((folder / "params.json").read_text()), np.load(folder / "inputs.npz")["wav"] / 32768
    assert [list(effect) for effect in EFFECTS] == params["effects"]["qbe_embedding_norm"]
    found, _ = apply_effects(wav, params["sample_rate"], EFFECTS)
    np.testing.assert_allclose(found, np.load(folder / "outputs.npz")["qbe_embedding_norm"].squeeze(), rtol=0, atol=2e-5)
