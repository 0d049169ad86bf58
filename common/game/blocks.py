"""Lists the points of a subtree between two costs as arrays, depth first, without touching leaves one by one.

Nearly all points of a level are leaves that share their parent; a run of such siblings is written with a few array
operations, and only inner nodes are visited by Python. A node comes before its items, and items come in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

from common.game.tree import Game, Point, Subtree
from common.vocab import Norm

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Block(Sequence[Point]):
    """``B`` grid points as arrays: each is one of ``parents`` with ``value`` steps in ``coordinate`` added at its end.

    The unchanged clip has parent ROOT, coordinate 0 and value 0. As a sequence, a block is its points.
    """

    parents: Sequence[Point]
    parent: Integers  #: index into ``parents``, ``[B]``
    coordinate: Integers  #: last changed coordinate, ``[B]``
    value: Integers  #: its signed steps, ``[B]``

    def __len__(self) -> int:
        return len(self.value)

    @overload
    def __getitem__(self, index: int) -> Point: ...
    @overload
    def __getitem__(self, index: slice) -> Block: ...
    def __getitem__(self, index: int | slice) -> Point | Block:
        if isinstance(index, slice):
            return Block(self.parents, self.parent[index], self.coordinate[index], self.value[index])
        value = int(self.value[index])
        parent = self.parents[int(self.parent[index])]
        return (*parent, (int(self.coordinate[index]), value)) if value else parent


def block_of(points: Sequence[Point]) -> Block:
    """Write sparse points as a block; a block is returned as it is."""
    if isinstance(points, Block):
        return points
    parents: dict[Point, int] = {}
    parent = [parents.setdefault(point[:-1], len(parents)) for point in points]
    last = np.array([point[-1] if point else (0, 0) for point in points], np.int64).reshape(-1, 2)
    return Block(list(parents), np.array(parent, np.int64), last[:, 0], last[:, 1])


@dataclass(frozen=True)
class _Run:
    """Sibling points in the order of their items: a slice of one parent's children, or one point."""

    parent: Point
    coordinate: Integers
    value: Integers
    cost: Integers


class _Costs:
    """Costs of first and second steps by coordinate, and the cheapest step from each coordinate on."""

    def __init__(self, game: Game) -> None:
        self.game = game
        sizes = np.array(game.sizes, np.int64)
        ones = np.ones_like(sizes)
        self.first = ones if game.norm is Norm.LINF else sizes
        self.second = {Norm.L1: 2 * sizes, Norm.L2: 4 * sizes, Norm.LINF: 2 * ones}[game.norm]
        self.cheapest = np.minimum.accumulate(self.first[::-1])[::-1]
        never = np.iinfo(np.int64).max // 4
        # What a child that adds one step of j costs least when it goes on: one step deeper, or one further on.
        further = np.append(self.cheapest[1:], never)
        further = np.maximum(further, self.first) if game.norm is Norm.LINF else self.first + further
        deeper = np.full_like(sizes, never) if game.cap == 1 else self.second
        self.onward = np.minimum(further, deeper)

    def join(self, base: int, added: Integers) -> Integers:
        return np.maximum(added, base) if self.game.norm is Norm.LINF else base + added


def blocks(
    game: Game, subtree: Subtree, low: int, high: Callable[[], int], size: Callable[[], int]
) -> Iterator[tuple[Block, Integers]]:
    """Yield blocks of at most ``size()`` points with ``low ≤ cost < high()``, and their costs ``[B]``.

    ``high`` and ``size`` are asked anew for each run; ``high`` must never rise. A node's descendants cost at least as
    much as the node (h = 0), which is what makes the pruning admissible.
    """
    pending: list[_Run] = []
    count = 0
    formed = high()
    for run in _runs(game, _Costs(game), subtree, low, high):
        pending.append(run)
        count += len(run.cost)
        while count >= size():
            packed, costs, pending = _pack(pending, size())
            yield packed, costs
            if high() < formed:
                formed = high()
                pending = [_below(held, formed) for held in pending]
            count = sum(len(held.cost) for held in pending)
    while held := [run for run in (_below(run, high()) for run in pending) if len(run.cost)]:
        packed, costs, pending = _pack(held, size())
        yield packed, costs


def _below(run: _Run, high: int) -> _Run:
    """Drop the points that a better incumbent has made unwanted since the run was formed."""
    wanted = run.cost < high
    return run if wanted.all() else _Run(run.parent, run.coordinate[wanted], run.value[wanted], run.cost[wanted])


def _pack(runs: list[_Run], size: int) -> tuple[Block, Integers, list[_Run]]:
    """Make a block of the first ``size`` points of the runs; returns it, its costs, and the runs that are left."""
    taken: list[_Run] = []
    room = size
    rest: list[_Run] = []
    for run in runs:
        here = min(room, len(run.cost))
        if here:
            taken.append(_Run(run.parent, run.coordinate[:here], run.value[:here], run.cost[:here]))
            room -= here
        if here < len(run.cost):
            rest.append(_Run(run.parent, run.coordinate[here:], run.value[here:], run.cost[here:]))
    block = Block(
        [run.parent for run in taken],
        np.repeat(np.arange(len(taken)), [len(run.cost) for run in taken]),
        np.concatenate([run.coordinate for run in taken]),
        np.concatenate([run.value for run in taken]),
    )
    return block, np.concatenate([run.cost for run in taken]), rest


def _single(point: Point, cost: int) -> _Run:
    coordinate, value = point[-1] if point else (0, 0)
    return _Run(point[:-1], np.array([coordinate]), np.array([value]), np.array([cost]))


def _runs(game: Game, costs: _Costs, subtree: Subtree, low: int, high: Callable[[], int]) -> Iterator[_Run]:
    """Yield runs in the order of enumeration; the stack holds (node, its cost, next item, end of items)."""
    stack = [(subtree.prefix, game.cost(subtree.prefix), subtree.first, subtree.last)]
    while stack:
        node, cost, item, last = stack.pop()
        if item >= last:
            continue
        if item == 0:
            stack.append((node, cost, 1, last))
            if low <= cost < high():
                yield _single(node, cost)
        elif item == 1:
            stack.append((node, cost, 2, last))
            child = game.child(node, 1)
            if child is not None and (child_cost := game.cost(child)) < high():
                stack.append((child, child_cost, 0, game.items(child)))
        else:
            start = node[-1][0] + 1 if node else 0
            coordinate = start + (item - 2) // 2
            if game.join(cost, int(costs.cheapest[coordinate])) >= high():
                continue
            inner = _first_inner(costs, cost, coordinate, start + (last - 1) // 2, high())
            run_end = last if inner is None else min(last, 2 + 2 * (inner - start))
            if run_end > item:
                yield from _leaves(costs, node, cost, start, item, run_end, low, high())
                stack.append((node, cost, run_end, last))
            else:
                stack.append((node, cost, item + 1, last))
                child = (*node, (coordinate, 1 if item % 2 == 0 else -1))
                child_cost = game.join(cost, int(costs.first[coordinate]))
                if child_cost < high():
                    stack.append((child, child_cost, 0, game.items(child)))


def _first_inner(costs: _Costs, cost: int, start: int, stop: int, high: int) -> int | None:
    """First coordinate in ``start..stop-1`` whose child has wanted points beyond itself, or None."""
    inner = costs.join(cost, costs.onward[start:stop]) < high
    at = int(inner.argmax())
    return start + at if inner.size and inner[at] else None


def _leaves(
    costs: _Costs, node: Point, cost: int, start: int, item: int, end: int, low: int, high: int
) -> Iterator[_Run]:
    """Yield the children at items ``item..end-1`` of a node, all of them leaves, that cost ``low ≤ c < high``."""
    items = np.arange(item - 2, end - 2)
    coordinate = start + items // 2
    child_cost = costs.join(cost, costs.first[coordinate])
    wanted = (child_cost >= low) & (child_cost < high)
    if wanted.any():
        yield _Run(node, coordinate[wanted], 1 - 2 * (items[wanted] % 2), child_cost[wanted])
