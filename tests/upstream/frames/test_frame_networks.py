"""The networks by themselves: sizes of the published models, what each frame may see, quantiser, positions."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from tests.upstream.frames.tiny import APC, NPC, VQ_APC, shaken
from upstream.decoar.model import Decoar, reversed_items
from utility.networks.apc import Apc, ApcConfig
from utility.networks.npc import Npc, NpcConfig
from utility.networks.spectrogram_bert import SpectrogramBert, SpectrogramHead, TransformerConfig, sinusoids
from utility.networks.vector_quantizer import GroupedQuantizer, QuantizerConfig, VectorQuantizer

VQ_OF_APC = QuantizerConfig([512], [512], 0.5)
VQ_OF_NPC = QuantizerConfig([64] * 4, [128] * 4, 1.0)


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (lambda: Apc(80, ApcConfig()), 4_105_296),
        (lambda: Apc(80, ApcConfig(vq=VQ_OF_APC)), 4_630_096),
        (lambda: Npc(80, NpcConfig(vq=VQ_OF_NPC)), 19_380_560),
        (lambda: SpectrogramBert(80, TransformerConfig(num_hidden_layers=12)), 85_118_208),
        (lambda: SpectrogramBert(80, TransformerConfig()), 21_327_360),
        (lambda: SpectrogramBert(240, TransformerConfig()), 21_450_240),
        (lambda: SpectrogramBert(80, TransformerConfig(share_layer=True)), 7_151_616),
        (Decoar, 67_257_344),
    ],
)
def test_published_sizes(make, parameters):
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in make().parameters()) == parameters


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


def seen_by(encode, frames: torch.Tensor, at: int) -> set[int]:
    """Distances of the frames on which the last state at a frame depends."""
    frames = frames.clone().requires_grad_()
    encode(frames)[-1][0, at].sum().backward()
    return {int(t) - at for t in frames.grad[0].abs().sum(-1).nonzero()}


def test_apc_sees_the_past_alone():
    net = shaken(Apc(80, ApcConfig.of(APC, "test"))).eval()
    assert seen_by(lambda x: net.encode(x, torch.tensor([30])), noise(1, 30, 80), 12) == set(range(-12, 1))


@pytest.mark.parametrize("cross", [True, False])
def test_npc_sees_its_field_without_the_masked_frames(cross):
    config = NpcConfig.of({**NPC, "vq": None, "activate": "tanh", "disable_cross_layer": not cross}, "test")
    net = shaken(Npc(80, config)).eval()
    reach = (config.kernel_size - 1) // 2 + config.n_blocks
    assert seen_by(net.encode, noise(1, 60, 80), 30) == {d for d in range(-reach, reach + 1) if abs(d) > config.mask_size // 2}


def test_npc_shows_its_states_in_the_order_in_which_they_arise():
    net = shaken(Npc(80, NpcConfig.of(NPC, "test"))).eval()
    states = net.encode(noise(2, 20, 80))
    assert torch.allclose(states[-1], states[1] + states[3] + states[5], atol=1e-6)
    assert torch.equal(states[3], net.masked_convs[1](states[2].mT))
    last_alone = Npc(80, NpcConfig.of({**NPC, "disable_cross_layer": True}, "test"))
    assert len(last_alone.encode(noise(1, 20, 80))) == 5
    assert {name.split(".")[1] for name in last_alone.state_dict() if name.startswith("masked_convs")} == {"2"}


@pytest.mark.parametrize("paras", [APC, VQ_APC])
def test_apc_predicts_frames_from_the_last_layer(paras):
    net = shaken(Apc(80, ApcConfig.of(paras, "test"))).eval()
    prediction, layers = net(noise(2, 9, 80), torch.tensor([9, 4]))
    feature = layers[-1] if paras is APC else net.vq_layers(layers[-1])
    assert prediction.shape == (2, 9, 80) and torch.equal(prediction, net.postnet(feature))
    assert len(layers) == 3 and not layers[-1][1, 4:].any()


def test_npc_reconstructs_frames_through_codes_or_a_bottleneck():
    net = shaken(Npc(80, NpcConfig.of({**NPC, "vq": None, "dim_bottleneck": 4}, "test"))).eval()
    reconstruction, states = net(noise(2, 20, 80))
    assert states[-1].shape == (2, 20, 4) and reconstruction.shape == (2, 20, 80)
    assert Npc(80, NpcConfig.of(NPC, "test")).eval()(noise(2, 20, 80))[0].shape == (2, 20, 80)


def test_the_quantiser_takes_the_likeliest_entry_and_samples_in_training():
    quantizer = shaken(VectorQuantizer(6, 5, 0.5))
    features = noise(3, 4, 6).requires_grad_()
    codes = quantizer.eval()(features)
    entries = quantizer.codebook_CxE.weight.T
    assert torch.equal(codes, entries[quantizer.vq_logits(features).argmax(-1)])
    sampled = quantizer.train()(features)
    assert all(torch.isclose(code, entries, atol=1e-6).all(-1).any() for code in sampled.flatten(0, 1))
    sampled.square().sum().backward()
    assert float(features.grad.abs().sum()) > 0


def test_each_group_of_the_quantiser_takes_its_slice():
    groups = shaken(GroupedQuantizer(QuantizerConfig([4, 3], [2, 5]))).eval()
    features = noise(2, 7)
    assert torch.equal(groups(features), torch.cat([groups[0](features[:, :2]), groups[1](features[:, 2:])], dim=-1))


def test_positions_are_sines_and_cosines():
    table = sinusoids(50, 8)
    for p, j in ((0, 0), (0, 1), (7, 2), (49, 5), (31, 7)):
        angle = p / 10000 ** (2 * (j // 2) / 8)
        assert float(table[p, j]) == pytest.approx(math.cos(angle) if j % 2 else math.sin(angle), abs=1e-6)


def test_frames_that_are_not_valid_are_not_attended_to():
    net = shaken(SpectrogramBert(80, TransformerConfig(hidden_size=16, num_attention_heads=2, intermediate_size=32))).eval()
    frames, other = noise(2, 20, 80), noise(2, 20, 80)
    other[0, :20], other[1, :9] = frames[0, :20], frames[1, :9]
    valid = torch.tensor([20, 9])
    for one, two in zip(net(frames, valid), net(other, valid), strict=True):
        assert torch.allclose(one[0], two[0], atol=1e-5) and torch.allclose(one[1, :9], two[1, :9], atol=1e-5)


def test_the_head_reconstructs_spectra():
    config = TransformerConfig(hidden_size=16, num_attention_heads=2)
    head = shaken(SpectrogramHead(201, config))
    hidden = noise(2, 5, 16)
    expected = head.output(head.LayerNorm(F.gelu(head.dense(hidden))))
    assert head(hidden).shape == (2, 5, 201) and torch.equal(head(hidden), expected)
    assert set(head.state_dict()) == {f"{part}.{kind}" for part in ("dense", "LayerNorm", "output") for kind in ("weight", "bias")}


def test_initial_weights_have_the_configured_deviation():
    net = SpectrogramBert(80, TransformerConfig(hidden_size=64, num_attention_heads=2, initializer_range=0.05))
    weights = net.encoder.layer[0].attention.self.query
    assert float(weights.weight.detach().std()) == pytest.approx(0.05, rel=0.1) and not weights.bias.any()


def test_reversal_leaves_padding_where_it_is():
    frames = torch.arange(10.0).view(2, 5, 1)
    assert reversed_items(frames, torch.tensor([5, 3]))[..., 0].tolist() == [[4, 3, 2, 1, 0], [7, 6, 5, 8, 9]]


def test_decoars_directions_do_not_see_each_other():
    net = shaken(Decoar(80, 6, 2)).eval()
    forwards = seen_by(lambda x: [s[..., :6] for s in net(x, torch.tensor([20]))], noise(1, 20, 80), 8)
    backwards = seen_by(lambda x: [s[..., 6:] for s in net(x, torch.tensor([20]))], noise(1, 20, 80), 8)
    assert forwards == set(range(-8, 1)) and backwards == set(range(12))
