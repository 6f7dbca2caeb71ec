"""Batch independence, gradients, train mode, short and long inputs of the convolution + Transformer family."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from tests.upstream.conv_transformer.cases import CORE, ENTRIES, made
from tests.upstream.recorded import GOLDEN, ROOT
from utility.features.waves import WaveError
from utility.networks import transformer_net
from utility.networks.transformer_net import independent_run, masked_run

CLOSE = {"rtol": 1e-4, "atol": 2e-5}
LENGTHS = (6100, 2600, 4520, 2600, 800)


@pytest.fixture
def folder(golden, request):
    return request.param, golden(f"upstreams/{request.param}")


def each(*names: str):
    return pytest.mark.parametrize("folder", names, indirect=True)


def waves(*lengths: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [0.1 * torch.randn(n, generator=generator) + 0.02 for n in lengths]


def own_frames(result: dict) -> list[list[Tensor]]:
    """The own frames of each item, of each state."""
    return [[state[i, :n] for state in result["hidden_states"]] for i, n in enumerate(result["lengths"].tolist())]


def assert_same(ours: list[list[Tensor]], theirs: list[list[Tensor]]) -> None:
    for item, other in zip(ours, theirs, strict=True):
        for state, reference in zip(item, other, strict=True):
            torch.testing.assert_close(state, reference, **CLOSE)


@each(*ENTRIES)
def test_padding_changes_nothing_where_batches_are_independent(folder):
    upstream = made(*folder, batch_independent=True)
    assert upstream.batch_independent
    batch = waves(*LENGTHS)
    with torch.no_grad():
        together, alone = upstream(batch), [upstream([wav]) for wav in batch]
    assert together["lengths"].tolist() == [one["last_hidden_state"].size(1) for one in alone]
    assert_same(own_frames(together), [own_frames(one)[0] for one in alone])


@each(*CORE, "wav2vec2_large", "distilhubert")
def test_a_mask_gives_the_same_as_no_padding(folder):
    net = made(*folder, batch_independent=True).net
    if not net.maskable:
        assert folder[0] == "wav2vec2_deepposconv"
        return
    batch = waves(*LENGTHS)
    with torch.no_grad():
        masked = masked_run(net, batch, net.encoded)
        for state, reference in zip(masked, independent_run(net, batch, net.encoded), strict=True):
            torch.testing.assert_close(state, reference, **CLOSE)


@each(*(name for name in ENTRIES if name != "decoar2"))
@pytest.mark.parametrize("independent", [False, True], ids=["published", "independent"])
def test_a_frozen_net_gives_what_one_with_a_graph_gives(folder, independent, monkeypatch):
    """Item by item beside the whole batch: padded frames too."""
    calls = []
    honest = transformer_net.frozen_run
    monkeypatch.setattr(transformer_net, "frozen_run", lambda *args: [calls.append(1), honest(*args)][1])
    upstream, batch = made(*folder, batch_independent=independent), waves(*LENGTHS, 3300)
    with_graph = upstream(batch)["hidden_states"]
    assert not calls
    with torch.no_grad():
        frozen = upstream(batch)["hidden_states"]
    assert calls
    for state, reference in zip(frozen, with_graph, strict=True):
        torch.testing.assert_close(state, reference.detach(), **CLOSE)


@each("hubert_multilabel")
def test_the_published_padding_is_the_default(folder):
    upstream, batch = made(*folder), waves(*LENGTHS)
    assert not upstream.batch_independent
    with torch.no_grad():
        together, alone = own_frames(upstream(batch))[1], own_frames(upstream([batch[1]]))[0]
    assert (together[0] - alone[0]).abs().max() > 1e-3


def gradients(upstream: torch.nn.Module, batch: list[Tensor]) -> dict[str, Tensor]:
    """Of the mean square of all states, by parameter; train mode, with fixed dropout."""
    torch.manual_seed(0)
    upstream.train()
    sum(state.square().mean() for state in upstream(batch)["hidden_states"]).backward()
    return {name: p.grad for name, p in upstream.named_parameters() if p.grad is not None}


@each(*ENTRIES)
def test_train_mode_keeps_the_states_and_every_weight_learns(folder):
    batch = waves(2600, 1900)
    upstream = made(*folder, **({} if folder[0] == "decoar2" else {"feature_grad_mult": 1.0}))
    with torch.no_grad():
        states = len(upstream(batch)["hidden_states"])
    for _ in range(3):
        assert len(upstream.train()(batch)["hidden_states"]) == states
    assert gradients(upstream, batch).keys() == {name for name, _ in upstream.named_parameters()}


@each("hubert_multilabel")
def test_the_convolutions_are_frozen_unless_asked_for(folder):
    batch, of = waves(2600, 1900), {}
    for mult in (0.0, 0.1, 1.0):
        of[mult] = gradients(made(*folder, feature_grad_mult=mult), batch)
    convolutions = [name for name in of[1.0] if "feature_extractor" in name]
    assert convolutions and not any(name in of[0.0] for name in convolutions)
    for name in of[1.0]:
        torch.testing.assert_close(of[0.1][name], of[1.0][name] * (0.1 if name in convolutions else 1.0))


@each("distilhubert")
def test_the_distiller_scales_as_its_checkpoint_says(folder):
    batch = waves(2600)
    scaled, whole = (gradients(made(*folder, **options), batch) for options in ({}, {"feature_grad_mult": 1.0}))
    name = next(name for name in whole if "feature_extractor" in name)
    torch.testing.assert_close(scaled[name], whole[name] * 0.1)


@each(*CORE, "wav2vec2_conformer_relpos", "distilhubert", "decoar2")
def test_gradient_checkpointing_changes_no_gradient(folder):
    batch = waves(2600, 1900)
    plain, recomputed = (gradients(made(*folder, gradient_checkpointing=on), batch) for on in (False, True))
    assert plain.keys() == recomputed.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient)


@each("wav2vec2_large")
def test_hooked_outputs_carry_gradients(folder):
    upstream = made(*folder, feature_selection="fairseq_layers_before_residual", gradient_checkpointing=True)
    assert any("output_dense" in name for name in gradients(upstream, waves(2600)))
    assert not any(module._forward_hooks for module in upstream.modules())


@each(*CORE, "unispeech_sat_base", "wav2vec2_conformer_rope")
def test_no_graph_and_no_random_number(folder):
    before = torch.get_rng_state()
    upstream = made(*folder)
    with torch.no_grad():
        result = upstream(waves(1000))
    assert torch.equal(before, torch.get_rng_state())
    assert not any(state.requires_grad for state in result["hidden_states"])
    assert result["_hidden_states_info"][-1] == "self.model.encoder"
    assert all(result[f"hidden_state_{i}"] is state for i, state in enumerate(result["hidden_states"]))
    assert result["last_hidden_state"] is result["hidden_states"][-1]


@each(*CORE, "wav2vec2_conformer_rope", "distilhubert", "decoar2")
def test_short_and_long_waveforms(folder):
    upstream = made(*folder)
    with torch.no_grad():
        assert upstream(waves(800))["last_hidden_state"].shape[1] == 2
        frames = upstream(waves(16000 * 60))["last_hidden_state"].shape[1]
    assert abs(frames - 3000) <= 1


@each(*CORE, "distilhubert", "decoar2")
def test_too_short_ones_are_refused_by_their_index(folder):
    with pytest.raises(WaveError, match=r"item 1 .*, 400 are needed for one frame"):
        made(*folder)(waves(500, 399))


# Not those with an even position convolution: oneDNN's bfloat16 is wrong for groups of fewer than 16 channels, which only tiny nets have.
@each("wav2vec2_deepposconv", "wav2vec2_noproj_oddpos", "wav2vec2_conformer_relpos", "wav2vec2_conformer_rope")
def test_autocast(folder):
    upstream, batch = made(*folder), waves(6100, 2600)
    with torch.no_grad():
        single = upstream(batch)["last_hidden_state"]
        with torch.autocast("cpu", torch.bfloat16):
            half = upstream(batch)["last_hidden_state"]
    assert (half.float() - single).abs().mean() < 0.05 * single.abs().mean()


@each("wav2vec2_conformer_rope")
def test_rotary_positions_follow_the_model_to_another_type(folder):
    upstream, batch = made(*folder), waves(2600)
    with torch.no_grad():
        upstream(batch)
        positions = upstream.double().model.encoder.embed_positions
        upstream.net.encoded(torch.randn(1, 7, 32, dtype=torch.float64), None)
    assert positions.cached_rotary_positional_embedding.dtype == torch.float64


def test_building_one_leaves_torchaudio_usable(tmp_path):
    """Its constants once ended on the meta device, where the nets are built."""
    code = (
        "import sys, torch; from upstream.registry import build; build('wav2vec2_local', ckpt=sys.argv[1]);"
        "from torchaudio.compliance import kaldi; assert torch.isfinite(kaldi.fbank(torch.randn(1, 16000))).all()"
    )
    subprocess.run([sys.executable, "-c", code, str(GOLDEN / "wav2vec2_deepposconv/ckpt.pt")], check=True, cwd=ROOT)
