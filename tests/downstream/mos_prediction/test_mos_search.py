"""Searches for neighbours: by torch and by faiss, in blocks, with entries as near as each other."""

from __future__ import annotations

import sys
from itertools import pairwise

import numpy as np
import pytest
import torch

from downstream.mos_prediction import neighbours
from downstream.mos_prediction.neighbours import SEARCHES, Datastore, Index, naive_knn, nearest_domains
from downstream.mos_prediction.settings import check_config
from tests.downstream.mos_prediction.conformance import REPO
from utility.errors import MissingDependencyError, UnknownNameError
from utility.experiment.config import load_config


@pytest.fixture(params=SEARCHES)
def by(request) -> str:
    """A search that is there."""
    if request.param == "faiss":
        pytest.importorskip("faiss")
    return request.param


def stored(count: int = 300, width: int = 16, offset: float = 0.0) -> tuple[Datastore, torch.Tensor]:
    """A datastore in which each fifth vector is there four times, and queries of which some are its entries."""
    rng = np.random.default_rng(0)
    entries = (rng.normal(0, 1, (count, width)) + offset).astype(np.float32)
    entries[1::5], entries[2::5], entries[4::5] = entries[::5], entries[::5], entries[::5]
    queries = np.concatenate([entries[:7], entries[50:90] + rng.normal(0, 0.3, (40, width))]).astype(np.float32)
    return Datastore([f"{i % 3}_{i}" for i in range(count)], entries, rng.uniform(1, 5, count)), torch.from_numpy(queries)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_the_nearest_are_those_of_all_distances(by, offset, monkeypatch):
    monkeypatch.setattr(neighbours, "NUMBERS", 3000)  # ten queries, by torch
    monkeypatch.setattr(neighbours, "PART", 70)
    store, queries = stored(offset=offset)
    found = Index(store, by).nearest(queries, 9)
    every = (torch.from_numpy(store.embeddings)[None] - queries[:, None]).square().sum(-1)
    wanted = every.sort(dim=1, stable=True)
    torch.testing.assert_close(found.squared, wanted.values[:, :9])
    assert found.indices.tolist() == wanted.indices[:, :9].tolist()
    assert found.indices[0, :4].tolist() == [0, 1, 2, 4]  # as near as each other: in the store's order


def test_more_neighbours_than_entries_are_all_of_them(by):
    store, queries = stored(count=90)
    found = Index(store, by).nearest(queries[:3], 100)
    assert [sorted(row) for row in found.indices.tolist()] == [list(range(90))] * 3
    assert all(before <= after for row in found.squared.tolist() for before, after in pairwise(row))


@pytest.mark.parametrize("weighting", neighbours.WEIGHTINGS)
def test_scores_and_domains_are_the_same_by_either(weighting):
    pytest.importorskip("faiss")
    store, queries = stored()
    one, other = Index(store), Index(store, "faiss")
    assert naive_knn(one, queries, 20, weighting).tolist() == naive_knn(other, queries, 20, weighting).tolist()
    assert nearest_domains(one, queries) == nearest_domains(other, queries)


def test_without_faiss_its_search_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingDependencyError, match=r"inference\.search: faiss needs the package 'faiss-cpu'.*pip install faiss-cpu$"):
        Index(stored()[0], "faiss")
    assert len(Index(stored()[0]).nearest(stored()[1], 1).indices) == len(stored()[1])


def test_another_search_names_the_nearest():
    config = load_config(REPO / "downstream/mos_prediction/config.yaml")["downstream_expert"]
    config["inference"]["search"] = "fais"
    with pytest.raises(UnknownNameError, match=r"inference\.search 'fais'; did you mean 'faiss'\?"):
        check_config(config)
    with pytest.raises(UnknownNameError, match="did you mean 'torch'"):
        Index(stored()[0], "troch")


@pytest.mark.gpu
def test_neighbours_on_a_gpu_are_those_of_the_cpu(by):
    store, queries = stored()
    wanted, found = Index(store).nearest(queries, 9), Index(store, by, "cuda").nearest(queries.cuda(), 9)
    assert found.squared.is_cuda
    assert found.indices.is_cuda
    torch.testing.assert_close(found.squared.cpu(), wanted.squared)
    assert found.indices.cpu().tolist() == wanted.indices.tolist()
