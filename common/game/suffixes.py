"""Holds S of ``common.game.counting`` for the norms whose costs add up: how many ways to change the last coordinates.

Most of S is a table of 64-bit integers that ends where the whole game's count outgrows them: nobody explores that many
points. Beyond, only the whole game's counts are kept, as digits; a subtree's, for which a guided search asks, take a
table of Python integers that is built when first needed.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from common.errors import InputError
from common.game.tree import Game

#: Entries a counting table may have; 8 bytes each.
MAX_TABLE_ENTRIES = 40_000_000
#: Additions that counting may take, about half a minute of them; a call of numpy's costs as much as some hundreds.
MAX_ADDITIONS = 30_000_000_000
_CALL_ADDITIONS = 1000
#: Bytes a table of larger counts may have, which only a search guided by a heuristic asks for.
MAX_WHOLE_TABLE_BYTES = 2**28
#: Counts below it are kept as 64-bit integers, with room for twice one.
_FITS_BITS = 61
#: Bits of each digit of a larger count; 64-bit sums of four million digits do not overflow.
_DIGIT_BITS = 40

#: Counts as 64-bit integers where they fit, as Python integers where they do not.
Table = npt.NDArray[Any]


class Suffixes:
    """S of one game, exact for every coordinate and every budget up to ``limit`` (a cost, inclusive).

    Raises
    ------
    InputError : when the table would not fit in memory, or would take minutes.

    """

    def __init__(self, game: Game, limit: int) -> None:
        self._game = game
        self._unit = math.gcd(*game.sizes)
        self._columns = limit // self._unit + 1
        if (len(game.sizes) + 1) * self._columns > MAX_TABLE_ENTRIES:
            raise self._too_many("")
        calls = sum(_most_steps(game, coordinate, limit) * many for coordinate, many in _first_of_each(game).items())
        self._hold_to_time(calls, digits=1)
        steps = {size: _steps(game, size, limit, self._unit) for size in set(game.sizes)}
        sizes = _estimates(game, steps, self._columns)
        self._bits = _most_bits(game, steps, float(sizes[-1]))
        # Counts grow with the cost, so those that fit come first.
        fitting = int(np.searchsorted(sizes, _FITS_BITS))
        if fitting < self._columns:
            self._hold_to_time(calls, digits=self._bits // _DIGIT_BITS + 1)
        self._table = _suffix_table(game, steps, fitting, np.int64)
        self._totals = _total_digits(game, steps, self._columns, self._bits) if fitting < self._columns else None

    def count(self, coordinate: int, budget: int) -> int:
        """Ways to change coordinates ``coordinate..`` at a cost of at most ``budget``, which must not be negative.

        Raises InputError when the count needs a table that would not fit in memory.
        """
        column = budget // self._unit
        if column < self._table.shape[1]:
            return int(self._table[coordinate, column])
        if coordinate == len(self._game.sizes):
            return 1
        if coordinate == 0 and self._totals is not None:
            return sum(int(digit) << _DIGIT_BITS * place for place, digit in enumerate(self._totals[:, column]))
        return int(self._whole_table()[coordinate, column])

    def _hold_to_time(self, calls: int, digits: int) -> None:
        """Raise InputError when so many numpy calls, on rows of so many digits, would take minutes."""
        if calls * max(_CALL_ADDITIONS, self._columns * digits) > MAX_ADDITIONS:
            raise self._too_many(f", with {calls:,} steps of counts of {digits * _DIGIT_BITS} bits,")

    def _too_many(self, how: str) -> InputError:
        return InputError(
            "radius",
            f"{len(self._game.sizes)} coordinates times {self._columns} cost levels{how} are too many to count exactly;"
            " use coarser features, a larger tau or a smaller radius",
        )

    def _whole_table(self) -> Table:
        # A Python integer has some 32 bytes beside its digits, and 8 of the array.
        if (len(self._game.sizes) + 1) * self._columns * (self._bits // 8 + 40) > MAX_WHOLE_TABLE_BYTES:
            raise InputError(
                "radius",
                f"{len(self._game.sizes)} coordinates times {self._columns} cost levels have counts of up to"
                f" {self._bits} bits, too many for a guided search; use coarser features or a smaller radius",
            )
        return _whole_table(self._game, self._columns, self._unit)


@lru_cache(maxsize=4)
def _whole_table(game: Game, columns: int, unit: int) -> Table:
    """Build the table for every budget; kept for a few clips, for it is large."""
    steps = {size: _steps(game, size, (columns - 1) * unit, unit) for size in set(game.sizes)}
    return _suffix_table(game, steps, columns, np.object_)


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


def _first_of_each(game: Game) -> dict[int, int]:
    """The first coordinate of each size, and how many have that size."""
    many = Counter(game.sizes)
    return {game.sizes.index(size): count for size, count in many.items()}


def _most_steps(game: Game, coordinate: int, limit: int) -> int:
    """Number of steps of a coordinate that cost at most ``limit``."""
    most = 1
    while game.step_cost(coordinate, most) <= limit and (game.cap is None or most <= game.cap):
        most *= 2
    return bisect_right(range(1, most), limit, key=lambda steps: game.step_cost(coordinate, steps)) if most > 1 else 0


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
