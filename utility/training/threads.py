"""What decides the last bits of a result beside the random numbers: how many threads the math library uses, and in which order they add.

The number of threads is a function of the machine and of the number of processes, never of the load, and a resumed run takes over the
number of the run that it continues. Half of the cores are left to loader workers.
"""

from __future__ import annotations

import os

import torch

from utility.training.loading import usable_cores


def default_threads(processes: int = 1) -> int:
    """Threads for each of ``processes`` processes on this machine: half of its cores, rounded up, at least one each."""
    return max(1, -(-usable_cores() // 2) // processes)


def set_threads(count: int) -> int:
    """Sets the number of threads of this process and returns it."""
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
    return count


def order_sums() -> None:
    """Makes this process use operations that add in one order, whichever thread comes first, where PyTorch has them.

    Without it the gradient of ``features[index]``, whose index holds a frame twice, differs from run to run on a CPU with two threads.
    Where there is no such operation (on GPUs, that of the CTC loss for one), PyTorch warns.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by cuBLAS when it starts
    torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms does the same, and imports the compiler for seconds
    torch.utils.deterministic.fill_uninitialized_memory = False  # costs time, and nothing here reads such memory
