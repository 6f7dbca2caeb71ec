"""Checkpoints that would run code, and damaged ones, given to upstreams."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.upstream.fuzz import checkpoints, outcomes
from tests.upstream.recorded import GOLDEN
from upstream.registry import build
from utility.errors import ToolkitError, UnsafePickleError
from utility.experiment.rebuild import record_to_plain
from utility.experiment.unpickle import load_foreign

FILES = 120


class Hostile:
    """Would make a file when unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def write(content: Any, path: Path, form: str) -> None:
    """In one of the formats that checkpoints come in."""
    if form == "plain":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")


@pytest.mark.parametrize("form", ["zip", "legacy", "plain"])
@pytest.mark.parametrize(("entry", "path"), [pytest.param(*pair, id=pair[1].parent.name) for pair in checkpoints()])
def test_a_hostile_object_deep_in_a_checkpoint_is_refused_by_name(entry: str, path: Path, tmp_path: Path, form: str):
    """Beside the weights, so that everything that the upstream reads is there."""
    content = load_foreign(path)
    content["optimizer_history"] = [{"state": (1, {"nested": [Hostile(tmp_path / "mark")]})}]
    write(content, tmp_path / "ckpt.pt", form)
    with pytest.raises(UnsafePickleError, match=r"ckpt\.pt names posix\.mkdir"):
        build(entry, ckpt=str(tmp_path / "ckpt.pt"))
    assert not (tmp_path / "mark").exists()
    write({"mark": Hostile(tmp_path / "mark")}, tmp_path / "real.pt", form)
    pickle_of_it = pickle.dumps(Hostile(tmp_path / "mark"))
    pickle.loads(pickle_of_it)
    assert (tmp_path / "mark").exists(), "it would have worked"


GIANTS = [  # settings of which a net would fill any memory
    ("cpc_local", "modified_cpc", ("config", "hiddenEncoder"), 10**6),
    ("apc_local", "vq_apc", ("config", "model", "paras", "num_layers"), 2000),
    ("apc_local", "vq_apc", ("config", "model", "paras", "hidden_size"), 10**6),
    ("tera_local", "tera_chunked", ("Upstream_Config", "transformer", "intermediate_size"), 10**9),
    ("hubert_local", "hubert_multilabel", ("model_cfg", "encoder_ffn_embed_dim"), 10**9),
    ("wavlm_local", "wavlm_large", ("cfg", "encoder_ffn_embed_dim"), 10**9),
    ("vq_wav2vec_custom", "vq_wav2vec_gumbel", ("model_cfg", "vq_vars"), 10**9),
]


@pytest.mark.parametrize(("entry", "case", "keys", "size"), GIANTS, ids=lambda value: value if isinstance(value, str) else "")
def test_settings_make_no_net_larger_than_its_weights(entry, case, keys, size, tmp_path):
    content = record_to_plain(load_foreign(GOLDEN / case / "ckpt.pt"))
    section = content
    for key in keys[:-1]:
        section = section[key]
    assert keys[-1] in section
    section[keys[-1]] = size
    torch.save(content, tmp_path / "ckpt.pt")
    with pytest.raises(ToolkitError, match=r"ckpt\.pt"):
        build(entry, ckpt=str(tmp_path / "ckpt.pt"))


def test_damaged_checkpoints_are_sentences(tmp_path: Path):
    found = outcomes(FILES, 1, tmp_path)
    assert set(found) <= {"loaded", "refused"}, found
    assert found["refused"] > FILES / 2
