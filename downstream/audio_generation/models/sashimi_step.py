"""SaShiMi code by code: compiled on a CPU, by its modules elsewhere (on a GPU in graphs, see ``graphed``)."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from utility.errors import DataError, UnknownNameError

from .code_model import Stepper
from .graphed import Settled
from .s4_kernel import MODES
from .sashimi_body import SashimiBody

COMPILED = "compiled"


def stepper_of(body: SashimiBody, batch: int, mode: str | None, encoder: Tensor, decoder: tuple[Tensor, Tensor]) -> Stepper:
    """Goes through ``batch`` sequences with the weights of now.

    Args:
        body: the backbone, in evaluation mode.
        batch: B.
        mode: "dense", "diagonal" or "linear": plain PyTorch in this way; "compiled": float32 on one core; None: the fastest that is there.
        encoder: embedding (n_codes, H).
        decoder: matrix (n_codes, H) and bias of the logits.

    Raises:
        UnknownNameError: another mode, or "compiled" for a model that is not float32 on a CPU or has unusual layers.
        ConfigError: the model is bidirectional.
    """
    from .step_program import fusable

    fits = encoder.device.type == "cpu" and encoder.dtype == torch.float32 and fusable(body)
    modes = [*MODES, *([COMPILED] if fits else [])]
    if mode is not None and mode not in modes:
        raise UnknownNameError("mode of the steps of this model", mode, modes)
    if fits and mode in (None, COMPILED):
        return CompiledStepper(body, batch, encoder, decoder)
    return PlainSteps(body, batch, mode or "linear", encoder, decoder)


class PlainSteps:
    """Steps of the modules themselves; their states keep their places.

    Args:
        body, batch, mode, encoder, decoder: see ``stepper_of``.

    Attributes:
        period: steps after which all pools are empty again.
    """

    warm_up = 0

    def __init__(self, body: SashimiBody, batch: int, mode: str, encoder: Tensor, decoder: tuple[Tensor, Tensor]):
        self.body, self.batch, self.encoder, self.decoder = body, batch, encoder, decoder
        self.period, self._settled = math.prod(body.pool), Settled()
        body.setup_step(mode)
        self.reset()

    def reset(self) -> None:
        """Begins anew."""
        self.state = self._settled(self.body.default_state(self.batch, device=self.encoder.device))

    @torch.no_grad()
    def step(self, codes: Tensor) -> Tensor:
        """(B,) -> (B, n_codes)."""
        y, state = self.body.step(F.embedding(codes, self.encoder), self.state)
        self.state = self._settled(state)
        return F.linear(y, *self.decoder)


class CompiledStepper:
    """The whole step as one compiled loop on one core, float32, with everything allocated beforehand.

    Args:
        body, batch, encoder, decoder: see ``stepper_of``.
    """

    warm_up = 0

    def __init__(self, body: SashimiBody, batch: int, encoder: Tensor, decoder: tuple[Tensor, Tensor]):
        from .step_kernels import run
        from .step_program import Program

        program = Program(body, batch, encoder, decoder)
        self._run, self._batch, self._codes = run, batch, len(encoder)
        self._program = (program.ops, program.weights)
        self._work = np.zeros(program.size, dtype=np.float32)
        self._phases = np.zeros(program.pools, dtype=np.int64)
        size = batch * self._codes
        self._logits = torch.from_numpy(self._work[program.logits : program.logits + size]).view(self._codes, batch).T

    def reset(self) -> None:
        """Begins anew."""
        self._work.fill(0)
        self._phases.fill(0)

    def step(self, codes: Tensor) -> Tensor:
        """(B,) -> (B, n_codes).

        Raises:
            DataError: another number of codes, or codes that do not exist.
        """
        given = codes.numpy().astype(np.int64, copy=False)
        if given.shape != (self._batch,) or given.min() < 0 or given.max() >= self._codes:
            raise DataError(f"a step wants {self._batch} codes of 0 to {self._codes - 1}, not {given.tolist()}")
        self._run(*self._program, self._work, self._phases, np.ascontiguousarray(given))
        return self._logits.clone(memory_format=torch.contiguous_format)
