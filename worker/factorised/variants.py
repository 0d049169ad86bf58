"""Gives each changed frame its input projection, warping and encoding each distinct one once while it is kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from common.game import ROOT, Block, Point
from worker.factorised.slots import Slots

Integers = npt.NDArray[np.int64]

#: All variants of one flow that share every change but the last: (flow, those changes, |last value|).
Family = tuple[int, Point, int]
#: Variants of one family: those that add in each coordinate the value, all of the family's size.
Wanted = tuple[Family, Integers, Integers]
#: Gives projections ``[U, I]`` for flow ``t`` from its changes, int16 ``[U, K_t]`` by local coordinate.
Compute = Callable[[int, npt.NDArray[np.int16]], Tensor]


class Variants(Slots[Family]):
    """Input projections of frame variants, ``[capacity, I]``, looked up by arrays.

    Parameters
    ----------
    offsets : number of the first coordinate of each flow, ``[T]``.

    """

    def __init__(
        self,
        capacity: int,
        width: int,
        dtype: torch.dtype,
        device: torch.device,
        offsets: Integers,
    ) -> None:
        super().__init__(capacity, (width,), dtype, device)
        self._offsets = offsets
        self._tables: dict[Family, Integers] = {}

    def rows_of(self, wanted: Sequence[Wanted], compute: Compute) -> list[Integers]:
        """Rows of variants, for each entry of ``wanted``; computes the missing ones of each flow together.

        ``compute`` is given here and not kept, so that an evaluator and its variants do not hold each other: their
        buffers would wait for the collector. Raises TooManyRows when the budget does not hold all their families
        together.
        """
        places = [2 * (coordinate - self._offsets[family[0]]) + (value < 0) for family, coordinate, value in wanted]
        missing: dict[Family, Integers] = {}
        for (family, _, _), local in zip(wanted, places, strict=True):
            self.held(family)
            rows = self._table(family)[local]
            if rows.min() < 0:
                missing[family] = np.union1d(missing.get(family, local[:0]), local[rows < 0])
        try:
            self._fill(missing, {family for family, _, _ in wanted}, compute)
        except BaseException:
            # What is held must have been computed.
            for family in missing:
                self.drop(family)
            raise
        return [self._table(family)[local] for (family, _, _), local in zip(wanted, places, strict=True)]

    def _table(self, family: Family) -> Integers:
        """Row of each variant of a family by local coordinate and sign, -1 for those not held."""
        table = self._tables.get(family)
        if table is None:
            flow = family[0]
            table = np.full(2 * int(self._offsets[flow + 1] - self._offsets[flow]), -1, np.int64)
            self._tables[family] = table
        return table

    def _fill(self, missing: dict[Family, Integers], needed: Collection[Family], compute: Compute) -> None:
        """Compute the missing variants, flow by flow: batches of one family's alone would be small."""
        self.make_room(sum(local.size for local in missing.values()), needed)
        taken = {family: self.take(family, local.size) for family, local in missing.items()}
        for flow in dict.fromkeys(flow for flow, _, _ in missing):
            families = [family for family in missing if family[0] == flow]
            changes = np.concatenate([self._changes(family, missing[family]) for family in families])
            rows = [row for family in families for row in taken[family]]
            self.rows[torch.tensor(rows, device=self.rows.device)] = compute(flow, changes)
        for family, local in missing.items():
            self._table(family)[local] = taken[family]

    def _changes(self, family: Family, local: Integers) -> npt.NDArray[np.int16]:
        """All changes of the flow ``[U, K]`` of a family's variants."""
        flow, base, size = family
        first, end = int(self._offsets[flow]), int(self._offsets[flow + 1])
        changes = np.zeros((local.size, end - first), np.int16)
        for j, a in base:
            changes[:, j - first] = a
        changes[np.arange(local.size), local // 2] = size * (1 - 2 * (local % 2))
        return changes

    def drop(self, key: Family) -> None:
        """Give a family's rows back and forget which variants they held."""
        super().drop(key)
        self._tables.pop(key, None)


def by_family(
    block: Block, flow: Integers, same: npt.NDArray[np.bool_], within: dict[int, Point]
) -> list[tuple[Family, npt.NDArray[np.intp]]]:
    """Group a block's points by family of variants; a parent matters only where it changes the same flow.

    ``flow`` is the last flow that each point changes, ``same`` whether its parent changes that one too, ``[B]`` each;
    ``within`` has, by the parent's number, what it changes there.
    """
    parent = np.where(same, block.parent, -1)
    steps = np.abs(block.value)
    changed = np.flatnonzero(steps)
    if not changed.size:
        return []
    # One integer for the three, so that a single sort groups them.
    key = (flow * (len(block.parents) + 1) + parent + 1)[changed] * (steps.max() + 1) + steps[changed]
    order = np.argsort(key, kind="stable")
    groups = np.split(changed[order], np.flatnonzero(np.diff(key[order])) + 1)
    return [
        ((int(flow[rows[0]]), within.get(int(parent[rows[0]]), ROOT), int(steps[rows[0]])), rows) for rows in groups
    ]
