"""The small networks that recorded cases were made with, as this task's configs say them; what a case does not name is official."""

from __future__ import annotations

from typing import Any

SMALL: dict[str, dict[str, Any]] = {
    "sashimi": {"_name_": "sashimi", "d_model": 8, "n_layers": 1, "pool": [4, 4], "layer": {"_name_": "s4", "d_state": 8}},
    "unet": {"_name_": "unet", "d_model": 6, "n_layers": 1, "pool": [2, 2], "layer": {"_name_": "s4", "d_state": 8, "n_ssm": None}},
    "samplernn": {"_name_": "samplernn", "d_hidden": 12, "d_model": 6, "frame_sizes": [4, 2, 2]},
    "wavenet": {
        "_name_": "wavenet",
        "layers": 3,
        "blocks": 1,
        "dilation_channels": 6,
        "residual_channels": 6,
        "skip_channels": 8,
        "end_channels": 8,
    },
    "diffwave": {
        "_name_": "diffwave",
        "backbone": "sashimi",
        "d_model": 4,
        "n_layers": 1,
        "pool": [2, 2],
        "L": 512,
        "layer": {"d_state": 4},
        "diffusion_step_embed_dim_mid": 8,
        "diffusion_step_embed_dim_out": 8,
    },
}
