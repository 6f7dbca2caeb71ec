"""Code after code, each fed back into the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..models.code_model import Stepper
from .drawing import Drawing


@dataclass(frozen=True)
class Loop:
    """
    Args:
        drawing: how a code is drawn.
        zero: the code that stands before every sequence.
        published: where the network wants zero tokens first (WaveNet), draw one code more behind them and drop it, as the published
            program does; its log probability is counted. Otherwise the first code follows the zero token, as in training.
    """

    drawing: Drawing
    zero: int
    published: bool = False

    def skipped(self, stepper: Stepper) -> int:
        """Steps over zero tokens before the first code; none where the stepper knows what they lead to, as they are always the same."""
        return 0 if not self.published and hasattr(stepper, "warm") else stepper.warm_up

    @torch.no_grad()
    def __call__(
        self,
        stepper: Stepper,
        uniforms: Callable[[], Tensor],
        length: int,
        batch: int,
        prefix: Tensor | None = None,
        device: str | torch.device = "cpu",
        at_step: Callable[[Tensor, bool], None] = lambda logits, drawn: None,
    ) -> tuple[Tensor, Tensor]:
        """Generates sequences from the beginning.

        Args:
            stepper: of ``batch`` streams.
            uniforms: gives (B,) numbers for each code that could be drawn.
            length: codes of a sequence, those of the prefix included.
            batch: streams.
            prefix: (B, P) inputs that are given, the zero token and P - 1 codes; None: the zero token alone.
            device: of the codes.
            at_step: called with the logits (B, n_codes) of each step and whether a code is drawn from them.

        Returns:
            codes (B, length) int64 and the log likelihoods (B,) float64, natural, of those that were drawn.
        """
        skipped = self.skipped(stepper)
        if skipped < stepper.warm_up:
            stepper.warm()
        else:
            stepper.reset()
        zeros = torch.full((batch,), self.zero, dtype=torch.int64, device=device)
        given = [zeros] * skipped + ([zeros] if prefix is None else list(prefix.to(device).T))
        if self.published and prefix is None and skipped:
            given.pop()
        codes = torch.empty(length, batch, dtype=torch.int64, device=device)
        total = torch.zeros(batch, dtype=torch.float64, device=device)
        current = given[0]
        for step in range(skipped + length):
            logits, forced = stepper.step(current), step + 1 < len(given)
            at_step(logits, not forced)
            numbers = uniforms()
            if forced:
                current = given[step + 1]
            else:
                current, likelihood = self.drawing(logits, numbers)
                total += likelihood
            if step >= skipped:
                codes[step - skipped] = current
        return codes.T.contiguous(), total
