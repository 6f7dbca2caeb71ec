"""Selection, weighted sum and lengths."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from upstream.featurizer import Featurizer
from upstream.registry import build
from utility.errors import DataError, ToolkitError, UsageError


class Layers(nn.Module):
    """``count`` layers of frames, ceil(len / rate) + extra of them."""

    def __init__(self, count=3, rate=160, extra=0, dim=5, lengths=True, noisy=False):
        super().__init__()
        self.count, self.rate, self.extra, self.dim, self.lengths, self.noisy = count, rate, extra, dim, lengths, noisy
        self.dropout = nn.Dropout(0.5)

    def get_downsample_rates(self, key):
        return self.rate

    def forward(self, wavs):
        own = torch.tensor([math.ceil(len(wav) / self.rate) + self.extra for wav in wavs])
        if self.noisy:
            torch.rand(3), np.random.rand(3), random.random()
        frames = torch.arange(1.0, int(own.max()) + 1)
        frames = frames * (frames <= own[:, None])
        states = [(frames[..., None] * 10**i).repeat(1, 1, self.dim) for i in range(self.count)]
        result = {"hidden_states": states, "last_hidden_state": states[-1], "PR": dict(enumerate(states))}
        return {**result, "lengths": own} if self.lengths else result


def waves(*lengths):
    return [torch.zeros(n) for n in lengths]


def test_weights_exist_only_for_several_layers():
    several = Featurizer(Layers(3))
    assert {k: v.tolist() for k, v in several.state_dict().items()} == {"weights": [0.0, 0.0, 0.0]}
    assert Featurizer(Layers(1)).state_dict() == {}
    assert Featurizer(Layers(3), layer_selection=-1).state_dict() == {}
    assert Featurizer(Layers(3), "last_hidden_state").state_dict() == {}
    assert (several.layer_num, several.output_dim, several.downsample_rate) == (3, 5, 160)


@pytest.mark.parametrize("key", ["hidden_states", "PR"])
@pytest.mark.parametrize("normalize", [False, True])
def test_weighted_sum(key, normalize):
    model, wavs = Layers(3), waves(1600, 800)
    featurizer = Featurizer(model, key, normalize=normalize)
    featurizer.weights.data = torch.tensor([0.3, -1.0, 0.5])
    stacked = torch.stack(model(wavs)["hidden_states"])
    stacked = F.layer_norm(stacked, (5,)) if normalize else stacked
    expected = (featurizer.weights.softmax(0)[:, None, None, None] * stacked).sum(0)
    ours = featurizer(wavs, model(wavs))
    torch.testing.assert_close(ours[0], expected[0])
    torch.testing.assert_close(ours[1], expected[1, :5])


@pytest.mark.parametrize(("layer", "scale"), [(0, 1), (2, 100), (-2, 10)])
def test_one_layer(layer, scale):
    model = Layers(3)
    assert Featurizer(model, layer_selection=layer)(waves(800), model(waves(800)))[0][0, 0] == scale


@pytest.mark.parametrize(
    ("count", "key", "layer"), [(3, "hidden_states", 3), (3, "hidden_states", -4), (1, "hidden_states", 1), (3, "last_hidden_state", 2)]
)
def test_a_layer_out_of_range_is_named(count, key, layer):
    with pytest.raises(UsageError, match=f"layer {layer} is out of range: '{key}' of upstream Layers has layers -"):
        Featurizer(Layers(count), key, layer_selection=layer)


def test_an_unknown_key_falls_back_with_a_warning_that_names_the_nearest():
    with pytest.warns(UserWarning, match=r"no feature 'last_hiden_state'; did you mean 'last_hidden_state'.*hidden_states is used"):
        featurizer = Featurizer(Layers(2), "last_hiden_state")
    assert featurizer.layer_num == 2


def test_an_unknown_key_without_hidden_states_is_refused():
    class Bare(Layers):
        def forward(self, wavs):
            return {"features": super().forward(wavs)["last_hidden_state"]}

    with pytest.raises(UsageError, match=r"no feature 'hidden_states'.*valid: features"):
        Featurizer(Bare())
    assert Featurizer(Bare(), "features").output_dim == 5


def test_a_changed_number_of_layers_tells_what_to_do():
    model = Layers(3)
    featurizer = Featurizer(model)
    model.count = 2
    with pytest.raises(ToolkitError, match=r"gave 2 layers, 3 when probed.*-f -s last_hidden_state` or `-f -l -1"):
        featurizer(waves(800), model(waves(800)))


def test_layers_of_unequal_widths_are_refused():
    class Uneven(Layers):
        def forward(self, wavs):
            states = super().forward(wavs)["hidden_states"]
            return {"hidden_states": [states[0], states[1][..., :2]]}

    with pytest.raises(UsageError, match=r"differ in shape.*select one with -l 0 to 1"):
        Featurizer(Uneven(2))
    assert Featurizer(Uneven(2), layer_selection=1).output_dim == 2


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (torch.tensor([3]), r"a tensor of int64 of the shape \(1,\)"),  # lengths
        (torch.ones(1, 100, 2, dtype=torch.long), "a tensor of int64"),  # numbers of codes
        (torch.ones(1, 100), r"a tensor of float32 of the shape \(1, 100\)"),  # a mask
        (("a", "b"), "a str"),
        (None, "a NoneType"),  # predictions that were not asked for
        ([], "nothing"),
        ([torch.ones(1, 100, 2), None], "a NoneType"),
    ],
)
def test_what_is_no_feature_is_refused(value, found):
    class Other(Layers):
        def forward(self, wavs):
            return {**super().forward(wavs), "other": value}

    with pytest.raises(UsageError, match=f"'other' of upstream Other is no feature: it holds {found}"):
        Featurizer(Other(), "other")
    if isinstance(value, torch.Tensor):
        with pytest.raises(UsageError, match=f"is no feature: it holds {found}"):
            Featurizer(Other(), "other", layer_selection=-1)


def test_probing_leaves_modes_and_random_streams_alone():
    model = Layers(2, noisy=True).train()
    model.dropout.eval()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    expected = torch.rand(1).item(), np.random.rand(), random.random()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    Featurizer(model)
    assert (torch.rand(1).item(), np.random.rand(), random.random()) == expected
    assert model.training and not model.dropout.training


def test_an_upstream_without_a_rate_is_measured():
    class Silent(Layers):
        get_downsample_rates = None

        def __getattribute__(self, name):
            if name == "get_downsample_rates":
                raise AttributeError(name)
            return super().__getattribute__(name)

    with pytest.warns(UserWarning, match=r"tells no downsample rate; 320"):
        assert Featurizer(Silent(rate=320)).downsample_rate == 320


lengths = st.lists(st.integers(1, 4000), min_size=1, max_size=5)


@settings(deadline=None, max_examples=60)
@given(lengths, st.integers(-2, 3), st.sampled_from([1, 7, 160, 320]), st.booleans())
def test_length_rules(samples, extra, rate, tells):
    model = Layers(1, rate=rate, extra=max(extra, 1 - math.ceil(min(samples) / rate)), lengths=tells)
    wavs, result = waves(*samples), model(waves(*samples))
    padded = result["last_hidden_state"].size(1)
    own = [math.ceil(n / rate) + model.extra for n in samples]
    assert [len(f) for f in Featurizer(model)(wavs, result)] == [min(padded, round(n / rate)) for n in samples]
    ceiled = Featurizer(model, length_rule="ceil")(wavs, result)
    assert [len(f) for f in ceiled] == [math.ceil(n / rate) for n in samples]
    for frames, n, kept in zip(ceiled, samples, own, strict=True):
        valid = min(kept if tells else padded, math.ceil(n / rate))
        assert (frames[valid:] == frames[valid - 1]).all()
    if tells:
        assert [len(f) for f in Featurizer(model, length_rule="own")(wavs, result)] == own


def test_frames_that_do_not_fit_the_rate_are_refused():
    model = Layers(1, extra=4)
    featurizer = Featurizer(model)
    assert len(featurizer(waves(1600), model(waves(1600)))[0]) == 10
    model.extra = 5
    with pytest.raises(DataError, match=r"gave 15 frames for 1600 samples.*should be 10"):
        featurizer(waves(1600), model(waves(1600)))


def test_rules_that_cannot_be_followed_are_refused():
    with pytest.raises(UsageError, match=r"unknown length rule 'cell'; did you mean 'ceil'"):
        Featurizer(Layers(), length_rule="cell")
    with pytest.raises(UsageError, match=r"no 'lengths'.*use 'round' or 'ceil'"):
        Featurizer(Layers(lengths=False), length_rule="own")


def test_gradients_reach_the_layers_and_the_weights():
    model = build("example")
    featurizer, wavs = Featurizer(model), [torch.randn(50), torch.randn(30)]
    sum(f.square().sum() for f in featurizer(wavs, model(wavs))).backward()
    assert featurizer.weights.grad.abs().sum() > 0
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())


def test_half_precision_layers_are_summed_in_float32():
    model, wavs = Layers(3), waves(1600)
    featurizer, result = Featurizer(model), model(wavs)
    halves = {"hidden_states": [state.bfloat16() for state in result["hidden_states"]]}
    ours = featurizer(wavs, halves)[0]
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, torch.stack([s.float() for s in halves["hidden_states"]]).mean(0)[0])


def test_errors_name_the_registered_upstream():
    with pytest.raises(UsageError, match=r"upstream fbank has layers -1 to 0"):
        Featurizer(build("fbank"), layer_selection=4)


def test_waveform_keeps_every_sample():
    model, wavs = build("waveform"), [torch.randn(33), torch.randn(21)]
    for rule in ("round", "ceil", "own"):
        features = Featurizer(model, length_rule=rule)(wavs, model(wavs))
        assert all(torch.equal(f[:, 0], wav) for f, wav in zip(features, wavs, strict=True))


def test_states_side_by_side():
    """In place of the sum, and cut as the sum is; what is not there is named."""
    wavs = waves(1600, 800)
    featurizer = Featurizer(Layers(3))
    featurizer.side_by_side = (2, 0)
    states = Layers(3)(wavs)["hidden_states"]
    long, short = featurizer(wavs, Layers(3)(wavs))
    assert torch.equal(long, torch.cat([states[2][0], states[0][0]], dim=-1))
    assert torch.equal(short, torch.cat([states[2][1], states[0][1]], dim=-1)[:5])
    normalised = Featurizer(Layers(3), normalize=True)
    normalised.side_by_side = (1,)
    assert torch.allclose(normalised(wavs, Layers(3)(wavs))[0], F.layer_norm(states[1][0], (5,)))
    for layers in ((3,), (-1,), ()):
        with pytest.raises(UsageError, match=r"are needed, but 'hidden_states' of upstream Layers has states 0 to 2"):
            featurizer.side_by_side = layers
    with pytest.raises(UsageError, match="has one state alone"):
        Featurizer(Layers(1)).side_by_side = (0,)
