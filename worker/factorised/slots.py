"""Keeps computed rows in one buffer under a memory budget; what was used longest ago makes room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable, Sequence
from typing import Generic, TypeVar

import torch

Key = TypeVar("Key", bound=Hashable)


class TooManyRows(Exception):  # noqa: N818 - not an error: the caller asks for less at once.
    """More rows are wanted at once than the budget holds."""


class Slots(Generic[Key]):
    """A buffer of ``capacity`` rows of a given shape, each owned by a family of rows named by a key.

    A family (the variants of one flow, the states of one prefix) is kept or dropped as a whole.
    """

    def __init__(self, capacity: int, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> None:
        self.rows = torch.empty((capacity, *shape), dtype=dtype, device=device)
        # Rows given back, and the first of those never taken: a list of all would cost more than small rows do.
        self._free: list[int] = []
        self._fresh = 0
        self._families: OrderedDict[Key, list[int]] = OrderedDict()
        self.computed = 0  #: rows ever taken, for reports

    def held(self, key: Key) -> list[int] | None:
        """Rows of a family, now the most recently used one; None when it is not held."""
        if key in self._families:
            self._families.move_to_end(key)
            return self._families[key]
        return None

    def make_room(self, count: int, needed: Collection[Key]) -> None:
        """Drop families that are not ``needed``, the oldest first, until ``count`` rows are free.

        Ask once for all that is to be taken: it looks at every family that is needed. Raises TooManyRows when too few
        rows can be had.
        """
        lacking = count - len(self._free) - (len(self.rows) - self._fresh)
        dropped = []
        for key, rows in self._families.items():
            if lacking <= 0:
                break
            if key not in needed:
                dropped.append(key)
                lacking -= len(rows)
        for key in dropped:
            self.drop(key)
        if lacking > 0:
            raise TooManyRows

    def take(self, key: Key, count: int) -> list[int]:
        """Add ``count`` rows, for which room was made, to a family."""
        taken = [self._free.pop() for _ in range(min(count, len(self._free)))]
        fresh = count - len(taken)
        taken.extend(range(self._fresh, self._fresh + fresh))
        self._fresh += fresh
        self._families.setdefault(key, []).extend(taken)
        self._families.move_to_end(key)
        self.computed += count
        return taken

    def drop(self, key: Key) -> None:
        """Give a family's rows back, if it has any."""
        self._free.extend(self._families.pop(key, []))
