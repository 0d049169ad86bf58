"""Explores one subtree best first, by a Lipschitz constant of the margin: A* on the tree of canonical moves.

A node's point with margin ``m > 0`` is at least ``m / constant`` away from every adversarial point. Its descendants
only add to it in directions that it already has, or that are new, so an adversarial one costs at least ``g + h`` in L1,
the same of the squares in L2, and the greater of the two in Linf (design section 3). The least such number of the open
nodes is the subtree's lower bound, at any time; it is worth what the constant is worth.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, assert_never

import numpy as np
import numpy.typing as npt

from common.game import Game, Point
from common.game.blocks import Block
from common.vocab import Norm, StopReason
from worker.explore import FIRST_BATCH, Exploration, Findings, Task, next_batch
from worker.judge import Call, Judge, Judgement

Integers = npt.NDArray[np.int64]
#: Costs beyond it are all the same: far above any radius, and safe to compute with.
_MOST_COST = 2**60


@dataclass(frozen=True)
class Heuristic:
    """What a margin is worth in costs."""

    norm: Norm
    tau: float  #: pixels of an atomic manipulation
    constant: float  #: Lipschitz constant of the margin, in logits per pixel of the norm

    def lift(self, costs: Integers, judgement: Judgement) -> Integers:
        """Least cost ``[B]`` of an adversarial descendant of each point that costs ``costs``, rounded down."""
        certain = np.where(judgement.calls == Call.SAFE, judgement.margins - judgement.rounding, 0.0)
        needed = np.maximum(certain, 0.0) / (self.constant * self.tau)
        match self.norm:
            case Norm.L1:
                least = costs + needed
            case Norm.L2:
                least = costs + needed * needed
            case Norm.LINF:
                least = np.maximum(costs, needed)
            case _:
                assert_never(self.norm)
        # Costs are integers, so the next one above counts; but not one that only rounding has reached.
        return np.maximum(costs, np.ceil(np.minimum(least * (1 - 1e-9), _MOST_COST)).astype(np.int64))


class _Node(NamedTuple):
    """A node whose items ``first..last-1`` are not evaluated yet; the least ``bound`` is the next in a heap."""

    bound: int  #: no adversarial point of these items costs less
    number: int  #: settles ties: the node met first
    point: Point
    first: int
    last: int


def explore_best_first(
    game: Game,
    task: Task,
    judge: Judge,
    heuristic: Heuristic,
    *,
    most_batch: int,
    most_points: int,
    incumbent: Callable[[], int | None],
    interrupted: Callable[[int], StopReason | None],
) -> Exploration:
    """Explore until no open node can have a wanted adversarial point, or ``interrupted`` names a reason to stop.

    Arguments as for :func:`worker.explore.explore`; ``interrupted`` stops at ``most_points`` at the latest.
    ``reached`` of the result is the least bound of the open nodes. It has no position: what was proved, was proved of
    the whole subtree.
    """
    findings, tree = Findings(task), task.subtree
    findings.hear(incumbent())
    batch, met = min(FIRST_BATCH, most_batch), 1
    # The node's own point bounds what is below it, even where the point itself is another task's.
    cost, judgement = np.array([game.cost(tree.prefix)]), judge.judge([tree.prefix])
    if tree.first == 0 and cost[0] < findings.reached:
        findings.take([tree.prefix], cost, judgement)
    nodes = [_Node(int(heuristic.lift(cost, judgement)[0]), 0, tree.prefix, max(tree.first, 1), tree.last)]
    while nodes and nodes[0].bound < findings.reached:
        # A batch may be most of what the task is allowed: the last one is cut to what is left of it.
        room = max(1, min(batch, most_points - findings.explored))
        block, costs, bounds = _next_children(game, nodes, findings.reached, room)
        if len(block):
            begun = time.monotonic()
            judgement = judge.judge(block)
            batch = next_batch(batch, most_batch, time.monotonic() - begun)
            findings.take(block, costs, judgement)
            bounds = np.maximum(bounds, heuristic.lift(costs, judgement))
            for index in np.flatnonzero(bounds < findings.reached):
                point = block[int(index)]
                heapq.heappush(nodes, _Node(int(bounds[index]), met, point, 1, game.items(point)))
                met += 1
        findings.hear(incumbent())
        reason = interrupted(findings.explored)
        if reason is not None:
            return findings.end(reason, None, nodes[0].bound if nodes else None)
    return findings.end(StopReason.EXHAUSTED, None)


def _next_children(game: Game, nodes: list[_Node], reached: int, batch: int) -> tuple[Block, Integers, Integers]:
    """Take the best nodes' children that cost less than ``reached``, about ``batch`` of them, off the heap.

    Returns them with their costs and with their parents' bounds, which hold for them too. A node with more items left
    than are taken stays in the heap with the rest.
    """
    parents: list[Point] = []
    columns: list[list[Integers]] = []
    room = batch
    while room > 0 and nodes and nodes[0].bound < reached:
        node = heapq.heappop(nodes)
        end = min(node.last, node.first + room)
        if end < node.last:
            heapq.heappush(nodes, node._replace(first=end))
        room -= end - node.first
        items = np.arange(node.first, end)
        coordinates, values, costs, deeper = _children(game, node.point, items)
        wanted = costs < reached
        # The item one step deeper has the node's own parent, every other one has the node.
        owner = len(parents) + np.where(deeper, 1, 0)
        parents += [node.point, node.point[:-1]]
        columns.append([part[wanted] for part in (owner, coordinates, values, costs, np.full(len(items), node.bound))])
    if not columns:
        empty = np.zeros(0, np.int64)
        return Block([()], empty, empty, empty), empty, empty
    owner, coordinates, values, costs, bounds = (np.concatenate(part) for part in zip(*columns, strict=True))
    return Block(parents, owner, coordinates, values), costs, bounds


def _children(game: Game, node: Point, items: Integers) -> tuple[Integers, Integers, Integers, npt.NDArray[np.bool_]]:
    """Last coordinate, its steps and the cost of a node's items (from 1 on), and which of them is one step deeper.

    An item that the root or the cap leaves empty costs more than anything.
    """
    last, value = node[-1] if node else (-1, 0)
    deeper = items == 1
    coordinates = np.where(deeper, max(last, 0), last + 1 + (items - 2) // 2)
    values = np.where(deeper, value + (1 if value > 0 else -1), 1 - 2 * (items % 2))
    base = game.cost(node)
    first = 1 if game.norm is Norm.LINF else np.array(game.sizes)[coordinates]
    costs = np.maximum(base, first) if game.norm is Norm.LINF else base + first
    if deeper.any():
        child = game.child(node, 1)
        costs = np.where(deeper, _MOST_COST if child is None else game.cost(child), costs)
    return coordinates, values, np.broadcast_to(costs, len(items)), deeper
