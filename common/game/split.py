"""Decides how a subtree becomes smaller disjoint subtrees that together cover it."""

from __future__ import annotations

from common.game.counting import PointCounter
from common.game.tree import Game, Point, Subtree, path_item, whole


def bisect(counter: PointCounter, subtree: Subtree, low: int, high: int) -> tuple[Subtree, Subtree] | None:
    """Split a subtree into two whose numbers of points with ``low ≤ cost < high`` are as even as one cut allows.

    Returns None when the subtree is a single point. An interval of one item is first replaced by the full subtree
    it stands for, so repeated bisection reaches single points.
    """
    while subtree.last - subtree.first == 1:
        if subtree.first == 0 or (child := counter.game.child(subtree.prefix, subtree.first)) is None:
            return None
        subtree = whole(counter.game, child)
    prefix, first, last = subtree.prefix, subtree.first, subtree.last
    below = counter.items_below(prefix, low, high)
    # Points before the cut that would make the halves even, from the node's first item on; doubled, to stay whole.
    middle = below(first) + below(last)
    least, most = first + 1, last - 1
    while least < most:
        item = (least + most) // 2
        if 2 * below(item) < middle:
            least = item + 1
        else:
            most = item
    # The cut just before the one found may be the more even one.
    cuts = [least - 1, least] if least - 1 > first else [least]
    at = min(cuts, key=lambda item: abs(2 * below(item) - middle))
    return Subtree(prefix, first, at), Subtree(prefix, at, last)


def cut(game: Game, subtree: Subtree, point: Point) -> tuple[list[Subtree], list[Subtree]]:
    """Split a subtree just after ``point``, in the order in which points are enumerated.

    Returns the subtrees up to and including the point, and those after it: what an interrupted exploration has
    done and what it has left. Raises ValueError when the point is not in the subtree.
    """
    done: list[Subtree] = []
    rest: list[Subtree] = []
    while True:
        prefix, first, last = subtree.prefix, subtree.first, subtree.last
        item = path_item(prefix, point)
        if item is None or not first <= item < last:
            raise ValueError(f"point {point} is not in {subtree}")
        inside = item == 0
        if first < item + inside:
            done.append(Subtree(prefix, first, item + inside))
        if item + 1 < last:
            rest.append(Subtree(prefix, item + 1, last))
        child = None if inside else game.child(prefix, item)
        if child is None:
            return done, rest
        subtree = whole(game, child)
