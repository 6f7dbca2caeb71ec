"""Steps on a GPU, replayed as CUDA graphs: the many small operations of a step are launched at once, with no Python between them.

A graph repeats what it has recorded on the very same memory. So a stepper can be recorded if whatever it remembers lies in tensors that
keep their place, and if it does the same things again every ``period`` steps: there is a graph for each step of the period. Codes are drawn
outside of the graphs, as that differs from step to step (prefixes, entropies) and takes a small part of the time.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .code_model import Stepper

LONGEST = 256  # steps of a period: each keeps a graph of its own
WARM_UP = 3  # steps at least before anything is recorded: libraries allocate their workspaces in the first ones


class Recorder(Protocol):
    """What makes a function repeatable."""

    def warm(self, run: Callable[[], None]) -> None:
        """Runs what will be recorded, as often as it takes to have everything allocated."""

    def record(self, run: Callable[[], None]) -> Callable[[], Any]:
        """What repeats the operations of ``run``, whose effects on memory do not count."""


class CudaGraphs:
    """Records CUDA graphs on a stream of their own; they share the memory that lives within a step.

    Args:
        device: where.
    """

    def __init__(self, device: torch.device):
        self.device, self.stream, self.pool = device, torch.cuda.Stream(device), torch.cuda.graph_pool_handle()

    def warm(self, run: Callable[[], None]) -> None:
        """On the stream that is recorded afterwards."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            run()
        current.wait_stream(self.stream)

    def record(self, run: Callable[[], None]) -> Callable[[], Any]:
        """The replay of a graph. Nothing is computed meanwhile."""
        graph = torch.cuda.CUDAGraph()
        recording = torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local")
        with torch.cuda.stream(self.stream), recording:  # the former leaves the stream also where a recording fails
            run()
        return graph.replay


class Graphed:
    """A stepper whose steps are recorded once and repeated.

    Args:
        steps: begins anew; with the attribute ``period``.
        batch: number of sequences.
        device: of its tensors.
        recorder: how they are recorded.
    """

    def __init__(self, steps: Stepper, batch: int, device: torch.device, recorder: Recorder):
        self.warm_up, self._steps = steps.warm_up, steps
        self._codes = torch.zeros(batch, dtype=torch.int64, device=device)
        self._logits: Tensor | None = None
        steps.reset()
        recorder.warm(lambda: [self._run() for _ in range(-(-WARM_UP // steps.period) * steps.period)])
        self._replays = [recorder.record(self._run) for _ in range(steps.period)]
        if hasattr(steps, "warm"):
            self.warm = lambda: self._begin(steps.warm)
        self.reset()

    def _run(self) -> None:
        logits = self._steps.step(self._codes)
        if self._logits is None:
            self._logits = torch.empty_like(logits)
        self._logits.copy_(logits)

    def _begin(self, prepare: Callable[[], None]) -> None:
        prepare()
        self._phase = 0

    def reset(self) -> None:
        """Begins anew."""
        self._begin(self._steps.reset)

    def step(self, codes: Tensor) -> Tensor:
        """(B,) -> (B, n_codes)."""
        self._codes.copy_(codes)
        self._replays[self._phase]()
        self._phase = (self._phase + 1) % len(self._replays)
        return self._logits.clone()


class Settled:
    """Gives the tensors of a state, in nested lists, places that they keep; a call copies a new state into them.

    A list may be longer or shorter than the last time, and hold tensors of the state before one place further ahead.
    """

    def __init__(self) -> None:
        self._places: dict[tuple[int, ...], Tensor] = {}

    def __call__(self, new: Any, where: tuple[int, ...] = ()) -> Any:
        """The same state, in its place."""
        if isinstance(new, list):
            return [self(value, (*where, index)) for index, value in enumerate(new)]
        if new is None:
            return None
        if where not in self._places:
            self._places[where] = new.clone()
        elif self._places[where] is not new:
            self._places[where].copy_(new)
        return self._places[where]


def graphed(steps: Stepper, batch: int, device: torch.device) -> Stepper:
    """Replays the steps of ``batch`` sequences on a GPU; elsewhere, and where they cannot be recorded, the steps themselves."""
    if device.type != "cuda":
        return steps
    period = getattr(steps, "period", None)
    if period is None or period > LONGEST:
        _say(f"they repeat themselves every {period} steps" if period else f"{type(steps).__name__} keeps its state in changing places")
        return steps
    try:
        with torch.cuda.device(device):
            return Graphed(steps, batch, device, CudaGraphs(device))
    except RuntimeError as error:  # of the memory, or of an operation that no graph can hold
        _say(str(error).partition("\n")[0])
        steps.reset()
        return steps


@functools.cache
def _say(reason: str) -> None:
    logging.warning("[Generation] - steps are not replayed as CUDA graphs, which is slower: %s", reason)
