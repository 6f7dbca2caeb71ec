"""Parameters, multiplications and memory of networks whose figures are known, and ST's tool, played by a script."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from downstream.speech_enhancement.models.tcnn import STFTTCNN
from downstream.speech_enhancement.onnx.export import export
from downstream.speech_enhancement.onnx.footprint import footprint
from downstream.speech_enhancement.onnx.options import Quantization
from downstream.speech_enhancement.onnx.quantization import quantize
from downstream.speech_enhancement.onnx.stedgeai import footprints, read_report
from utility.errors import ConfigError, DataError, ToolkitError, UnknownNameError


def trained(model: nn.Module) -> nn.Module:
    """Biases are no longer equal, which would be stored once."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.bias)
    return model


def test_the_published_figures_of_the_shipped_network(tmp_path: Path):
    """1.594 M parameters, 63.53 million multiplications in 40 frames (the model's card)."""
    path = export(trained(STFTTCNN(257, 512, 2, 3, mask_activation="sigmoid")), tmp_path / "a.onnx", 257)
    found = footprint(path, 257, 40)
    assert (found.parameters, found.macs) == (1594368, 40 * 1588224)
    assert found.weight_bytes == 4 * 1594368
    assert found.peak_bytes == 4 * 40 * (257 + 512 + 512)  # the skip, the depthwise convolution's input and output
    made = quantize(path, tmp_path, [lambda: np.random.default_rng(0).random((1, 257, 20), np.float32)], Quantization())
    of_int8 = footprint(made.static, 257, 40)
    assert (of_int8.parameters, of_int8.macs) == (found.parameters, found.macs)
    assert of_int8.weight_bytes < 0.3 * found.weight_bytes
    assert of_int8.peak_bytes < 0.3 * found.peak_bytes + 4 * 40 * 257


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.out, self.up = nn.GRU(6, 5, batch_first=True), nn.Linear(5, 6), nn.ConvTranspose1d(6, 6, 3, padding=1, groups=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(self.out(self.rnn(x.transpose(1, 2))[0]).transpose(1, 2)).sigmoid()


def test_other_layers(tmp_path: Path):
    found = footprint(export(Recurrent(), tmp_path / "a.onnx", 6), 6, 10)
    assert found.macs == 10 * (3 * 5 * (6 + 5) + 5 * 6 + 6 * 3 * 3)


def test_activations_of_int8_live_until_they_are_read(tmp_path: Path):
    """The depthwise convolution reads 64 channels, writes 64, and the skip's 4 wait; each of them a byte."""
    torch.manual_seed(0)
    path = export(STFTTCNN(4, 64, 1, 1), tmp_path / "a.onnx", 4)
    made = quantize(path, tmp_path, [lambda: np.random.default_rng(0).random((1, 4, 40), dtype=np.float32)], Quantization())
    assert footprint(made.static, 4, 40).peak_bytes == (64 + 64 + 4) * 40


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    """Writes what it was asked, and a report, into the folder after --output."""
    path = tmp_path / "stedgeai"
    path.write_text(
        "#!/bin/sh\n"
        'while [ "$#" -gt 0 ]; do case "$1" in --output) out=$2;; --optimization) how=$2;; --target) for=$2;; esac; shift; done\n'
        'echo "$how $for" > "$out/asked"\n'
        'echo "macc              : 63,529,000" > "$out/network_generate_report.txt"\n'
        'echo \'{"memory_footprint": {"activations": 102492, "weights": 1665904}}\' > "$out/network_report.json"\n'
    )
    path.chmod(0o755)
    return path


def test_the_tool_of_st(tool: Path, tmp_path: Path, monkeypatch):
    found = footprints(tmp_path / "a.onnx", "STM32N6570-DK", {"path_to_stedgeai": str(tool), "optimization": "ram"}, tmp_path / "out")
    assert found == {"activations": (102492 / 1024, "KiB"), "weights": (1665904 / 1024, "KiB"), "macs": (63.529, "million")}
    assert (tmp_path / "out" / "asked").read_text() == "ram stm32n6\n"
    monkeypatch.setenv("PATH", f"{tool.parent}:/bin:/usr/bin")
    assert footprints(tmp_path / "a.onnx", "NUCLEO-H743ZI2", {}, tmp_path / "out") == found
    assert (tmp_path / "out" / "asked").read_text() == "balanced stm32\n"
    monkeypatch.setenv("PATH", "")
    assert footprints(tmp_path / "a.onnx", "STM32N6570-DK", {"path_to_stedgeai": "/absent"}, tmp_path / "none") is None
    assert not (tmp_path / "none").exists()


def test_other_reports(tmp_path: Path):
    (tmp_path / "network_report.json").write_text(json.dumps({"ram_size": 2048, "rom_size": 4096, "rom_n_macc": 5e6}))
    assert read_report(tmp_path) == {"activations": (2, "KiB"), "weights": (4, "KiB"), "macs": (5, "million")}
    (tmp_path / "network_report.json").write_text("{")
    with pytest.raises(DataError, match=r"network_report\.json is no report of stedgeai"):
        read_report(tmp_path)
    (tmp_path / "network_report.json").write_text("[]")
    with pytest.raises(DataError, match=r"left no network_report\.json with footprints"):
        read_report(tmp_path)


def test_refusals_of_the_tool(tool: Path, tmp_path: Path):
    model = tmp_path / "a.onnx"
    with pytest.raises(UnknownNameError, match=r"unknown stedgeai\.optimization 'balance'; did you mean 'balanced'"):
        footprints(model, "", {"path_to_stedgeai": str(tool), "optimization": "balance"}, tmp_path)
    with pytest.raises(ConfigError, match="on_cloud needs an account"):
        footprints(model, "", {"on_cloud": True}, tmp_path)
    tool.write_text("#!/bin/sh\necho first >&2\necho 'E010: unsupported layer' >&2\nexit 3\n")
    with pytest.raises(ToolkitError, match="ended with status 3: E010: unsupported layer"):
        footprints(model, "", {"path_to_stedgeai": str(tool)}, tmp_path)
