"""S4 layers of older versions, and DiffWave's checkpoints; made here by the renames of the specification, as none is at hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from downstream.audio_generation.denoising.foreign import convert as convert_diffwave
from downstream.audio_generation.expert import DownstreamExpert
from downstream.audio_generation.foreign import convert
from downstream.audio_generation.models.build import build
from downstream.audio_generation.models.diffwave import build_diffwave
from downstream.audio_generation.models.s4_names import is_old, renewed
from tests.downstream.audio_generation.families import SMALL
from utility.errors import CheckpointError

STEPS = {"diffusion_step_embed_dim_in": 6, "diffusion_step_embed_dim_mid": 10, "diffusion_step_embed_dim_out": 12}
NETWORKS = {
    "wavenet": {"backbone": "wavenet", "res_channels": 4, "skip_channels": 6, "num_res_layers": 2, "dilation_cycle": 10},
    "unet": {"backbone": "sashimi", "d_model": 4, "n_layers": 1, "pool": [2, 4], "ff": 3, "layer": {"d_state": 4}, "L": 64},
    "snet": {"backbone": "sashimi", "d_model": 4, "n_layers": 2, "pool": [2], "unet": False, "layer": {"d_state": 4}, "L": 64},
    "vocoder": {
        "backbone": "sashimi",
        "d_model": 4,
        "n_layers": 1,
        "pool": [2],
        "layer": {"d_state": 4},
        "L": 64,
        "unconditional": False,
        "mel_upsample": [4, 64],
        "mel_truncated": True,
    },
}


def aged(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As version 3 would have written them."""
    old = {"inv_dt": "log_dt", "A_real": "inv_w_real", "A_imag": "w_imag", "l_kernel": "L"}
    made = {}
    for name, value in weights.items():
        layer, found, end = name.rpartition(".layer.kernel.")
        if found:
            value = value.squeeze(-1) if end == "inv_dt" else -value if end == "A_imag" else value
            made[f"{layer}.kernel.kernel.{old.get(end, end)}"] = value
        else:
            made[name.replace(".layer.layer.D", ".layer.D")] = value
    return made


def network(name: str):
    torch.manual_seed(0)
    made = build_diffwave({**NETWORKS[name], **STEPS}, "modelrc").eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
        if name == "wavenet":
            for block in made.residual_layer.residual_blocks:
                block.step_stays = True
    return made


def heard(name: str, length: int):
    return torch.randn(1, 80, length // 256 + 1) if name == "vocoder" else None


@pytest.mark.parametrize("name", NETWORKS)
def test_a_checkpoint_of_diffwave(name, tmp_path):
    made, wavs, steps = network(name), torch.randn(1, 64), torch.tensor([3.0])
    mel = heard(name, 64)
    with torch.no_grad():
        wanted = made(wavs, steps, mel)  # tunes the kernels first
    weights = {f"module.{key}": value for key, value in aged(made.state_dict()).items()}
    for key, value in weights.items():
        if key.endswith("output_linear.0.bias"):
            weights[key] = value.unsqueeze(-1)
    path = tmp_path / "unet_T50_betaT0.05_uncond" / "checkpoint" / "5000.pkl"
    path.parent.mkdir(parents=True)
    torch.save({"model_state_dict": weights, "optimizer_state_dict": {}}, path)
    foreign = convert(path)
    task = DownstreamExpert(1, 1, foreign.config["downstream_expert"], tmp_path).eval()
    task.load_state_dict(foreign.downstream)
    with torch.no_grad():
        torch.testing.assert_close(task.model(wavs, steps, mel), wanted)
    assert (foreign.step, len(task.settings.noise.trained)) == (5000, 50)
    assert task.settings.noise.beta_T == 0.05


def test_a_config_of_other_sizes(tmp_path):
    content = {"model_state_dict": network("wavenet").state_dict()}
    shipped = Path(convert_diffwave.__code__.co_filename).parents[1] / "diffwave-wavenet-sc09.yaml"
    with pytest.raises(CheckpointError, match="weights differ"):
        convert_diffwave(tmp_path / "1.pkl", content, shipped)


def test_something_else(tmp_path):
    with pytest.raises(CheckpointError, match="holds no DiffWave"):
        convert_diffwave(tmp_path / "1.pkl", {"model_state_dict": {"x": torch.zeros(1)}})


def test_a_sashimi_of_version_3(tmp_path):
    torch.manual_seed(0)
    fields = {**SMALL["sashimi"], "layer": {**SMALL["sashimi"]["layer"], "dt_transform": "exp"}}
    made, codes = build(fields).eval(), torch.randint(256, (1, 32))
    with torch.no_grad():
        wanted = made(codes)[0]
    torch.save(aged(made.state_dict()), tmp_path / "sashimi_sc09.pt")
    foreign = convert(tmp_path / "sashimi_sc09.pt")
    task = DownstreamExpert(1, 1, foreign.config["downstream_expert"], tmp_path).eval()
    task.load_state_dict(foreign.downstream)
    with torch.no_grad():
        torch.testing.assert_close(task.model(codes)[0], wanted)


def test_names_of_today_stay():
    weights = build(SMALL["sashimi"]).state_dict()
    assert not is_old(weights)
    assert list(renewed(weights)) == list(weights)


@pytest.mark.parametrize(("name", "sentence"), [("Q", "not held stable"), ("w", "not held stable"), ("Z", "is not known")])
def test_kernels_that_cannot_be_taken_over(name, sentence):
    with pytest.raises(CheckpointError, match=sentence):
        renewed({f"c_layers.0.layer.kernel.kernel.{name}": torch.zeros(1)})
