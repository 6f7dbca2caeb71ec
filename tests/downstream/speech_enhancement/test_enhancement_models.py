"""Networks against recorded outputs of the STM32 model zoo, and what all of them have to do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from downstream.speech_enhancement.masking import enhance, mask_of
from downstream.speech_enhancement.models.lstm import ConvLSTMDenoiser
from downstream.speech_enhancement.models.registry import MODELS, build_model, load_weights
from downstream.speech_enhancement.models.single_step import DecomposedConvLSTMDenoiser, DecomposedLSTM
from downstream.speech_enhancement.models.tcnn import STFTTCNN
from utility.audio.stft import Stft, StftOptions
from utility.errors import CheckpointError, ConfigError, UnknownNameError, UsageError

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def recorded(folder: Path) -> tuple[dict, dict]:
    """What the manifest says of a case, and its arrays."""
    cases = json.loads((folder.parent / "manifest.json").read_text())["cases"]
    return next(case for case in cases if case["case"] == folder.name), {
        name: torch.from_numpy(value) for name, value in np.load(folder / "io.npz").items() if value.ndim
    }


def loaded(folder: Path, case: dict) -> nn.Module:
    model = MODELS[case["model_type"]](**case["model_specific"])
    load_weights(model, folder / "best_model_state_dict.pth")
    return model


@pytest.mark.parametrize("name", ["tcnn_sigmoid", "tcnn_tanh", "tcnn_prelu_dil3", "tcnn_tiny"])
def test_recorded_tcnn(golden, name):
    folder = golden(f"enhancement/{name}")
    case, arrays = recorded(folder)
    model = loaded(folder, case).eval()
    assert sum(p.numel() for p in model.parameters()) == case["n_params"]
    output = model(arrays["input"])
    torch.testing.assert_close(output, arrays["output_eval"], **CLOSE)
    torch.testing.assert_close(model(arrays["input"][:1, :, :1]), arrays["output_eval_T1"], **CLOSE)
    torch.testing.assert_close(model.tcn(arrays["input"]), arrays["pre_activation"], rtol=1e-4, atol=1e-4)
    (output - 0.3).square().mean().backward()
    first = model.tcn.tcn_block_0.network[0].TCM_net
    torch.testing.assert_close(first[0].weight.grad, arrays["grad_first_conv"], **CLOSE)
    torch.testing.assert_close(model.train()(arrays["input"]), arrays["output_train"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(first[1].running_mean, arrays["running_mean_after"], **CLOSE)
    torch.testing.assert_close(first[1].running_var, arrays["running_var_after"], **CLOSE)


def test_recorded_convlstm(golden):
    folder = golden("enhancement/convlstm")
    case, arrays = recorded(folder)
    model = loaded(folder, case).eval()
    torch.testing.assert_close(model(arrays["input"]), arrays["output_eval"], **CLOSE)
    published = DecomposedConvLSTMDenoiser(lstm_hidden_size=10)
    load_weights(published, folder / "decomposed_state_dict.pth")
    for stepping in (published, DecomposedConvLSTMDenoiser.of(model), DecomposedConvLSTMDenoiser.of(model, separate_weights=False)):
        masks, states = stepped(stepping, arrays["input"][:1])
        torch.testing.assert_close(masks, arrays["stepwise_output"], **CLOSE)
        torch.testing.assert_close(masks, arrays["output_eval"][:1], **CLOSE)
        torch.testing.assert_close(states, arrays["stepwise_states_h1h2c1c2"], **CLOSE)
    torch.testing.assert_close(model.train()(arrays["input"]), arrays["output_train"], rtol=1e-4, atol=1e-4)


def stepped(model: DecomposedConvLSTMDenoiser, magnitudes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(masks, states): frame by frame from states of zero."""
    state, masks, states = [torch.zeros(1, model.lstm_1.hidden_size) for _ in range(4)], [], []
    for frame in magnitudes.split(1, dim=-1):
        mask, *state = model(frame, *state)
        masks.append(mask)
        states.append(torch.cat(state))
    return torch.cat(masks, -1), torch.stack(states)


@pytest.mark.parametrize("separate", [True, False])
def test_recorded_cells(golden, separate):
    _, arrays = recorded(golden("enhancement/convlstm"))
    cell = {name.removeprefix("cell."): value for name, value in arrays.items() if name.startswith("cell.")}
    made = DecomposedLSTM(6, 5, separate_weights=separate)
    made.take(cell["weight_ih"], cell["weight_hh"], [cell["bias_ih"], cell["bias_hh"]])
    h, c = made(cell["x"].squeeze(1), (cell["h0"], cell["c0"]))
    torch.testing.assert_close(h, cell[f"h_sep{separate:d}"], **CLOSE)
    torch.testing.assert_close(c, cell[f"c_sep{separate:d}"], **CLOSE)
    if not separate:
        torch.testing.assert_close(made.gates.weight, cell["gates_weight"])
        torch.testing.assert_close(made.gates.bias, cell["gates_bias"])


def test_recorded_parameter_counts():
    counts = [STFTTCNN(), STFTTCNN(n_blocks=2, num_layers=3), ConvLSTMDenoiser(), DecomposedConvLSTMDenoiser()]
    assert [sum(p.numel() for p in model.parameters()) for model in counts] == [4810752, 1603584, 1253385, 1253385]


def test_recorded_enhancement(golden):
    folder = golden("enhancement/denoise")
    case, arrays = recorded(folder)
    model, stft = loaded(folder, case).eval(), Stft(StftOptions())
    for number in range(3):
        noisy = arrays[f"noisy{number}"]
        mask = model(stft.magnitude(noisy).unsqueeze(0))[0, :, ::5]
        torch.testing.assert_close(mask, arrays[f"mask{number}"], **CLOSE)
        np.testing.assert_allclose(enhance(noisy, stft, mask_of(model)), arrays[f"denoised_torch{number}"], **CLOSE)


@pytest.mark.parametrize("name", MODELS)
def test_every_network(name):
    """Magnitudes of any length to a mask of the same shape, which is never the same for all; gradients reach every weight."""
    torch.manual_seed(0)
    model = build_model(name, {}, 129).eval()
    magnitudes = torch.rand(2, 129, 50)
    mask = model(magnitudes)
    assert mask.shape == magnitudes.shape
    assert mask.std() > 1e-3
    assert model(magnitudes[:1, :, :1]).shape == (1, 129, 1)
    torch.testing.assert_close(model(magnitudes[:1]), mask[:1], **CLOSE)
    model.train()(magnitudes).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("name", [name for name in MODELS if name != "STFTTCNN"])
def test_causal_networks_see_nothing_of_the_future(name):
    torch.manual_seed(0)
    model, magnitudes = build_model(name, {}, 129).eval(), torch.rand(1, 129, 40)
    changed = magnitudes.clone()
    changed[..., 20:] += 1
    torch.testing.assert_close(model(changed)[..., :20], model(magnitudes)[..., :20], rtol=0, atol=1e-6)
    assert (model(changed)[..., 20:] - model(magnitudes)[..., 20:]).abs().max() > 1e-3


def test_the_decoder_goes_the_encoder_s_way_back():
    net = MODELS["BandGRU"](33, low_bins=9, bands=8, channels=8, dilations=[1, 2, 5])
    assert [layer.dilation for layer in net.past] == [1, 2, 5]
    assert [layer.dilation for layer in net.future_free] == [5, 2, 1]


def test_a_user_s_own_network(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\n\nclass Custom(torch.nn.Module):\n    def __init__(self, bias: float = 0.0):\n        super().__init__()\n"
    )
    assert type(build_model("Custom", {"bias": 1.0}, 129, file)).__name__ == "Custom"
    with pytest.raises(ConfigError, match="unknown field 'bais'; did you mean 'bias'"):
        build_model("Custom", {"bais": 1}, 129, file)
    with pytest.raises(UsageError, match="--model_file FILE names the Python file"):
        build_model("Custom", {}, 129)
    with pytest.raises(UsageError, match="there is no such file"):
        build_model("Custom", {}, 129, tmp_path / "other.py")
    file.write_text("Custom = 3\n")
    with pytest.raises(UsageError, match=r"defines no class Custom that derives from torch\.nn"):
        build_model("Custom", {}, 129, file)
    file.write_text("class Custom:\n  x = = 1\n")
    with pytest.raises(UsageError, match="line 2 is no Python"):
        build_model("Custom", {}, 129, file)


def test_networks_that_cannot_be(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'STFTTCNN'"):
        build_model("STFTCNN", {}, 257)
    with pytest.raises(ConfigError, match="in_channels is 257, but n_fft gives 129 bins"):
        build_model("STFTTCNN", {"in_channels": 257}, 129)
    with pytest.raises(ConfigError, match="hidden_size must be a whole number of at least 1"):
        build_model("LSTMDenoiser", {"hidden_size": 0}, 129)
    with pytest.raises(CheckpointError, match="there is no file"):
        load_weights(STFTTCNN(17), tmp_path / "none.pth")
    torch.save(STFTTCNN(33, 8, 1, 1).state_dict(), tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="does not fit STFTTCNN: "):
        load_weights(STFTTCNN(17, 8, 1, 1), tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(CheckpointError, match="is no state dict of torch"):
        load_weights(STFTTCNN(17), tmp_path / "text.pth")


def test_only_two_layers_have_single_steps():
    with pytest.raises(UsageError, match="2 layers of LSTM, the network 3"):
        DecomposedConvLSTMDenoiser.of(ConvLSTMDenoiser(17, 17, 4, 3))
    with pytest.raises(UsageError, match="two directions"):
        DecomposedLSTM.of(nn.LSTM(4, 4, bidirectional=True))
