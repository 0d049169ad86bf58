"""Runs work in parts that fit the device: out of memory halves the part and goes on, down to a single item.

A part's size changes sums in their last digits. That is within the band in which points are decided in float64, one at
a time (docs/soundness.md).
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from typing import TypeVar

import structlog
import torch

from common.errors import DeviceMemoryError, first_line

log = structlog.get_logger()
#: How torch's errors begin where not its own allocator is short of memory: it tells libraries' words as they are. Since
#: its ninth version cuDNN has the longer word.
_NO_MEMORY = re.compile(
    r"CUDA error: (out of memory|CUBLAS_STATUS_ALLOC_FAILED)\b"
    r"|cuDNN error: CUDNN_STATUS_(ALLOC|INTERNAL_ERROR_DEVICE_ALLOCATION)_FAILED\b"
)
Part = TypeVar("Part")


class Halving:
    """Remembers how many items at once the device has had memory for.

    Parameters
    ----------
    size : items of a part to begin with.
    what : what the items are, in the plural, for whoever reads the error.

    """

    def __init__(self, size: int, what: str) -> None:
        self.size = self._first = size
        self._what = what

    def run(self, count: int, work: Callable[[slice], Part]) -> list[Part]:
        """Give ``work`` slices that cover ``0..count-1`` in order; returns what it returned for each.

        A slice may be given a second time, in halves. Raises DeviceMemoryError when the device has no memory for a
        single item.
        """
        parts: list[Part] = []
        done = 0
        while done < count:
            here = slice(done, min(done + self.size, count))
            try:
                part = work(here)
            except RuntimeError as error:
                if not lacks_memory(error):
                    raise
                reason = first_line(error)
            else:
                parts.append(part)
                done = here.stop
                continue
            # Outside the except block, whose traceback would keep the tensors of the failed part alive.
            self._halve(here.stop - here.start, reason)
        return parts

    def _halve(self, tried: int, reason: str) -> None:
        release_memory()
        if tried == 1:
            raise DeviceMemoryError(
                f"no memory for one of the {self._what}, where batches of {self._first} are wanted: {reason}; "
                "use a device with more memory, or a smaller FLOWCERT_CACHE_BYTES"
            )
        self.size = tried // 2
        log.warning("batch_halved", what=self._what, tried=tried, now=self.size, reason=reason)


def release_memory() -> None:
    """Give memory that nothing uses any more back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def lacks_memory(error: RuntimeError) -> bool:
    """Whether an error says that the device has no memory: torch's, CUDA's, or a library's that takes its own."""
    return isinstance(error, torch.OutOfMemoryError) or _NO_MEMORY.match(str(error)) is not None
