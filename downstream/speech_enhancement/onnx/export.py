"""The float ONNX file of a network: (batch, F, seq_len) magnitudes to a mask of that shape, batch and seq_len being dynamic."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from utility.errors import ConfigError

INPUT, OUTPUT, TIME = "input", "output", "seq_len"
OPSETS = range(9, 21)  # that the exporter knows
_DUMMY_FRAMES = 10


def export(model: nn.Module, path: Path, bins: int, opset: int = 17) -> Path:
    """Writes ``path`` and returns it; normalisations are folded into the convolutions before them.

    (The STM32 zoo says that the batch is dynamic, and fixes it at 1.)

    Args:
        model: (B, F, T) -> (B, F, T); goes to the CPU for a copy of its arithmetic and comes back as it was.
        path: the file, replaced when the new one is whole.
        bins: F.
        opset: version of ONNX' main domain.

    Raises:
        ConfigError: the opset is none that the exporter writes, or the network has a part that it cannot say in that opset.
    """
    axes = {0: "batch", 2: TIME}
    write(model, (torch.ones(1, bins, _DUMMY_FRAMES),), path, opset, [INPUT], [OUTPUT], {INPUT: axes, OUTPUT: dict(axes)})
    return path


def write(
    model: nn.Module, given: tuple[Tensor, ...], path: Path, opset: int, inputs: list[str], outputs: list[str], axes: dict | None = None
) -> None:
    """Writes ``path``, whole or not at all.

    Args:
        model: what is exported, see :func:`export`.
        given: arguments of its kind.
        path: the file.
        opset: version of ONNX' main domain.
        inputs: names of the arguments.
        outputs: names of the results.
        axes: names of the axes that may be of any length, by the name of the tensor.

    Raises:
        ConfigError: as :func:`export`.
    """
    if type(opset) is not int or opset not in OPSETS:
        raise ConfigError(f"opset_version must be a whole number from {OPSETS[0]} to {OPSETS[-1]}, not {opset!r}", "training")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    names = {"input_names": inputs, "output_names": outputs, "dynamic_axes": axes}
    with still(model), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of itself being old, and of recurrent networks with another batch
        try:
            torch.onnx.export(model, given, part, dynamo=False, opset_version=opset, do_constant_folding=True, **names)
        except torch.onnx.errors.OnnxExporterError as error:
            raise ConfigError(f"the network cannot be exported with opset_version {opset}: {_first_line(error)}", "training") from error
    part.replace(path)


@contextmanager
def still(model: nn.Module) -> Iterator[None]:
    """The model on the CPU and in evaluation mode; each module is put back into its own mode afterwards, on the device that it had."""
    modes = {module: module.training for module in model.modules()}
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    try:
        yield model.cpu().eval()
    finally:
        model.to(device)
        for module, mode in modes.items():
            module.training = mode


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0].rstrip(".")
