"""Upstreams by URL: downloaded once, read offline from the cache, and again with ``refresh``; published names find the cached file."""

from __future__ import annotations

import io
import shutil
import time
from pathlib import Path

import pytest
import torch

from tests.upstream.recorded import GOLDEN
from tests.web_server import running
from upstream import registry
from upstream.registry import build
from utility.errors import DataError
from utility.experiment import download
from utility.experiment.rebuild import record_to_plain
from utility.experiment.unpickle import load_foreign

CASES = {  # an entry by URL and a published name of each reader of checkpoints
    "apc_url": ("vq_apc/ckpt.pt", "vq_apc_960hr"),
    "tera_url": ("tera_chunked/ckpt.pt", "tera"),
    "decoar_layers_url": ("decoar/ckpt.pt", "decoar"),
    "cpc_url": ("modified_cpc/ckpt.pt", "modified_cpc"),
    "vq_wav2vec_url": ("vq_wav2vec_gumbel/ckpt.pt", "vq_wav2vec"),
    "wav2vec2_url": ("wav2vec2_deepposconv/ckpt.pt", "wav2vec2_conformer_rope"),
    "hubert_url": ("hubert_multilabel/ckpt.pt", "hubert"),
    "wavlm_url": ("wavlm_large/ckpt.pt", "wavlm"),
}
EVERY = pytest.mark.parametrize("entry", CASES)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(download.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(download, "S3PRL_CACHE", tmp_path / "none")
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    return tmp_path / "cache"


def state_of(entry: str, ckpt: str | None = None, **options) -> torch.Tensor:
    with torch.no_grad():
        return build(entry, ckpt=ckpt, **options).eval()([torch.linspace(-0.1, 0.1, 8000)])["last_hidden_state"]


def halved(value):
    """Each tensor of floats by half, nested as it was."""
    if isinstance(value, torch.Tensor):
        return value / 2 if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: halved(item) for key, item in value.items()}
    return value


def other_weights(path: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(halved(record_to_plain(load_foreign(path))), buffer)
    return buffer.getvalue()


@EVERY
def test_a_url_is_downloaded_once_and_again_with_refresh(entry, monkeypatch):
    content = (GOLDEN / CASES[entry][0]).read_bytes()
    with running() as server:
        url, server.files["/m.pt?dl=1"] = server.url("/m.pt?dl=1"), content
        first, local = state_of(entry, url), state_of(entry, str(GOLDEN / CASES[entry][0]))
        server.files["/m.pt?dl=1"] = other_weights(GOLDEN / CASES[entry][0])
        assert torch.equal(first, local) and torch.equal(state_of(f"{entry}:{url}"), first)
        assert len(server.requests) == 1
        monkeypatch.setattr(download, "_STARTED", time.time() + 60)
        changed = state_of(entry, url, refresh=True)
        assert len(server.requests) == 2 and not torch.equal(changed, first)
    assert torch.equal(state_of(entry, url), changed)  # the server is gone
    with pytest.raises(DataError, match=r"cannot download http.*m\.pt"):
        state_of(entry, url, refresh=True)
    assert torch.equal(state_of(entry, url), changed)  # a refresh that failed takes nothing away


@EVERY
def test_a_published_name_reads_the_cached_file(entry, cache):
    file, name = CASES[entry]
    url = registry.find(name).kwargs["ckpt"]
    cache.mkdir()
    shutil.copy(GOLDEN / file, download.cached_path(url))
    assert download.cached_path(url).is_relative_to(cache)
    assert torch.equal(state_of(name), state_of(name, str(GOLDEN / file)))
