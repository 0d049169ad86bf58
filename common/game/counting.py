"""Counts the grid points of a subtree up to a cost, exactly, without enumerating them.

For L1 and L2 the number of ways to change coordinates ``j..J-1`` at a total cost of at most ``b`` follows from the
product of one generating function per coordinate (design: exact counting by dynamic programming)::

    S_j(b) = S_{j+1}(b) + 2·Σ_{s≥1} S_{j+1}(b − cost_j(s)),      S_J(b) = 1 for b ≥ 0

and the points whose first further change lies in coordinates ``p..q-1`` number ``S_p(b) − S_q(b)``, so an interval
of items is counted in constant time. For Linf a bound on the maximum makes coordinates independent: S is a power.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from common.errors import InputError
from common.game.suffixes import Suffixes
from common.game.tree import Game, Point, Subtree
from common.vocab import Norm

#: Points a Linf game may have: its levels grow as (2s+1)^J and cannot be refined below a whole step.
MAX_LINF_POINTS = 20_000_000
_MAX_LINF_BITS = math.log2(MAX_LINF_POINTS)


class PointCounter:
    """Exact counts of one game's points up to ``limit`` (a cost, inclusive).

    Raises
    ------
    InputError : when the table would not fit in memory, or a Linf game has too many points to be explored.

    """

    def __init__(self, game: Game, limit: int) -> None:
        self.game = game
        self.limit = limit
        self._suffixes = None if game.norm is Norm.LINF else Suffixes(game, limit)
        # By its logarithm: the power itself can have billions of digits.
        if game.norm is Norm.LINF and len(game.sizes) * math.log2(2 * self._linf_steps(limit) + 1) > _MAX_LINF_BITS:
            count = _power_text(2 * self._linf_steps(limit) + 1, len(game.sizes))
            raise InputError("norm", f"Linf gives {count} grid points; use fewer features, a smaller radius or a cap")

    def upto(self, subtree: Subtree, limit: int) -> int:
        """Number of the subtree's points with cost at most ``limit``, which must not exceed the counter's own."""
        if limit > self.limit:
            raise ValueError(f"counted up to cost {self.limit}, asked for {limit}")
        return self._upto(subtree, self.game.cost(subtree.prefix), limit)

    def between(self, subtree: Subtree, low: int, high: int) -> int:
        """Number of the subtree's points with ``low ≤ cost < high``."""
        if high <= low:
            return 0
        if high - 1 > self.limit:
            raise ValueError(f"counted up to cost {self.limit}, asked for {high - 1}")
        base = self.game.cost(subtree.prefix)
        return self._upto(subtree, base, high - 1) - (self._upto(subtree, base, low - 1) if low > base else 0)

    def _upto(self, subtree: Subtree, base: int, limit: int) -> int:
        node = subtree.prefix
        total = 0
        if subtree.first <= 0 < subtree.last and base <= limit:
            total += 1
        if subtree.first <= 1 < subtree.last and node:
            total += self._deeper(node, limit)
        return total + self._further(node, base, max(subtree.first, 2) - 2, subtree.last - 2, limit)

    def items_below(self, node: Point, low: int, high: int) -> Callable[[int], int]:
        """Number of points with ``low ≤ cost < high`` of a node's items before an item, as a function of that item.

        What does not depend on the item is counted once, for those who ask for many.
        """
        upper, lower = self._items_upto(node, high - 1), self._items_upto(node, low - 1)
        return lambda item: upper(item) - lower(item)

    def _items_upto(self, node: Point, limit: int) -> Callable[[int], int]:
        if limit > self.limit:
            raise ValueError(f"counted up to cost {self.limit}, asked for {limit}")
        base = self.game.cost(node)
        if base > limit:
            return lambda _: 0
        deeper = self._deeper(node, limit) if node else 0
        budget = self._budget(base, limit)
        offset = node[-1][0] + 1 if node else 0
        every = self._suffix(offset, budget)

        def upto(item: int) -> int:
            if item <= 1:
                return item
            coordinate = offset + (item - 2) // 2
            further = every - (here := self._suffix(coordinate, budget))
            if item % 2:
                further += (here - self._suffix(coordinate + 1, budget)) // 2
            return 1 + deeper + further

        return upto

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
        if self._suffixes is None:
            return int((2 * self._linf_steps(budget) + 1) ** (len(self.game.sizes) - coordinate))
        return self._suffixes.count(coordinate, budget)

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


def _power_text(base: int, exponent: int) -> str:
    digits = exponent * math.log10(base)
    return str(base**exponent) if digits < 15 else f"about 10^{digits:.0f}"
