"""DiffWave: the schedule of its noise, its networks, training and drawing. The networks themselves are unverified against public code."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from downstream.audio_generation.models.diffusion import linear, loss, noised, sample, short
from downstream.audio_generation.models.diffwave import build_diffwave
from utility.errors import ConfigError, DataError, UnknownNameError

SMALL = {
    "wavenet": {"backbone": "wavenet", "res_channels": 8, "skip_channels": 6, "num_res_layers": 3, "dilation_cycle": 2},
    "sashimi": {"backbone": "sashimi", "d_model": 8, "n_layers": 1, "pool": [2, 2], "layer": {"d_state": 4}, "L": 64},
    "snet": {"backbone": "sashimi", "d_model": 8, "n_layers": 1, "pool": [2], "unet": False, "layer": {"d_state": 4}, "L": 64},
}
FAST = [1e-4, 1e-3, 1e-2, 0.05, 0.2, 0.5]


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


def small(backbone, **fields):
    return build_diffwave({**SMALL[backbone], "diffusion_step_embed_dim_mid": 16, "diffusion_step_embed_dim_out": 16, **fields}, "modelrc")


def disturbed(backbone, **fields):
    """A network whose output layer is not zero any more."""
    network = small(backbone, **fields)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return network


def test_a_linear_schedule():
    schedule = linear(50, 1e-4, 0.05)
    assert len(schedule) == 50
    np.testing.assert_allclose(schedule.betas, np.linspace(1e-4, 0.05, 50))
    kept = np.cumprod(1 - np.linspace(1e-4, 0.05, 50))
    np.testing.assert_allclose(schedule.kept, kept)
    np.testing.assert_allclose(schedule.deviations[1:] ** 2, np.linspace(1e-4, 0.05, 50)[1:] * (1 - kept[:-1]) / (1 - kept[1:]))
    assert schedule.deviations[0] == 0


def test_a_short_schedule_tells_the_trained_step_of_the_same_noise():
    trained = linear(200, 1e-4, 0.02)
    whole = short(trained, trained.betas.tolist())
    np.testing.assert_allclose(whole.steps, np.arange(200), atol=1e-9)
    fast = short(trained, FAST)
    level = np.interp(fast.steps, np.arange(200), trained.kept.sqrt())
    np.testing.assert_allclose(level, np.sqrt(np.cumprod(1 - np.array(FAST))), rtol=1e-9)
    assert (short(trained, [1e-6, 0.99]).steps == torch.tensor([0.0, 199.0])).all()


@pytest.mark.parametrize("betas", [[], [0.1, 1.0], [0.0]])
def test_impossible_schedules(betas):
    with pytest.raises(ConfigError, match="beta must"):
        short(linear(), betas)


def test_no_steps():
    with pytest.raises(ConfigError, match="T is 0"):
        linear(0)


def test_noise_of_a_step():
    schedule, wavs = linear(), torch.ones(2, 40000)
    mixed = noised(schedule, wavs, torch.tensor([0, 199]), torch.randn(2, 40000))
    np.testing.assert_allclose(mixed.mean(1), schedule.kept[[0, 199]].sqrt(), atol=0.02)
    np.testing.assert_allclose(mixed.var(1), 1 - schedule.kept[[0, 199]], atol=0.02)


def test_drawing_with_the_true_noise_finds_the_distribution():
    """For waveforms of independent normal samples the best network is known: drawn samples have their deviation."""
    schedule, deviation = linear(200, 1e-4, 0.05), 0.3

    def ideal(x, steps, mel):
        kept = schedule.kept[steps[0].long()].item()
        return x * math.sqrt(1 - kept) / (kept * deviation**2 + 1 - kept)

    drawn = sample(ideal, schedule, lambda: torch.randn(4, 5000))
    np.testing.assert_allclose(drawn.std(1), 0.2885, rtol=0.03)  # what 200 steps leave of it, by the recursion of the variance


def test_the_loss_of_the_first_output_is_the_power_of_the_noise():
    network = small("wavenet")
    assert loss(network, linear(), torch.randn(4, 4000)).item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("backbone", SMALL)
def test_every_weight_is_trained(backbone):
    network = disturbed(backbone, unconditional=False, mel_upsample=[4, 4])
    loss(network, linear(), torch.randn(2, 64), torch.randn(2, 80, 4)).backward()
    untrained = {name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()}
    assert untrained <= {f"residual_layer.residual_blocks.2.res_conv.{name}" for name in ("bias", "weight_g", "weight_v")}


@pytest.mark.parametrize(("backbone", "updates"), [("wavenet", 60), pytest.param("sashimi", 250, marks=pytest.mark.slow)])
def test_a_network_learns_a_level_and_draws_it(backbone, updates):
    wavs = torch.full((8, 32), 0.7)
    network, schedule = small(backbone), linear(20, 1e-3, 0.4)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(updates):
        optimizer.zero_grad()
        loss(network, schedule, wavs).backward()
        optimizer.step()
    drawn = sample(network.eval(), schedule, lambda: torch.randn(8, 32))
    assert (drawn - 0.7).square().mean() < 0.1 * 0.7**2


@pytest.mark.parametrize("backbone", SMALL)
def test_the_step_and_the_spectrogram_are_heard(backbone):
    network = disturbed(backbone, unconditional=False, mel_upsample=[4, 4]).eval()
    wavs, mel, steps = torch.randn(1, 64), torch.randn(1, 80, 4), torch.tensor([3.0])
    output = network(wavs, steps, mel)
    assert output.shape == wavs.shape
    assert not torch.allclose(output, network(wavs, steps + 0.5, mel))
    assert not torch.allclose(output, network(wavs, steps, mel + 1))


def test_a_spectrogram_stands_where_its_samples_are():
    network = disturbed("wavenet", unconditional=False, mel_upsample=[4, 4], num_res_layers=1).eval()
    wavs, mel = torch.zeros(1, 320), torch.zeros(1, 80, 20)
    other = mel.clone()
    other[..., 10] = 1
    moved = (network(wavs, torch.zeros(1), mel) != network(wavs, torch.zeros(1), other)).nonzero()[:, 1]
    assert abs(moved.double().mean() - 10.5 * 16) < 2 and moved.max() - moved.min() < 3 * 16


def test_weights_of_the_code_that_changed_its_input():
    new, old = (disturbed("wavenet", step_stays=stays).eval() for stays in (False, True))
    old.load_state_dict(new.state_dict())
    block, told = old.residual_layer.residual_blocks[0], torch.randn(1, 16)
    x = torch.randn(1, 8, 32)
    first, skip = new.residual_layer.residual_blocks[0](x, told, None)
    second, same = block(x, told, None)
    torch.testing.assert_close(second - first, block.fc_t(told).unsqueeze(-1).expand_as(x) * math.sqrt(0.5))
    assert torch.equal(skip, same)


@pytest.mark.parametrize(
    ("fields", "count"), [({}, 24_071_681), ({"res_channels": 128, "num_res_layers": 30, "dilation_cycle": 10}, 6_827_393)]
)
def test_published_sizes(fields, count):
    assert sum(p.numel() for p in build_diffwave({"backbone": "wavenet", **fields}, "modelrc").parameters()) == count


@pytest.mark.parametrize(("width", "millions"), [(128, 23.0), (64, 7.5)])
def test_published_sizes_of_sashimi(width, millions):
    network = build_diffwave({"backbone": "sashimi", "d_model": width}, "modelrc")
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == millions


@pytest.mark.parametrize(("unet", "truncated"), [(True, False), (False, False), (True, True)])
def test_pooled_levels_hear_the_spectrogram_at_its_time(unet, truncated):
    network = disturbed("sashimi", unconditional=False, mel_upsample=[4, 4], unet=unet, mel_truncated=truncated).eval()
    block, mel = network.c_layers[0], torch.zeros(1, 80, 16)
    late = mel.clone()
    late[..., 12] = 1
    moved = (block.condition(mel, 64, block.pooled) - block.condition(late, 64, block.pooled)).abs().sum(1)[0].nonzero()
    assert (len(moved) == 0) if truncated else (abs(moved.double().mean() - 12.5 * 16 / 4) < 1)


def test_a_network_that_looks_back_only():
    network = disturbed("sashimi", bidirectional=False, unconditional=True).eval()
    assert all(block.layer.layer.kernel.channels == 1 for block in network.c_layers)


@pytest.mark.parametrize(
    ("fields", "error", "sentence"),
    [
        ({"res_channel": 8}, ConfigError, "did you mean 'res_channels'"),
        ({"num_res_layers": 0}, ConfigError, "num_res_layers must be"),
        ({"unconditional": False, "mel_upsample": [3, 4]}, ConfigError, "mel_upsample must be even"),
        ({"backbone": "wave_net"}, UnknownNameError, "did you mean 'wavenet'"),
    ],
)
def test_wrong_fields(fields, error, sentence):
    with pytest.raises(error, match=sentence):
        build_diffwave({**SMALL["wavenet"], **fields}, "modelrc")


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ({"d_state": "x"}, r"^modelrc\.layer: d_state must be a whole number"),
        ({"lr": "a"}, r"^modelrc\.layer: lr must be a number"),
        ({"d_sate": 4}, r"^modelrc\.layer: .*did you mean 'd_state'"),
        ({"n_ssm": 3}, "^modelrc: n_ssm is 3: it must divide the 8 features"),
        ([4], "^modelrc: layer must be a section"),
    ],
)
def test_wrong_fields_of_its_layers(layer, sentence):
    with pytest.raises(ConfigError, match=sentence):
        build_diffwave({**SMALL["sashimi"], "layer": layer}, "modelrc")


def test_what_does_not_fit():
    with pytest.raises(DataError, match="takes no mel"):
        small("wavenet")(torch.zeros(1, 64), torch.zeros(1), torch.zeros(1, 80, 4))
    with pytest.raises(DataError, match="62 samples: the network needs a multiple of 4"):
        small("sashimi")(torch.zeros(1, 62), torch.zeros(1))
    network = small("wavenet", unconditional=False)
    with pytest.raises(DataError, match="wants a mel"):
        network(torch.zeros(1, 64), torch.zeros(1))
    with pytest.raises(DataError, match="1 mel frames of 256 samples are too few for 300"):
        network(torch.zeros(1, 300), torch.zeros(1), torch.zeros(1, 80, 1))
