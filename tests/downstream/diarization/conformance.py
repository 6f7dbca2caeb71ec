"""The smallest form of the task, for the tests that every task has to pass."""

from __future__ import annotations

from pathlib import Path

from tests.downstream.diarization.layouts import SMALL_MODEL, kaldi_folders, override


def prepare(place: Path) -> dict[str, str]:
    """The tiny synthetic corpus, in chunks of three seconds."""
    folders = kaldi_folders("tiny", place)
    loader = "config.downstream_expert.loaderrc.train_batchsize=4,,config.downstream_expert.datarc.chunk_size=300"
    return {"upstream": "fbank", "override": f"{override(folders)},,{loader},,{SMALL_MODEL}"}
