"""Lists the points of a subtree one by one, depth first: the plain form that common.game.blocks is held against."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from common.game.tree import Game, Point, Subtree


def points(game: Game, subtree: Subtree, low: int, high: Callable[[], int]) -> Iterator[tuple[Point, int]]:
    """Yield (point, cost) with ``low ≤ cost < high()``, a node before its items, items in order.

    ``high`` is asked anew at each step, so a better incumbent prunes what is left; it must never rise.
    A node's descendants cost at least as much as the node (h = 0), which is what makes the pruning admissible.
    """
    cheapest = _cheapest_from(game)
    stack = [(subtree.prefix, game.cost(subtree.prefix), subtree.first, subtree.last)]
    while stack:
        node, cost, item, last = stack.pop()
        if item >= last:
            continue
        if item == 0:
            stack.append((node, cost, 1, last))
            if low <= cost < high():
                yield node, cost
            continue
        if item >= 2:
            coordinate = (node[-1][0] + 1 if node else 0) + (item - 2) // 2
            if game.join(cost, cheapest[coordinate]) >= high():
                continue
        stack.append((node, cost, item + 1, last))
        child = game.child(node, item)
        if child is not None:
            child_cost = _child_cost(game, node, cost, child)
            if child_cost < high():
                stack.append((child, child_cost, 0, game.items(child)))


def _child_cost(game: Game, node: Point, cost: int, child: Point) -> int:
    coordinate, value = child[-1]
    if len(child) == len(node):
        return game.cost(child)
    return game.join(cost, game.step_cost(coordinate, abs(value)))


def _cheapest_from(game: Game) -> list[int]:
    """Least cost of one step in any of the coordinates ``j..``, for each ``j``."""
    costs = [game.step_cost(coordinate, 1) for coordinate in range(len(game.sizes))]
    for coordinate in range(len(costs) - 2, -1, -1):
        costs[coordinate] = min(costs[coordinate], costs[coordinate + 1])
    return costs
