"""The processes of one run: torchrun or torch.distributed.launch set the environment, this joins them.

Gradients are averaged once per optimizer update, after all micro-batches, in flat blocks. Compared with a wrapper around the modules this
keeps the task's own attributes and methods within reach, needs no search for unused parameters, and lets every rank say first whether its
step went well, so that one rank's lack of memory cannot leave the others waiting.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from utility.errors import UsageError

BLOCK_BYTES = 64 * 2**20
PATIENCE = timedelta(days=7)  # the leader may download, or evaluate alone, for hours; a rank that dies ends the others by itself
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Team:
    """The processes that train or evaluate together; with one process every method is trivial.

    Args:
        rank: of this process, 0 is the leader.
        size: number of processes.
        local_rank: of this process on its machine.
        local_size: processes on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag: is it set on any rank?"""
        if self.size == 1:
            return flags
        counts = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(counts)
        return tuple(bool(c) for c in counts.tolist())

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replaces each gradient by its mean over the ranks; a rank without a gradient counts as zero."""
        if self.size == 1:
            return
        parameters = list(parameters)
        for parameter in self._with_any_gradient(parameters):
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        for block in _blocks([p.grad for p in parameters if p.grad is not None]):
            flat = torch.cat([g.reshape(-1) for g in block])
            dist.all_reduce(flat)
            flat.div_(self.size)
            for gradient, mean in zip(block, flat.split([g.numel() for g in block]), strict=True):
                gradient.copy_(mean.view_as(gradient))

    def _with_any_gradient(self, parameters: list[nn.Parameter]) -> list[nn.Parameter]:
        has = self.any(*(p.grad is not None for p in parameters))
        return [p for p, used in zip(parameters, has, strict=True) if used]

    def broadcast(self, modules: Sequence[nn.Module]) -> None:
        """Gives every rank the leader's parameters, buffers and extra state."""
        if self.size == 1:
            return
        with torch.no_grad():
            for module in modules:
                for parameter in module.parameters():
                    values = parameter.data.contiguous()
                    dist.broadcast(values, 0)
                    parameter.data.copy_(values)
        self.share_memory_of(modules)

    def share_buffers(self, modules: Iterable[nn.Module]) -> None:
        """Gives every rank the leader's buffers, in flat blocks; after each update, as DistributedDataParallel does before each forward."""
        if self.size == 1:
            return
        buffers = sorted((b for module in modules for b in module.buffers() if b.numel()), key=lambda b: (str(b.dtype), str(b.device)))
        for block in _blocks(buffers):
            flat = torch.cat([b.reshape(-1) for b in block])
            dist.broadcast(flat, 0)
            for buffer, values in zip(block, flat.split([b.numel() for b in block]), strict=True):
                buffer.copy_(values.view_as(buffer))

    def share_memory_of(self, modules: Sequence[nn.Module]) -> None:
        """Gives every rank the leader's buffers and extra state (what evaluation may change)."""
        if self.size == 1:
            return
        for module in modules:
            remembered = self.share(_memory(module) if self.leads else None)
            if not self.leads:
                module.load_state_dict(remembered, strict=False)

    def gather(self, item: Any) -> list[Any] | None:
        """The items of all ranks on the leader, None elsewhere."""
        if self.size == 1:
            return [item]
        items: list[Any] | None = [None] * self.size if self.leads else None
        dist.gather_object(item, items)
        return items

    def share(self, item: Any) -> Any:
        """The leader's item on every rank."""
        if self.size == 1:
            return item
        box = [item]
        dist.broadcast_object_list(box, device=torch.device("cpu"))
        return box[0]

    def leave(self) -> None:
        """Ends the process group."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()


def join(device: str, backend: str = "nccl", local_rank: int | None = None) -> Team:
    """Joins the group that the launcher described in the environment (``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``).

    Args:
        device: ``cuda`` or ``cpu``, as resolved for this process.
        backend: collective library on GPUs; on CPUs gloo is used.
        local_rank: from the launcher's argument where it passes one.

    Raises:
        UsageError: a ``--local_rank`` without a launcher's environment.
    """
    if "WORLD_SIZE" not in os.environ or "RANK" not in os.environ:
        if local_rank is not None:
            raise UsageError("--local_rank is a launcher's option: start with torchrun --nproc_per_node N run_downstream.py ...")
        return Team()
    size = int(os.environ["WORLD_SIZE"])
    if local_rank is None:
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    team = Team(int(os.environ["RANK"]), size, local_rank, int(os.environ.get("LOCAL_WORLD_SIZE", size)))
    _end_with_launcher()
    if size > 1 and not dist.is_initialized():
        if "MASTER_ADDR" not in os.environ or "MASTER_PORT" not in os.environ:
            raise UsageError("RANK and WORLD_SIZE are set, but not MASTER_ADDR and MASTER_PORT: start with torchrun, or unset them")
        dist.init_process_group(f"cpu:gloo,cuda:{backend}" if device.startswith("cuda") else "gloo", timeout=PATIENCE)
    return team


def lost_a_peer(error: BaseException) -> bool:
    """Whether an error says no more than that another process of the run has ended."""
    return isinstance(error, dist.DistError) or "gloo/transport" in str(error)


def _end_with_launcher() -> None:
    """Asks the kernel for SIGTERM when the launcher dies: a rank that nobody watches would train on, or hold the folder, for ever."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _memory(module: nn.Module) -> dict[str, Any]:
    """The entries of the state dict that are not parameters, on the CPU."""
    learned = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    return {k: v.detach().cpu() if isinstance(v, Tensor) else v for k, v in module.state_dict().items() if k not in learned}


def _blocks(tensors: list[Tensor]) -> Iterable[list[Tensor]]:
    """Consecutive tensors of one type and device, up to ``BLOCK_BYTES`` a block."""
    block: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if block and (size + tensor.nbytes > BLOCK_BYTES or (tensor.dtype, tensor.device) != (block[0].dtype, block[0].device)):
            yield block
            block, size = [], 0
        block.append(tensor)
        size += tensor.nbytes
    if block:
        yield block
