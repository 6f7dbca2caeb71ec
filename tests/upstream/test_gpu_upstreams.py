"""Upstreams on a CUDA device: the numbers of a CPU, mixed precision, gradients, trainings and the feature store. Needs nothing but one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from downstream.stored import Settings, StoredUpstream
from run_downstream import main
from tests.upstream.conv_transformer.cases import CORE, made
from tests.upstream.frames import tiny as frames
from tests.upstream.hf.tiny import save
from tests.upstream.recorded import GOLDEN
from tests.upstream.waveform_classics import tiny as classics
from upstream.featurizer import Featurizer
from upstream.registry import build
from utility.experiment.checkpoint import load

pytestmark = pytest.mark.gpu

DEVICE = "cuda"
HF = ("wav2vec2", "whisper")
TINY = (
    "config.runner.total_steps=4,,config.runner.eval_step=2,,config.runner.save_step=2,,config.runner.log_step=2,,config.runner.max_keep=9,,"
    "config.runner.tensorboard=False,,config.downstream_expert.datarc.sizes={'train':6,'dev':2,'test':2}"
)


def makers() -> dict[str, Callable[..., nn.Module]]:
    """By name, what builds an upstream with random or recorded weights in a folder of its own."""
    found: dict[str, Callable[..., nn.Module]] = {}
    for kind in frames.KINDS:
        found[kind] = lambda folder, kind=kind, **options: build(
            frames.entry(kind), ckpt=frames.saved(frames.content(kind), folder / "tiny.pt"), **options
        ).eval()
    for name in classics.NETS:
        found[name] = lambda folder, name=name, **options: classics.tiny(name, folder, **options)
    for name in CORE:
        found[name] = lambda folder, name=name, **options: made(name, GOLDEN / name, **options)
    for name in HF:
        found[f"hf-{name}"] = lambda folder, name=name, **options: [save(name, folder), build("hf", ckpt=str(folder), **options)][1].eval()
    return found


MAKERS = makers()


@pytest.mark.parametrize("independent", [False, True], ids=["published", "independent"])
@pytest.mark.parametrize("name", MAKERS)
def test_the_states_are_those_of_a_cpu(name, independent, tmp_path, wavs):
    upstream = MAKERS[name](tmp_path, batch_independent=independent)
    wavs = [wav.clamp(-1, 1) for wav in wavs if len(wav) > 3000]
    with torch.no_grad():
        on_cpu = upstream(wavs)
        on_gpu = upstream.to(DEVICE)([wav.to(DEVICE) for wav in wavs])
    assert [int(n) for n in on_gpu["lengths"]] == [int(n) for n in on_cpu["lengths"]]
    for ours, theirs in zip(on_gpu["hidden_states"], on_cpu["hidden_states"], strict=True):
        assert ours.device.type == DEVICE
        torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-2, atol=2e-2)  # TF32 convolutions


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.parametrize("name", MAKERS)
def test_mixed_precision_stays_near(name, dtype, tmp_path, wavs):
    upstream = MAKERS[name](tmp_path).to(DEVICE)
    wavs = [wav.to(DEVICE) for wav in wavs if len(wav) > 3000]
    with torch.no_grad():
        exact = upstream(wavs)["last_hidden_state"]
        with torch.autocast(DEVICE, dtype=dtype):
            rounded = upstream(wavs)["last_hidden_state"].float()
    assert torch.isfinite(rounded).all()
    assert torch.cosine_similarity(rounded.flatten(), exact.flatten(), dim=0) > 0.9


@pytest.mark.parametrize("name", MAKERS)
def test_gradients_reach_the_weights(name, tmp_path, wavs):
    upstream = MAKERS[name](tmp_path).to(DEVICE).train()
    upstream([wav.to(DEVICE) for wav in wavs if len(wav) > 3000])["last_hidden_state"].float().square().sum().backward()
    gradients = [p.grad for p in upstream.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def train(folder: Path, *flags: str) -> dict:
    words = ["-u", "wav2vec2_local", "-k", str(GOLDEN / "wav2vec2_deepposconv/ckpt.pt"), "-d", "example", "-p", str(folder), "-o", TINY]
    assert main([*words, "--device", DEVICE, *flags]) == 0
    return load(folder / "states-4.ckpt")


def test_a_resumed_fine_tuning_ends_equal(tmp_path):
    whole = train(tmp_path, "-f", "-s", "last_hidden_state")
    assert main(["-m", "train", "-e", str(tmp_path / "states-2.ckpt"), "--device", DEVICE]) == 0
    resumed = load(tmp_path / "states-4.ckpt")
    for part in ("Upstream", "Downstream"):
        for name, value in whole[part].items():
            assert torch.equal(value, resumed[part][name]), name


@pytest.mark.parametrize(("dtype", "tolerance"), [("fp32", 1e-5), ("fp16", 5e-3)])
def test_the_store_gives_the_states_of_each_utterance_alone(dtype, tolerance, tmp_path, wavs):
    upstream = made("wavlm_large", GOLDEN / "wavlm_large", batch_independent=True).to(DEVICE)
    featurizer, behind = (
        Featurizer(upstream, upstream_device=DEVICE, length_rule="own"),
        Settings(tmp_path, 1e9, "wavlm_url", dtype, None, DEVICE),
    )
    with torch.no_grad():
        alone = [featurizer([wav.to(DEVICE)], upstream([wav.to(DEVICE)]))[0] for wav in wavs]
        for _ in range(2):  # the second reads what the first has written
            stored = featurizer(wavs, StoredUpstream(upstream, behind).states(wavs, featurizer, training=False))
            for ours, theirs in zip(stored, alone, strict=True):
                assert ours.device.type == DEVICE
                torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
