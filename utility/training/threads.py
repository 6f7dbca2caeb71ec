"""How many threads the math library uses.

The number changes the order of sums and so the last bits of a result: it is a function of the machine and of the number of processes,
never of the load, and a resumed run takes over the number of the run that it continues. Half of the cores are left to loader workers.
"""

from __future__ import annotations

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
