"""Counts the grid points of a subtree up to a cost, exactly, without enumerating them.

For L1 and L2 the number of ways to change coordinates ``j..J-1`` at a total cost of at most ``b`` follows from the
product of one generating function per coordinate (design: exact counting by dynamic programming)::

    S_j(b) = S_{j+1}(b) + 2·Σ_{s≥1} S_{j+1}(b − cost_j(s)),      S_J(b) = 1 for b ≥ 0

and the points whose first further change lies in coordinates ``p..q-1`` number ``S_p(b) − S_q(b)``, so an interval
of items is counted in constant time. For Linf a bound on the maximum makes coordinates independent: S is a power.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from common.errors import InputError
from common.game.tree import Game, Point, Subtree
from common.vocab import Norm

#: Entries a counting table may have; 8 bytes each.
MAX_TABLE_ENTRIES = 40_000_000
#: Bytes a table of larger counts may have, which only a search guided by a heuristic asks for.
MAX_WHOLE_TABLE_BYTES = 2**28
#: Counts below it are kept as 64-bit integers, with room for twice one.
_FITS_BITS = 61
#: Bits of each digit of a larger count; 64-bit sums of four million digits do not overflow.
_DIGIT_BITS = 40
#: Points a Linf game may have: its levels grow as (2s+1)^J and cannot be refined below a whole step.
MAX_LINF_POINTS = 20_000_000


#: Counts as 64-bit integers where they fit, as Python integers where they do not.
Table = npt.NDArray[Any]


class PointCounter:
    """Exact counts of one game's points up to ``limit`` (a cost, inclusive).

    Subtrees are counted from a table of 64-bit integers that ends where the whole game's count outgrows them: nobody
    explores that many points. Beyond, only the whole game's counts are kept, as digits; a subtree's, for which a guided
    search asks, take a table of Python integers that is built when first needed.

    Raises
    ------
    InputError : when the table would not fit in memory, or a Linf game has too many points to be explored.

    """

    def __init__(self, game: Game, limit: int) -> None:
        self.game = game
        self.limit = limit
        self._unit = 1
        self._table: Table | None = None
        self._totals: Table | None = None
        self._whole: Table | None = None
        if game.norm is Norm.LINF:
            if self._suffix(0, limit) > MAX_LINF_POINTS:
                count = _power_text(2 * self._linf_steps(limit) + 1, len(game.sizes))
                raise InputError(
                    "norm", f"Linf gives {count} grid points; use fewer features, a smaller radius or a cap"
                )
        else:
            self._unit = math.gcd(*game.sizes)
            self._columns = limit // self._unit + 1
            if (len(game.sizes) + 1) * self._columns > MAX_TABLE_ENTRIES:
                raise InputError(
                    "radius",
                    f"{len(game.sizes)} coordinates times {self._columns} cost levels are too many to count exactly; "
                    "use coarser features, a larger tau or a smaller radius",
                )
            self._steps = {size: _steps(game, size, limit, self._unit) for size in set(game.sizes)}
            sizes = _estimates(game, self._steps, self._columns)
            self._bits = _most_bits(game, self._steps, float(sizes[-1]))
            # Counts grow with the cost, so those that fit come first.
            fitting = int(np.searchsorted(sizes, _FITS_BITS))
            self._table = _suffix_table(game, self._steps, fitting, np.int64)
            if fitting < self._columns:
                self._totals = _total_digits(game, self._steps, self._columns, self._bits)

    def upto(self, subtree: Subtree, limit: int) -> int:
        """Number of the subtree's points with cost at most ``limit``, which must not exceed the counter's own."""
        if limit > self.limit:
            raise ValueError(f"counted up to cost {self.limit}, asked for {limit}")
        game, node = self.game, subtree.prefix
        base = game.cost(node)
        total = 0
        if subtree.first <= 0 < subtree.last and base <= limit:
            total += 1
        if subtree.first <= 1 < subtree.last and node:
            total += self._deeper(node, limit)
        return total + self._further(node, base, max(subtree.first, 2) - 2, subtree.last - 2, limit)

    def between(self, subtree: Subtree, low: int, high: int) -> int:
        """Number of the subtree's points with ``low ≤ cost < high``."""
        if high <= low:
            return 0
        return self.upto(subtree, high - 1) - (self.upto(subtree, low - 1) if low > 0 else 0)

    def next_cost(self, subtree: Subtree, low: int, wanted: int = 1) -> int | None:
        """Least cost ``c ≥ low`` such that ``wanted`` of the subtree's points have a cost in ``low..c``, or None."""
        below = self.upto(subtree, low - 1) if low > 0 else 0
        if low > self.limit or self.upto(subtree, self.limit) - below < wanted:
            return None
        least, most = low, self.limit
        while least < most:
            middle = (least + most) // 2
            if self.upto(subtree, middle) - below >= wanted:
                most = middle
            else:
                least = middle + 1
        return least

    def _linf_steps(self, limit: int) -> int:
        return limit if self.game.cap is None else min(limit, self.game.cap)

    def _suffix(self, coordinate: int, budget: int) -> int:
        """Ways to change coordinates ``coordinate..`` at a cost of at most ``budget``: S of the module's text."""
        if budget < 0:
            return 0
        if self._table is None:
            return int((2 * self._linf_steps(budget) + 1) ** (len(self.game.sizes) - coordinate))
        column = budget // self._unit
        if column < self._table.shape[1]:
            return int(self._table[coordinate, column])
        if coordinate == len(self.game.sizes):
            return 1
        if coordinate == 0 and self._totals is not None:
            return sum(int(digit) << _DIGIT_BITS * place for place, digit in enumerate(self._totals[:, column]))
        return int(self._whole_table()[coordinate, column])

    def _whole_table(self) -> Table:
        """The table for every budget; raises InputError when it would not fit in memory."""
        if self._whole is None:
            # A Python integer has some 32 bytes beside its digits, and 8 of the array.
            size = (len(self.game.sizes) + 1) * self._columns * (self._bits // 8 + 40)
            if size > MAX_WHOLE_TABLE_BYTES:
                raise InputError(
                    "radius",
                    f"{len(self.game.sizes)} coordinates times {self._columns} cost levels have counts of up to"
                    f" {self._bits} bits, too many for a guided search; use coarser features or a smaller radius",
                )
            self._whole = _suffix_table(self.game, self._steps, self._columns, np.object_)
        return self._whole

    def _budget(self, base: int, limit: int) -> int:
        """What coordinates not yet changed may cost when those changed so far cost ``base``; negative for nothing."""
        if self.game.norm is Norm.LINF:
            return limit if base <= limit else -1
        return limit - base

    def _deeper(self, node: Point, limit: int) -> int:
        """Points of item 1: the last coordinate goes at least one step further."""
        game = self.game
        coordinate, value = node[-1]
        before = game.cost(node[:-1])
        steps, total = abs(value) + 1, 0
        while game.cap is None or steps <= game.cap:
            base = game.join(before, game.step_cost(coordinate, steps))
            if base > limit:
                break
            total += self._suffix(coordinate + 1, self._budget(base, limit))
            steps += 1
        return total

    def _further(self, node: Point, base: int, start: int, stop: int, limit: int) -> int:
        """Points of the child items ``start..stop-1``, two (plus and minus) for each coordinate after the last."""
        budget = self._budget(base, limit)
        if budget < 0 or stop <= start:
            return 0
        offset = node[-1][0] + 1 if node else 0

        def twice_below(item: int) -> int:
            """Twice the points of all child items before ``item``; a coordinate's two signs have equally many."""
            coordinate = offset + item // 2
            points = 2 * (self._suffix(offset, budget) - self._suffix(coordinate, budget))
            if item % 2:
                points += self._suffix(coordinate, budget) - self._suffix(coordinate + 1, budget)
            return points

        return (twice_below(stop) - twice_below(start)) // 2


def _suffix_table(game: Game, steps: dict[int, list[int]], columns: int, dtype: type) -> Table:
    """S for every coordinate (rows, J+1 of them) and budget (columns, in multiples of the unit)."""
    table: Table = np.empty((len(game.sizes) + 1, columns), dtype)
    table[-1] = 1
    for coordinate in range(len(game.sizes) - 1, -1, -1):
        _convolve(table[coordinate + 1], steps[game.sizes[coordinate]], table[coordinate])
    return table


def _total_digits(game: Game, steps: dict[int, list[int]], columns: int, bits: int) -> Table:
    """S of the whole game for every budget, as digits [digits, columns], the lowest first."""
    row = np.zeros((bits // _DIGIT_BITS + 1, columns), np.int64)
    other = np.empty_like(row)
    row[0] = 1
    for size in game.sizes:
        _convolve(row, steps[size], other)
        for place in range(len(other) - 1):
            other[place + 1] += other[place] >> _DIGIT_BITS
            other[place] &= (1 << _DIGIT_BITS) - 1
        row, other = other, row
    if (row[-1] >> _DIGIT_BITS).any():
        raise ValueError(f"a count has more than {bits} bits")
    return row


def _steps(game: Game, size: int, limit: int, unit: int) -> list[int]:
    """Costs, in multiples of ``unit``, of one, two, … steps of a coordinate of ``size`` entries."""
    costs = []
    steps = 1
    coordinate = game.sizes.index(size)
    while (game.cap is None or steps <= game.cap) and (cost := game.step_cost(coordinate, steps)) <= limit:
        costs.append(cost // unit)
        steps += 1
    return costs


def _convolve(after: Table, costs: list[int], out: Table) -> None:
    """One coordinate's step of S, along the last axis."""
    out[:] = after
    for cost in costs:
        if cost < after.shape[-1]:
            out[..., cost:] += 2 * after[..., : after.shape[-1] - cost]


def _estimates(game: Game, steps: dict[int, list[int]], columns: int) -> npt.NDArray[np.float64]:
    """Binary logarithms of the whole game's counts [columns], in floating point: which integers hold them.

    Infinity for those that no floating-point number holds.
    """
    row, other = np.ones(columns), np.empty(columns)
    with np.errstate(over="ignore"):
        for size in game.sizes:
            _convolve(row, steps[size], other)
            row, other = other, row
    return np.log2(row)


def _most_bits(game: Game, steps: dict[int, list[int]], estimate: float) -> int:
    """Bits that hold every count; without an estimate, those of all choices of a step for each coordinate."""
    if math.isinf(estimate):
        estimate = math.fsum(math.log2(1 + 2 * len(steps[size])) for size in game.sizes)
    return math.ceil(estimate) + 1


def _power_text(base: int, exponent: int) -> str:
    digits = exponent * math.log10(base)
    return str(base**exponent) if digits < 15 else f"about 10^{digits:.0f}"
