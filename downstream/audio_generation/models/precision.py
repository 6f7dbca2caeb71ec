"""What half precision is not enough for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


@contextmanager
def in_full(x: Tensor) -> Iterator[Tensor]:
    """No autocast within the block, which is given ``x`` in float32 where it is in half precision."""
    with torch.autocast(x.device.type, enabled=False):
        yield x.float() if x.dtype in HALF else x
