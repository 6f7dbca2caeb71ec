"""What the classifiers of whole recordings hear of a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.support.pipelines import noises, untrained

ATTENTIVE = "config.downstream_expert.modelrc.UtteranceLevel.pooling=AttentivePooling"


@pytest.mark.parametrize(
    ("task", "more"),
    [
        ("speech_commands", []),
        ("fluent_commands", []),
        ("emotion", ["-o", ATTENTIVE]),
        ("emotion", ["-c", "downstream/emotion/convolution.yaml"]),
    ],
)
@torch.no_grad()
def test_an_answer_does_not_depend_on_its_batch(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, more: list[str]):
    """S3PRL's rule of lengths leaves up to two frames of padding in all but the longest: 186 frames in place of 185, 50 in place of 48."""
    monkeypatch.chdir(repo)
    pipeline, wavs = untrained(task, tmp_path, *more), noises(30080, 29840, 8000)
    together = pipeline.extract(wavs)
    assert [len(feature) for feature in together] == [186, 185, 48]
    alone = [pipeline.downstream.logits(pipeline.extract([wav])) for wav in wavs]
    torch.testing.assert_close(pipeline.downstream.logits(together), torch.cat(alone), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_s3prls_pooling_comes_with_s3prls_frames(tmp_path: Path):
    pipeline = untrained("emotion", tmp_path, "-o", f"{ATTENTIVE},,config.downstream_expert.modelrc.UtteranceLevel.published=True")
    assert [len(feature) for feature in pipeline.extract(noises(30080, 29840, 8000))] == [186, 186, 50]


@torch.no_grad()
def test_a_recording_in_which_an_upstream_finds_nothing_is_a_frame_of_padding(repo: Path, tmp_path: Path):
    """mel counts frames up to the last sample that is not zero."""
    config = repo / "downstream/emotion/convolution.yaml"
    pipeline, wav = untrained("emotion", tmp_path, "-c", str(config), upstream="mel"), torch.zeros(8000)
    wav[3] = 0.1
    (alone,) = pipeline.downstream.logits(pipeline.extract([wav]))
    together = pipeline.downstream.logits(pipeline.extract([wav, *noises(8000)]))
    assert alone.isfinite().all()
    torch.testing.assert_close(together[0], alone, rtol=1e-5, atol=1e-6)
