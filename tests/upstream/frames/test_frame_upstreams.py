"""What the frame-based upstreams promise beyond the recorded numbers, on small random checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.upstream.frames.tiny import KINDS, MEL, alone, bert, content, entry, saved
from upstream.registry import build
from utility.errors import CheckpointError, ConfigError, DataError

STATES = {"apc": 3, "vq_apc": 3, "npc": 7, "audio_albert": 3, "decoar": 1, "decoar_layers": 2}
HEADS = ("postnet", "vq_layers")
LEAST = {"tera": 201, "tera_chunked": 201, "audio_albert": 201}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("frames")
    return {kind: saved(content(kind), folder / f"{kind}.ckpt") for kind in KINDS}


def upstream_of(files: dict[str, str], kind: str, **options) -> nn.Module:
    return build(entry(kind), ckpt=files[kind], **options).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_batch_independent_states_equal_those_of_each_utterance_alone(files, wavs, kind):
    upstream = upstream_of(files, kind, batch_independent=True)
    wavs = [*wavs, torch.zeros(5000)]
    with torch.no_grad():
        together = upstream(wavs)
    published = alone(upstream_of(files, kind), wavs)
    assert upstream.batch_independent
    for index, (single, by_published) in enumerate(zip(alone(upstream, wavs), published, strict=True)):
        frames = single["hidden_states"][0].size(1)
        assert int(together["lengths"][index]) == int(single["lengths"][0]) == frames
        for ours, one, other in zip(together["hidden_states"], single["hidden_states"], by_published["hidden_states"], strict=True):
            assert torch.allclose(ours[index, :frames], one[0], atol=2e-5)
            assert torch.allclose(one, other, atol=2e-5)


@pytest.mark.parametrize("kind", ["npc", "tera", "tera_chunked"])
def test_as_published_the_batch_matters_and_the_attribute_says_so(files, wavs, kind):
    upstream = upstream_of(files, kind)
    assert not upstream.batch_independent
    with torch.no_grad():
        together = upstream(wavs)
    last, own = int(together["lengths"][2]) - 1, alone(upstream, wavs)[2]["last_hidden_state"]
    assert not torch.allclose(together["last_hidden_state"][2, last], own[0, last], atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("independent", [False, True])
def test_gradients_reach_the_network_and_the_waveform_but_not_the_heads(files, kind, independent):
    upstream = upstream_of(files, kind, batch_independent=independent).train()
    wavs = [torch.randn(n, generator=torch.Generator().manual_seed(n)).requires_grad_() for n in (5000, 3000)]
    sum((state * torch.linspace(0, 1, state.size(-1))).sum() for state in upstream(wavs)["hidden_states"]).backward()
    without = [name for name, parameter in upstream.model.named_parameters() if parameter.grad is None]
    assert all(name.startswith(HEADS) for name in without), without
    assert all(float(wav.grad.abs().sum()) > 0 for wav in wavs)


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_states_is_the_same_in_training_and_no_graph_is_built_when_frozen(files, wavs, kind):
    upstream = upstream_of(files, kind)
    with torch.no_grad():
        frozen = upstream(wavs)["hidden_states"]
    upstream.train()
    counts = {len(upstream(wavs)["hidden_states"]) for _ in range(3)}
    assert counts == {len(frozen)} == {STATES.get(kind, 3)}
    assert not any(state.requires_grad for state in frozen)


@pytest.mark.parametrize("kind", KINDS)
def test_short_and_long_input(files, kind):
    upstream = upstream_of(files, kind, batch_independent=True)
    noise = torch.randn(60 * 16000, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        result = upstream([noise, noise[:800]])
    assert result["lengths"].tolist() == ([6001, 6] if kind in LEAST else [5998, 3])
    assert all(torch.isfinite(state).all() and state.shape[:2] == (2, int(result["lengths"][0])) for state in result["hidden_states"])
    assert result["last_hidden_state"] is result["hidden_states"][-1]
    least = LEAST.get(kind, 400)
    upstream([noise[:least]])
    with pytest.raises(DataError, match=f"item 1 of the batch: {least - 1} samples are too short, {least} are needed"):
        upstream([noise[:800], noise[: least - 1]])


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_and_one_of_another_model_are_said_in_one_sentence(files, kind, tmp_path):
    whole = Path(files[kind]).read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"cut\.ckpt is truncated"):
        build(entry(kind), ckpt=str(tmp_path / "cut.ckpt"))
    for foreign in ({"state_dict": {}, "epoch": 2}, {"config": [1], "model": {}, "Transformer": 3, "Upstream_Config": 4}):
        with pytest.raises(CheckpointError, match=r"foreign\.ckpt is no checkpoint of"):
            build(entry(kind), ckpt=saved(foreign, tmp_path / "foreign.ckpt"))
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        build(entry(kind), ckpt=str(tmp_path / "absent.ckpt"))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_do_not_fit_are_named(files, kind, tmp_path):
    made = content(kind)
    weights = made["Transformer" if "Transformer" in made else "model"]
    last = [name for name in weights if name.endswith(("bias", "bias_hh_l1"))][-1]
    lacking = weights.pop(last)
    name = last.replace("backward_lstm.bias_hh_l1", "backward_lstms.1.bias_hh_l0")
    with pytest.raises(CheckpointError, match=f"do not fit: it lacks {name}"):
        build(entry(kind), ckpt=saved(made, tmp_path / "lacking.ckpt"))
    weights[last] = torch.cat([lacking, lacking])
    with pytest.raises(CheckpointError, match=f"of another shape: {name} is"):
        build(entry(kind), ckpt=saved(made, tmp_path / "shape.ckpt"))


@pytest.mark.parametrize("kind", ["apc", "npc", "tera"])
def test_unknown_weights_are_refused(kind, tmp_path):
    made = content(kind)
    made["Transformer" if kind == "tera" else "model"]["extra.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"it has the unknown extra\.weight"):
        build(entry(kind), ckpt=saved(made, tmp_path / "more.ckpt"))


@pytest.mark.parametrize(
    ("kind", "changes", "sentence"),
    [
        ("apc", {"num_layers": 0, "dropout": "x"}, "dropout must be of type float, not 'x'"),
        ("apc", {"num_layers": 0, "dropout": 1.5}, "num_layers must be positive, not 0; dropout must be 0 or more and below 1, not 1.5"),
        ("apc", {"vq": {"codebook_size": [4], "code_dim": [4]}}, "vq.code_dim sum up to 4, not to hidden_size 16"),
        ("apc", {"vq": {"codebook_size": 4}}, "the field code_dim is missing"),
        ("npc", {"kernel_size": 11}, "kernel_size 11 leaves nothing beside the 11 masked taps"),
        ("npc", {"activate": "reul"}, "unknown activate 'reul'; did you mean 'relu'"),
        ("npc", {"dim_bottleneck": 4}, "go without vq"),
        ("npc", {"vq": {"codebook_size": [4, 4], "code_dim": [16]}}, "one entry per group, not 2 and 1"),
    ],
)
def test_impossible_configs_in_a_file_are_said_by_field(kind, changes, sentence, tmp_path):
    made = content(kind)
    made["config"]["model"]["paras"].update(changes)
    with pytest.raises(ConfigError, match=sentence):
        build(entry(kind), ckpt=saved(made, tmp_path / "odd.ckpt"))


@pytest.mark.parametrize(
    ("section", "changes", "sentence"),
    [
        ("transformer", {"num_attention_heads": 3}, "hidden_size 16 must be even and a multiple of the 3 attention heads"),
        ("transformer", {"hidden_act": "glu"}, "unknown hidden_act 'glu'; did you mean 'gelu'"),
        ("transformer", {"input_dim": 90}, "input_dim is 90, but the features are 80 wide"),
        ("task", {"sequence_length": -1}, "sequence_length must be 0 or a number of frames, not -1"),
        ("audio", {"target_level": "loud"}, "target_level must be a number of dB, not 'loud'"),
        ("audio", {"target_level": 1e6}, "target_level must be a number of dB, not 1000000.0"),
        ("audio", {"win_ms": float("nan")}, "win_ms must be a number, not nan"),
        ("audio", {"win_sm": 25}, "unknown field win_sm; did you mean 'win_ms'"),
    ],
)
def test_impossible_transformer_configs_are_said_by_field(section, changes, sentence, tmp_path):
    made = bert(MEL, 80)
    made["Upstream_Config"][section].update(changes)
    with pytest.raises((ConfigError, CheckpointError), match=sentence):
        build("tera_local", ckpt=saved(made, tmp_path / "odd.ckpt"))
