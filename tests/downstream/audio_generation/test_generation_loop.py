"""The loop of generation against recorded ones of the public code, whose random numbers were recorded with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from downstream.audio_generation.generation.drawing import BLOCK, Drawing, Uniforms, entropies
from downstream.audio_generation.generation.loop import Loop
from downstream.audio_generation.models.build import build
from downstream.audio_generation.quantise import Quantiser
from tests.downstream.audio_generation.families import SMALL
from tests.downstream.audio_generation.stepping import recorded

CASES = {
    "samplernn_fixed": ("samplernn", Drawing()),
    "sashimi_fixed": ("sashimi", Drawing()),
    "sashimi_greedy": ("sashimi", Drawing(temp=0)),
    "sashimi_temp_topp": ("sashimi", Drawing(0.8, 0.9)),
    "sashimi_prefix": ("sashimi", Drawing()),
    "unet_fixed": ("unet", Drawing()),
    "wavenet_fixed": ("wavenet", Drawing()),
    "wavenet_prefix": ("wavenet", Drawing()),
}
PREFIX = {"sashimi_prefix": 16, "wavenet_prefix": 12}


@pytest.mark.parametrize("name", CASES)
def test_recorded_generations(golden, name):
    family, drawing = CASES[name]
    weights, arrays = recorded(golden(f"generation/generate/{name}"))
    model = build(SMALL[family])
    model.load_state_dict(weights)
    batch, length = arrays["ids"].shape
    prefix = arrays["prefix"][:, : PREFIX[name]] if name in PREFIX else None
    columns, logits, entropy = iter(arrays.get("uniforms", torch.zeros(batch, 99)).T), [], torch.zeros(batch, dtype=torch.float64)

    def at_step(one, drawn):
        logits.append(one.clone())
        if drawn:
            entropy.add_(entropies(one))

    loop = Loop(drawing, zero=128, published=True)
    codes, logprobs = loop(model.stepper(batch), lambda: next(columns), length, batch, prefix, at_step=at_step)
    assert torch.equal(codes, arrays["ids"])
    torch.testing.assert_close(torch.stack(logits, 1), arrays["raw_logits"], rtol=1e-3, atol=2e-4)
    torch.testing.assert_close(logprobs, arrays["logprobs"], rtol=1e-4, atol=0)
    torch.testing.assert_close(entropy, arrays["entropy"], rtol=1e-4, atol=0)
    assert torch.equal(logprobs.argsort(stable=True), arrays["sort_order"])
    torch.testing.assert_close(Quantiser().decode(codes), arrays["decoded_mu_law"], rtol=1e-5, atol=1e-7)


def test_a_number_picks_the_code_whose_share_it_falls_into():
    logits = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log().expand(6, 4)
    codes, _ = Drawing(temp=1e-320)(logits, torch.full((len(logits),), 0.5, dtype=torch.float64))
    assert torch.equal(codes, logits.argmax(-1))
    codes, logprobs = Drawing()(logits, torch.tensor([0.0, 0.0999, 0.1001, 0.2999, 0.6001, 0.9999], dtype=torch.float64))
    assert codes.tolist() == [0, 0, 1, 1, 3, 3]
    np.testing.assert_allclose(logprobs.exp(), [0.1, 0.1, 0.2, 0.2, 0.4, 0.4], rtol=1e-6)
    codes, logprobs = Drawing(top_p=0.5)(logits, torch.tensor([0.0, 0.42, 0.43, 0.5, 0.9, 1.0], dtype=torch.float64))
    assert codes.tolist() == [2, 2, 3, 3, 3, 3]
    np.testing.assert_allclose(logprobs.exp(), [0.3, 0.3, 0.4, 0.4, 0.4, 0.4], rtol=1e-6)  # among all codes, however drawn
    codes, logprobs = Drawing(temp=0.5)(logits, torch.tensor([0.0, 0.03, 0.04, 0.2, 0.46, 0.47], dtype=torch.float64))
    assert codes.tolist() == [0, 0, 1, 2, 2, 3]  # shares 1, 4, 9 and 16 of 30
    np.testing.assert_allclose(logprobs.exp(), [0.1, 0.1, 0.2, 0.3, 0.3, 0.4], rtol=1e-6)
    assert Drawing(temp=0)(logits, torch.zeros(6))[0].tolist() == [3] * 6


@pytest.mark.parametrize("temp", [0, 1e-320, 0.3, 1, 7])
def test_the_loop_on_a_cpu_draws_as_the_operations_elsewhere(temp):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2000, 256, generator=generator) * torch.logspace(-2, 2, 2000)[:, None]
    logits[0, 3:] = -torch.inf
    uniforms = torch.rand(2000, dtype=torch.float64, generator=generator)
    codes, likelihoods = Drawing(temp)(logits, uniforms)
    wanted, wanted_likelihoods = Drawing(temp)(logits.double(), uniforms)
    assert torch.equal(codes, wanted)
    torch.testing.assert_close(likelihoods, wanted_likelihoods, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_logits_that_are_no_numbers_have_no_likelihood(value):
    for logits in (torch.full((1, 8), value), torch.tensor([[0.0, 1.0, torch.nan]])):
        assert not Drawing()(logits, torch.full((1,), 0.5, dtype=torch.float64))[1].isfinite().any()


def test_drawn_codes_have_the_shares_of_the_network():
    logits = torch.randn(1, 256, generator=torch.Generator().manual_seed(0)) * 2
    count = 50_000
    codes, _ = Drawing()(logits.expand(count, -1), torch.from_numpy(np.random.default_rng(0).random(count)))
    wanted = torch.softmax(logits[0].double(), -1) * count
    chi2 = ((torch.bincount(codes, minlength=256) - wanted) ** 2 / wanted).sum().item()
    assert chi2 < 350  # 255 degrees of freedom: beyond once in 10,000


def test_a_stream_has_its_own_numbers():
    alone, among = Uniforms([(7, 3, 0)]), Uniforms([(7, 2, 0), (7, 3, 0), (7, 3, 1)])
    drawn = [(alone(), among()) for _ in range(BLOCK + 10)]
    assert all(one[0] == three[1] for one, three in drawn)
    assert len({value for _, three in drawn for value in three.tolist()}) == 3 * len(drawn)


class Recorder:
    """A network that says the next code of a counter, and notes what it is fed."""

    def __init__(self, warm_up):
        self.warm_up, self.fed = warm_up, None

    def reset(self):
        self.fed = []

    def step(self, codes):
        self.fed.append(codes.tolist()[0])
        return torch.nn.functional.one_hot((codes + 1) % 256, 256).float() * 1e4


@pytest.mark.parametrize(
    ("warm_up", "prefix", "published", "fed", "codes"),
    [
        (0, None, False, [128, 129, 130], [129, 130, 131]),
        (2, None, False, [128, 128, 128, 129, 130], [129, 130, 131]),
        (2, None, True, [128, 128, 129, 130, 131], [130, 131, 132]),
        (0, [128, 5], False, [128, 5, 6], [5, 6, 7]),
        (2, [128, 5], True, [128, 128, 128, 5, 6], [5, 6, 7]),
    ],
)
def test_what_the_network_is_fed(warm_up, prefix, published, fed, codes):
    stepper = Recorder(warm_up)
    given = None if prefix is None else torch.tensor([prefix])
    numbers = Uniforms([(0,)])
    found, _ = Loop(Drawing(), 128, published)(stepper, numbers, 3, 1, given)
    assert (stepper.fed, found[0].tolist()) == (fed, codes)
