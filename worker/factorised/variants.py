"""Gives each changed frame its input projection, warping and encoding each distinct one once while it is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from common.game import Point
from worker.factorised.slots import Slots

Integers = npt.NDArray[np.int64]

#: All variants of one flow that share every change but the last: (flow, those changes, |last value|).
Family = tuple[int, Point, int]


class Variants(Slots[Family]):
    """Input projections of frame variants, ``[capacity, I]``, looked up by arrays.

    Parameters
    ----------
    compute : gives projections ``[U, I]`` for flow ``t`` from its changes, int16 ``[U, K_t]`` by local coordinate.
    offsets : number of the first coordinate of each flow, ``[T]``.

    """

    def __init__(
        self,
        capacity: int,
        width: int,
        dtype: torch.dtype,
        device: torch.device,
        compute: Callable[[int, npt.NDArray[np.int16]], Tensor],
        offsets: Integers,
    ) -> None:
        super().__init__(capacity, (width,), dtype, device)
        self._compute = compute
        self._offsets = offsets
        self._tables: dict[Family, Integers] = {}

    def rows_of(self, family: Family, coordinate: Integers, value: Integers, needed: Sequence[Family]) -> Integers:
        """Rows of the variants that add ``value`` steps (all of one size) in each ``coordinate``; computes the missing.

        Raises TooManyRows when the budget does not hold all ``needed`` families together.
        """
        flow, base, size = family
        first, end = int(self._offsets[flow]), int(self._offsets[flow + 1])
        table = self._tables.get(family)
        if table is None:
            table = self._tables[family] = np.full(2 * (end - first), -1, np.int64)
        local = 2 * (coordinate - first) + (value < 0)
        rows = table[local]
        missing = np.unique(local[rows < 0])
        if missing.size:
            changes = np.zeros((missing.size, end - first), np.int16)
            for j, a in base:
                changes[:, j - first] = a
            changes[np.arange(missing.size), missing // 2] = size * (1 - 2 * (missing % 2))
            taken = self.take(family, missing.size, needed)
            self.rows[torch.tensor(taken, device=self.rows.device)] = self._compute(flow, changes)
            table[missing] = taken
            rows = table[local]
        else:
            self.held(family)
        return rows

    def drop(self, key: Family) -> None:
        """Give a family's rows back and forget which variants they held."""
        super().drop(key)
        self._tables.pop(key, None)
