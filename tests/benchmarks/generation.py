"""Samples per second of generation, code by code, with the official SC09 sizes, on one core.

    python3 tests/benchmarks/generation.py [--models sashimi s4d unet wavenet samplernn] [--batches 1 32] [--seconds 2]

For each model and batch: the quickest exact steps, the same with codes drawn from them, a loop over PyTorch's layers, and the bound: the
products of the model's matrices with the vectors of the batch and nothing else, as one large product for all matrices that are used
equally often, in float32. Below the bound a model is slowed down by something else; above it, products were computed in advance. State
spaces are no such products: a second bound has also one multiplication of each real number of their states by a constant. All are the
best of several turns, taken in turn, as other processes slow down all of them.
"""

from __future__ import annotations

import argparse
import math
import os
import site
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
site.addsitedir(str(Path(__file__).resolve().parents[2]))

import torch
import yaml

from downstream.audio_generation.generation.drawing import Drawing, Uniforms
from downstream.audio_generation.models.build import build
from downstream.audio_generation.models.code_model import CodeModel, Stepper
from downstream.audio_generation.models.s4_layer import S4Block
from downstream.audio_generation.models.sashimi_blocks import matrix_of
from downstream.audio_generation.models.sashimi_body import SashimiBody

FOLDER = Path(__file__).resolve().parents[2] / "downstream" / "audio_generation"
CONFIGS = {
    "sashimi": "sashimi-sc09",
    "s4d": "sashimi-sc09",
    "unet": "sashimi-sc09-unet",
    "wavenet": "wavenet-sc09",
    "samplernn": "samplernn-sc09",
}
PLAIN = {"sashimi": "diagonal", "s4d": "diagonal", "unet": "diagonal", "wavenet": "plain", "samplernn": "plain"}
TURNS, WIDTH = 5, 1024


def main() -> int:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--seconds", type=float, default=2, help="for each figure")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("model       batch   steps/s: ours     layers      bound   samples/s: ours      drawn   of layers   of bound   with states")
    for name in args.models:
        torch.manual_seed(0)
        config = yaml.safe_load((FOLDER / f"{CONFIGS[name]}.yaml").read_text())["downstream_expert"]["modelrc"]
        if name == "s4d":
            config["layer"]["_name_"] = "s4d"
        model = build(config).eval()
        for batch in args.batches:
            compare(name, model, batch, args.seconds / TURNS)
    return 0


@torch.no_grad()
def compare(name: str, model: CodeModel, batch: int, seconds: float) -> None:
    """One line."""
    runs = [
        stepping(model.stepper(batch), batch),
        generating(model.stepper(batch), batch),
        stepping(model.stepper(batch, PLAIN[name]), batch),
        products(uses(name, model), batch),
    ]
    if isinstance(model.model, SashimiBody):
        runs.append(products(uses(name, model), batch, _states(model.model)))
    best = [0.0] * len(runs)
    for _ in range(TURNS):
        for which, run in enumerate(runs):
            best[which] = max(best[which], rate(run, seconds))
    ours, drawn, layers, bound, *with_states = best
    speeds = f"{ours:16.0f} {layers:10.0f} {bound:10.0f} {batch * ours:17.0f} {batch * drawn:10.0f}"
    print(
        f"{name:10} {batch:6} {speeds} {ours / layers:11.1f} {ours / bound:10.2f}",
        *(f"{ours / own:12.2f}" for own in with_states),
        flush=True,
    )


def rate(run: Callable[[int], None], seconds: float) -> float:
    """Steps per second, over whole rounds of 64 steps."""
    run(64)
    steps, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        run(64)
        steps += 64
    return steps / (time.perf_counter() - begun)


def stepping(stepper: Stepper, batch: int) -> Callable[[int], None]:
    """Steps without drawing."""
    codes = torch.full((batch,), 128)
    stepper.reset()

    def run(steps: int) -> None:
        for _ in range(steps):
            stepper.step(codes)

    return run


def generating(stepper: Stepper, batch: int) -> Callable[[int], None]:
    """Steps whose codes are drawn from the one before."""
    drawing, uniforms, last = Drawing(), Uniforms([(0, stream) for stream in range(batch)]), [torch.full((batch,), 128)]
    stepper.reset()

    def run(steps: int) -> None:
        for _ in range(steps):
            last[0], _ = drawing(stepper.step(last[0]), uniforms())

    return run


def products(numbers: Counter[int], batch: int, states: Counter[int] | None = None) -> Callable[[int], None]:
    """The products of as many numbers as are used every so many steps; each of so many states times a constant."""
    matrices = {every: torch.randn(math.ceil(count / WIDTH), WIDTH) for every, count in numbers.items()}
    vectors = torch.randn(WIDTH, batch)
    results = {every: torch.empty(len(matrix), batch) for every, matrix in matrices.items()}
    decays = {every: (torch.ones(batch, count), torch.ones(count)) for every, count in (states or {}).items()}

    def run(steps: int) -> None:
        for step in range(steps):
            for every, matrix in matrices.items():
                if step % every == 0:
                    if batch == 1:
                        torch.mv(matrix, vectors[:, 0], out=results[every][:, 0])
                    else:
                        torch.mm(matrix, vectors, out=results[every])
            for every, (state, factor) in decays.items():
                if step % every == 0:
                    state.mul_(factor)

    return run


def uses(name: str, model: CodeModel) -> Counter[int]:
    """How many numbers of matrices are used every so many steps."""
    found: Counter[int] = Counter()
    for every, weight in {"wavenet": _wavenet, "samplernn": _samplernn}.get(name, _sashimi)(model.model):
        found[every] += weight.numel()
    found[1] += sum(weight.numel() for weight in model.decoder.parameters() if weight.dim() > 1)
    return found


def _wavenet(net: torch.nn.Module) -> list[tuple[int, torch.Tensor]]:
    return [(1, weight) for weight in net.parameters() if weight.dim() > 1]


def _samplernn(net: torch.nn.Module) -> list[tuple[int, torch.Tensor]]:
    mlp = net.sample_level_mlp
    found = [(1, layer.value()) for layer in (mlp.input, mlp.hidden, mlp.output)]
    for frame, tier in zip(net.frames, net.frame_level_rnns, strict=True):
        weights = [weight for weight_name, weight in tier.rnn.named_parameters() if weight_name.startswith("weight")]
        found += [(frame, weight) for weight in [*weights, tier.input_expand.value(), tier.upsampling.conv_t.value()]]
    return found


def _sashimi(net: SashimiBody) -> list[tuple[int, torch.Tensor]]:
    """The linear layers; the recurrences of S4 are no products of matrices in the diagonal form."""
    found = [
        (every, weight)
        for every, block in _blocks(net)
        for weight_name, weight in block.named_parameters()
        if weight.dim() == 2 and "kernel" not in weight_name and "layer.D" not in weight_name
    ]
    every = 1
    for level in net.levels:
        every *= level.down.pool
        found.extend((every, matrix_of(pool.linear)) for pool in (level.down, level.up))
    return found


def _states(net: SashimiBody) -> Counter[int]:
    """How many real numbers of states are used every so many steps."""
    net.setup_step("linear")
    found: Counter[int] = Counter()
    for every, block in _blocks(net):
        for layer in block.modules():
            if isinstance(layer, S4Block):
                found[every] += 2 * layer.default_state().numel()
    return found


def _blocks(net: SashimiBody) -> Iterator[tuple[int, torch.nn.Module]]:
    """The blocks, and how many steps lie between two uses of each."""
    every = 1
    for level in net.levels:
        yield from ((every, block) for block in (*level.before, *level.after))
        every *= level.down.pool
    yield from ((every, block) for block in net.c_layers)


if __name__ == "__main__":
    raise SystemExit(main())
