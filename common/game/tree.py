"""Defines the canonical game tree: which node is a point's parent, and what a subtree is.

A grid point is reached by many orders of moves; the tree keeps one, in which moves are sorted by coordinate and a
coordinate keeps one sign (design: canonical order). So each point is exactly one node, written as the sorted tuple
of its non-zero coordinates. The **items** of a node with last changed coordinate ``l`` are, in order,

====================  ==========================================================================
item 0                the node's own point
item 1                the subtree of the node one step deeper in coordinate ``l`` (absent at the root)
item 2 + 2i, 3 + 2i   the subtrees of the nodes that add ``+1``, ``-1`` in coordinate ``l + 1 + i``
====================  ==========================================================================

A :class:`Subtree` is a node and an interval of its items. A full subtree is the interval of all items; splitting an
interval gives two, and an interval of one child is that child's full subtree.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.game.costs import coordinate_cost
from common.vocab import Norm

#: A grid point: its non-zero coordinates as (coordinate index, signed steps), sorted by index.
Point = tuple[tuple[int, int], ...]

#: The unchanged clip.
ROOT: Point = ()


@dataclass(frozen=True)
class Game:
    """The game of one clip.

    Parameters
    ----------
    sizes : ``n_j`` for each coordinate ``j``: how many flow entries it moves.
    norm : how a point's distance is measured.
    cap : greatest ``|a_j|``, or None when only the radius limits it.

    """

    sizes: tuple[int, ...]
    norm: Norm
    cap: int | None = None

    def join(self, cost: int, added: int) -> int:
        """Cost of a point that has ``cost`` in some coordinates and ``added`` in others."""
        return max(cost, added) if self.norm is Norm.LINF else cost + added

    def step_cost(self, coordinate: int, steps: int) -> int:
        """Cost of ``steps`` (≥ 0) atomic manipulations of one coordinate."""
        return coordinate_cost(self.norm, self.sizes[coordinate], steps)

    def cost(self, point: Point) -> int:
        """Cost of a grid point."""
        total = 0
        for coordinate, value in point:
            total = self.join(total, self.step_cost(coordinate, abs(value)))
        return total

    def holds(self, point: Point) -> bool:
        """Whether the tree has this point: coordinates it knows, in order, each moved and none beyond the cap."""
        last = -1
        for coordinate, value in point:
            if not last < coordinate < len(self.sizes) or value == 0:
                return False
            if self.cap is not None and abs(value) > self.cap:
                return False
            last = coordinate
        return True

    def items(self, node: Point) -> int:
        """Number of items of a node, counting those a cap or the root leaves empty."""
        last = node[-1][0] if node else -1
        return 2 + 2 * (len(self.sizes) - 1 - last)

    def child(self, node: Point, item: int) -> Point | None:
        """Root of the subtree at ``item`` (≥ 1) of a node, or None when the item is empty."""
        if item == 1:
            if not node:
                return None
            coordinate, value = node[-1]
            deeper = value + (1 if value > 0 else -1)
            return None if self.cap is not None and abs(deeper) > self.cap else (*node[:-1], (coordinate, deeper))
        last = node[-1][0] if node else -1
        coordinate = last + 1 + (item - 2) // 2
        return (*node, (coordinate, 1 if item % 2 == 0 else -1))


@dataclass(frozen=True)
class Subtree:
    """The points below ``items first..last-1`` of the node ``prefix``: the unit of work and of bounds."""

    prefix: Point
    first: int
    last: int


def whole(game: Game, node: Point = ROOT) -> Subtree:
    """The full subtree of a node, by default the whole game."""
    return Subtree(node, 0, game.items(node))


def path_item(node: Point, point: Point) -> int | None:
    """Item of ``node`` whose subtree holds ``point``: 0 for the node itself, None when it lies elsewhere."""
    if point == node:
        return 0
    depth = len(node)
    if node:
        coordinate, value = node[-1]
        if len(point) < depth or point[: depth - 1] != node[:-1] or point[depth - 1][0] != coordinate:
            return None
        reached = point[depth - 1][1]
        if reached * value <= 0 or abs(reached) < abs(value):
            return None
        if reached != value:
            return 1
    last = node[-1][0] if node else -1
    coordinate, value = point[depth]
    return 2 + 2 * (coordinate - last - 1) + (0 if value > 0 else 1)
