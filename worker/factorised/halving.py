"""Runs work in parts that fit the device: out of memory halves the part and goes on, down to a single item."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Part = TypeVar("Part")


class Halving:
    """Remembers how many items at once the device has had memory for, beginning with ``size``."""

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, count: int, work: Callable[[slice], Part]) -> list[Part]:
        """Give ``work`` slices that cover ``0..count-1`` in order; returns what it returned for each.

        Raises MemoryError when the device has no memory for a single item.
        """
        parts: list[Part] = []
        done = 0
        while done < count:
            here = slice(done, min(done + self.size, count))
            try:
                part = work(here)
            except torch.OutOfMemoryError:
                pass
            else:
                parts.append(part)
                done = here.stop
                continue
            # Outside the except block, where the traceback no longer keeps the tensors alive.
            if self.size == 1:
                raise MemoryError("the device has no memory for a single item")
            self.size //= 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return parts
