"""What a run does to the features on their way to the task, seen at the task's linear layer: precision, masks, normalisation."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from downstream.runner import Runner
from run_downstream import main
from tests.support.pipelines import untrained
from utility.training.loading import Place
from utility.training.packing import Extracted
from utility.training.seeding import Stream

PLUGIN = str(Path(__file__).resolve().parent / "plugins" / "hooked_task")
RUNNER = {"total_steps": 2, "gradient_clipping": 1, "log_step": 1, "eval_step": 2, "save_step": 2, "eval_dataloaders": ["dev"]}
MASKED = 5
SPECAUG = {
    "apply_time_warp": False,
    "apply_time_mask": False,
    "apply_freq_mask": True,
    "freq_mask_width_range": [MASKED, MASKED + 1],
    "num_freq_mask": 1,
}


@pytest.fixture
def seen(tmp_path, monkeypatch) -> Callable[..., dict[bool, list[tuple[Tensor, Tensor]]]]:
    """``seen(*flags, upstream=, amp=, specaug=)``: what goes in and out of the linear layer of a run, of training (True) and evaluation."""
    found: dict[bool, list[tuple[Tensor, Tensor]]] = {True: [], False: []}
    honest = nn.Linear.forward

    def watched(self: nn.Linear, features: Tensor) -> Tensor:
        result = honest(self, features)
        if self.out_features == 1:  # the task's
            found[self.training].append((features.detach().clone(), result.detach().clone()))
        return result

    def run(*flags: str, upstream: str = "mel", amp: str | None = None, specaug: dict | None = None) -> dict:
        for passes in found.values():
            passes.clear()
        config = {"runner": {**RUNNER, "tensorboard": False, "amp": amp}, "optimizer": {"name": "Adam"}, "downstream_expert": {}}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config | ({"specaug": specaug} if specaug else {})))
        argv = ["-u", upstream, "-d", PLUGIN, "-c", str(tmp_path / "config.yaml"), "-p", str(tmp_path / "run"), "--device", "cpu"]
        with monkeypatch.context() as patch:
            patch.setattr(nn.Linear, "forward", watched)
            assert main([*argv, *flags]) == 0
        assert all(found.values())
        return found

    return run


def test_mixed_precision_computes_in_it(seen):
    for amp, wanted in ((None, torch.float32), ("bf16", torch.bfloat16)):
        assert {result.dtype for passes in seen(amp=amp).values() for _, result in passes} == {wanted}


def masked(features: Tensor) -> int:
    """How many dimensions are zero in every frame."""
    return int((features == 0).all(dim=0).sum())


def test_specaug_masks_in_training_alone_and_only_if_configured(seen):
    passes = seen(specaug=SPECAUG)
    assert {masked(features) for features, _ in passes[True]} == {MASKED}
    assert {masked(features) for features, _ in passes[False]} == {0}
    assert {masked(features) for passes in seen().values() for features, _ in passes} == {0}


def test_layers_are_normalised_if_it_is_asked_for(seen):
    """A weighted sum of layers whose frames have mean 0 has frames with mean 0."""
    means = {}
    for flags in ((), ("--upstream_feature_normalize",)):
        passes = seen(*flags, upstream="example")
        means[flags] = max(features.mean(dim=-1).abs().max().item() for each in passes.values() for features, _ in each)
    assert means[("--upstream_feature_normalize",)] < 1e-5
    assert means[()] > 1e-2


@pytest.mark.parametrize("compiled", [False, True])
def test_loader_workers_leave_a_compiled_upstream_to_the_main_process(compiled, tmp_path, monkeypatch):
    """They are daemons, which may not start the processes of the compiler."""
    monkeypatch.setattr(nn.Module, "compile", lambda self: None)
    options = f"config.runner.compile={compiled},,config.downstream_expert.datarc.num_workers=1"
    pipeline = untrained("example", tmp_path, "-o", f"{options},,config.downstream_expert.datarc.sizes.test=1")
    (batch,) = pipeline.open_pass("test", Place(1, Stream.EVALUATION, "test")).batches
    assert isinstance(batch, Extracted) is not compiled


def test_a_result_that_cannot_be_printed_is_written(tmp_path, monkeypatch):
    def full(self: Runner, line: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Runner, "_say", full)
    (tmp_path / "config.yaml").write_text("downstream_expert: {}")
    argv = ["-m", "evaluate", "-t", "dev", "-u", "mel", "-d", PLUGIN, "-c", str(tmp_path / "config.yaml"), "-p", str(tmp_path / "run")]
    assert main([*argv, "--device", "cpu"]) == 2
    assert json.loads((tmp_path / "run/results/initial/dev.json").read_text())["items"] == 6
