"""Denoising diffusion over waveforms: how much noise there is at each step, what is learned, how a waveform is drawn.

Ho et al. 2020; Kong et al. 2021 (DiffWave), whose fast sampling tells the network which of the trained steps has the noise of a step of the
short schedule (appendix B). Spec: audio-generation.md 10.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from utility.errors import ConfigError

Network = Callable[[Tensor, Tensor, Tensor | None], Tensor]
SOURCE = "diffusion"


@dataclass(frozen=True)
class Schedule:
    """
    Args:
        betas: (T,) float64, the part of the variance that step t adds.
        steps: (T,) float64, the number by which the network knows step t; need not be whole.
    """

    betas: Tensor
    steps: Tensor

    @property
    def kept(self) -> Tensor:
        """(T,): the part of the signal's power that is left after step t, the product of 1 - beta up to it."""
        return (1 - self.betas).cumprod(0)

    @property
    def deviations(self) -> Tensor:
        """(T,): of the noise that is put back on the way down; none at step 0."""
        kept = self.kept
        before = torch.cat([kept.new_ones(1), kept[:-1]])
        return (self.betas * (1 - before) / (1 - kept)).sqrt()

    def __len__(self) -> int:
        return len(self.betas)


def linear(steps: int = 200, beta_0: float = 1e-4, beta_T: float = 0.02) -> Schedule:  # noqa: N803, as in the public configs
    """Noise that grows evenly over the steps; the defaults are those of SC09.

    Raises:
        ConfigError: no steps, or noise that is not between 0 and 1.
    """
    if steps < 1:
        raise ConfigError(f"T is {steps}: at least one step is needed", SOURCE)
    _check([beta_0, beta_T], "beta_0 and beta_T")
    return Schedule(torch.linspace(beta_0, beta_T, steps, dtype=torch.float64), torch.arange(steps, dtype=torch.float64))


def short(trained: Schedule, betas: Sequence[float]) -> Schedule:
    """A schedule of few steps for a network that was trained with many.

    Args:
        trained: the schedule of the training.
        betas: of the short one. Where they leave more or less signal than any trained step, the network is told the nearest.

    Raises:
        ConfigError: there are none, or they are not between 0 and 1.
    """
    if not len(betas):
        raise ConfigError("beta must name at least one step", SOURCE)
    _check(betas, "beta")
    values = torch.tensor(list(betas), dtype=torch.float64)
    if len(trained) == 1:
        return Schedule(values, torch.zeros_like(values))
    wanted, known = (1 - values).cumprod(0).sqrt(), trained.kept.sqrt()
    after = torch.searchsorted(-known, -wanted).clamp(1, len(trained) - 1)  # the first trained step with no more signal
    way = (known[after - 1] - wanted) / (known[after - 1] - known[after])
    return Schedule(values, after - 1 + way.clamp(0, 1))


def _check(betas: Sequence[float], name: str) -> None:
    wrong = [beta for beta in betas if not 0 < beta < 1]
    if wrong:
        raise ConfigError(f"{name} must lie between 0 and 1, not {wrong[0]}", SOURCE)


def noised(schedule: Schedule, wavs: Tensor, t: Tensor, noise: Tensor) -> Tensor:
    """Waveforms (B, L) with the noise (B, L), of deviation 1, that there is at the steps t (B,) int64."""
    kept = schedule.kept.to(wavs.device)[t].unsqueeze(1)
    return kept.sqrt().to(wavs) * wavs + (1 - kept).sqrt().to(wavs) * noise


def loss(network: Network, schedule: Schedule, wavs: Tensor, mel: Tensor | None = None) -> Tensor:
    """Mean squared error of the noise that the network finds, at one random step for each waveform.

    Args:
        network: (B, L) waveforms, (B,) steps and the condition -> (B, L) noise.
        schedule: of the training.
        wavs: (B, L), from -1 to 1.
        mel: the condition, if any.
    """
    t = torch.randint(len(schedule), (len(wavs),), device=wavs.device)
    noise = torch.randn_like(wavs)
    return F.mse_loss(network(noised(schedule, wavs, t, noise), schedule.steps.to(wavs.device)[t].to(wavs), mel), noise)


@torch.no_grad()
def sample(
    network: Network,
    schedule: Schedule,
    normals: Callable[[], Tensor],
    mel: Tensor | None = None,
    at_step: Callable[[], None] = lambda: None,
) -> Tensor:
    """Waveforms (B, L), from noise.

    Args:
        network: see :func:`loss`, in evaluation mode.
        schedule: of the training, or a :func:`short` one.
        normals: gives (B, L) normally distributed numbers each time; called once for each step.
        mel: the condition, if any.
        at_step: called after each step.
    """
    x = normals()
    kept, deviations = schedule.kept, schedule.deviations
    for t in range(len(schedule) - 1, -1, -1):
        beta = schedule.betas[t].item()
        noise = network(x, x.new_full((len(x),), schedule.steps[t].item()), mel)
        x = (x - beta / (1 - kept[t].item()) ** 0.5 * noise) / (1 - beta) ** 0.5
        if t:
            x = x + deviations[t].item() * normals()
        at_step()
    return x
