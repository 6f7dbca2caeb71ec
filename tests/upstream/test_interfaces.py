"""Hooks, the dict contract, and upstreams of the older form."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from upstream.interfaces import Featurizer, ListUpstream, UpstreamBase, adapt, resolve
from utility.errors import ToolkitError

STEPS = ("first", "layers[0]", "layers[1]")


class Stack(UpstreamBase):
    """Two layers after a first one; modules are made after the base constructor."""

    def __init__(self, hooks=None, returns=None, **kwargs):
        super().__init__(hooks, **kwargs)
        self.first = nn.Linear(1, 4)
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.named = nn.ModuleDict({"odd-name": self.layers[0]})
        self.returns = returns

    def get_downsample_rates(self, key):
        return 1

    def forward(self, wavs):
        x = self.first(torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True).unsqueeze(-1))
        for layer in self.layers:
            x = layer(input=x)
        return self.returns


def output(inputs, out):
    return out


def first_input(inputs, out):
    return inputs[0]


WAVS = [torch.linspace(-1, 1, 30), torch.linspace(0, 1, 20)]


def test_states_come_in_firing_order():
    model = Stack([("self.layers[1]", output), ("self.first", output, "bottom"), ("layers.0", first_input)])
    result = model(WAVS)
    assert result["_hidden_states_info"] == ("bottom", "layers.0", "self.layers[1]")
    assert isinstance(result["hidden_states"], tuple) and len(result["hidden_states"]) == 3
    assert result["last_hidden_state"] is result["hidden_states"][2]
    assert [result[f"hidden_state_{i}"] is state for i, state in enumerate(result["hidden_states"])] == [True] * 3
    assert torch.equal(result["hidden_states"][0], result["hidden_states"][1]), "keyword inputs reach the transform"
    assert len(model(WAVS)["hidden_states"]) == 3, "the buffer is cleared between calls"


def test_other_keys_of_forward_are_kept():
    extra = torch.ones(1)
    result = Stack([("self.first", output)], returns={"extra": extra})(WAVS)
    assert result["extra"] is extra and len(result["hidden_states"]) == 1


@pytest.mark.parametrize("key", ["hidden_states", "last_hidden_state", "_hidden_states_info"])
def test_states_from_both_hooks_and_forward_are_refused(key):
    with pytest.raises(ValueError, match=key):
        Stack([("self.first", output)], returns={key: ()})(WAVS)


def test_without_hooks_the_dict_is_as_returned():
    assert Stack(returns={"hidden_states": [1]})(WAVS) == {"hidden_states": [1]}
    assert Stack()(WAVS) == {}
    with pytest.raises(TypeError, match=r"a dict is expected"):
        Stack(returns=[1])(WAVS)


def test_hooks_can_be_added_and_removed():
    model = Stack()
    model.add_hook("self.first", output, "a")
    model.add_hook("self.layers[0]", output)
    assert model(WAVS)["_hidden_states_info"] == ("a", "self.layers[0]")
    assert [hook.unique_identifier for hook in model.hooks] == ["a", "self.layers[0]"]
    model.remove_hook("a")
    assert model(WAVS)["_hidden_states_info"] == ("self.layers[0]",)
    model.add_hook("self.first", output, "never attached")
    model.remove_all_hooks()
    assert model(WAVS) == {}


def test_postprocess_maps_the_states():
    model = Stack([(f"self.{step}", output) for step in STEPS], hook_postprocess=lambda states: [("only", states[0][1] * 2)])
    assert model(WAVS)["_hidden_states_info"] == ("only",)


@pytest.mark.parametrize("path", ["self.nothing", "self.layers[7]", "self.returns", "__import__('os').getcwd()", "self.layers[0:1]"])
def test_a_path_to_no_module_warns_and_is_skipped(path):
    model = Stack([(path, output), ("self.first", output)])
    with pytest.warns(UserWarning, match=r"leads to no module"):
        result = model(WAVS)
    assert result["_hidden_states_info"] == ("self.first",)


def test_paths_are_attributes_and_indexes():
    model = Stack()
    assert resolve(model, "self.layers[-1]") is model.layers[1]
    assert resolve(model, "layers.1") is model.layers[1]
    assert resolve(model, "self.named['odd-name']") is model.layers[0]
    assert resolve(model, "self") is model


def test_hooks_are_silent_outside_the_call_and_survive_a_copy():
    model = Stack([("self.first", output)])
    model(WAVS)
    model.first(torch.zeros(1, 1))
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.first.bias.add_(1.0)
    assert not torch.equal(twin(WAVS)["last_hidden_state"], model(WAVS)["last_hidden_state"])
    assert len(model(WAVS)["hidden_states"]) == 1 and len(twin(WAVS)["hidden_states"]) == 1
    assert model._recorder.states == []


def test_gradients_pass_through_hooked_states():
    model = Stack([(f"self.{step}", output) for step in STEPS])
    featurizer = Featurizer(model)
    sum(f.sum() for f in featurizer(WAVS, model(WAVS))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert featurizer.weights.grad.abs().sum() > 0


class Older(nn.Module):
    """The form of S3PRL's first year: a list of unpadded features."""

    def __init__(self, rate=None):
        super().__init__()
        self.linear = nn.Linear(1, 6)
        if rate:
            self.get_downsample_rate = lambda: rate

    def get_output_dim(self):
        return 6

    def forward(self, wavs):
        return [self.linear(wav[::170, None]) for wav in wavs]


def test_older_upstreams_get_the_dict_contract():
    model = adapt(Older(rate=170), "older")
    assert isinstance(model, ListUpstream)
    wavs = [torch.randn(3400), torch.randn(1700)]
    result = model(wavs)
    assert result["hidden_states"][0].shape == (2, 20, 6) and result["lengths"].tolist() == [20, 10]
    assert (model.get_downsample_rates("hidden_states"), model.get_output_dim()) == (170, 6)
    assert [len(f) for f in Featurizer(model, length_rule="own")(wavs, result)] == [20, 10]


def test_an_older_upstream_without_a_rate_gets_the_nearest_usual_one():
    model = adapt(Older(), "older")
    state = torch.random.get_rng_state()
    assert model.get_downsample_rates() == 160
    assert torch.equal(torch.random.get_rng_state(), state)


def test_what_is_no_upstream_is_refused():
    with pytest.raises(ToolkitError, match=r"'x' is no torch.nn.Module but str"):
        adapt("text", "x")
    with pytest.raises(ToolkitError, match=r"neither get_downsample_rates"):
        adapt(nn.Linear(1, 1), "x")
