"""Decides which grid points near known ones are tried, to make an upper bound as cheap as the integer grid allows.

One pool of judged points is kept, none dearer than what is still wanted: strictly cheaper than the cheapest
adversarial point met so far. In each round the pool's most promising points (half of them by margin, half by what a
unit of cost has gained) are varied by one step added, taken back or moved to another coordinate, and all variations
are judged in one batch. From an empty pool this is a beam search that builds points up; at the greatest cost still
wanted it is an exchange search that minimises the margin; an adversarial point met lowers what is wanted for both.
Nothing is enumerated exhaustively beyond single coordinates: that is what exploration is for.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import numpy.typing as npt

from common.game import ROOT, Game, Point
from worker.attack import Effort
from worker.judge import Call, Judge

#: One step of one coordinate: (coordinate, +1 or -1).
Move = tuple[int, int]

#: Factors by which a real change is scaled before it is rounded: rounding alone may well undo it.
SCALES = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 0.9, 0.8)
#: Points judged in one search, and of these, points that change a single coordinate: each of them is a new frame.
MOST_POINTS, MOST_SINGLES = 20_000, 1024
#: Points varied in each round, and points kept for later rounds by either order.
WIDTH, KEPT = 16, 512
#: Moves tried as an added step, and as the other half of an exchange.
MOST_ADDED, MOST_EXCHANGED = 96, 32
#: Rounds without any progress after which a search ends.
PATIENCE = 6


def rounded(game: Game, moves: npt.NDArray[np.float64], tau: float) -> list[Point]:
    """Grid points near a real change ``[J]`` in pixels, the nearest first: distinct, within the cap, never the root."""
    steps = moves / tau
    away = np.sign(steps) * np.ceil(np.abs(steps))
    rows = [np.rint(SCALES[0] * steps), away, *(np.rint(scale * steps) for scale in SCALES[1:])]
    if game.cap is not None:
        rows = [np.clip(row, -game.cap, game.cap) for row in rows]
    points = [tuple((int(j), int(row[j])) for j in np.flatnonzero(row)) for row in rows]
    return [point for point in dict.fromkeys(points) if point != ROOT]


@dataclass(frozen=True)
class GridSearch:
    """The search on one clip; ``improve`` looks for points that cost at most ``limit``."""

    game: Game
    judge: Judge
    limit: int
    stop: Callable[[], bool] = lambda: False
    effort: Effort = field(default_factory=Effort)

    def improve(self, starts: Sequence[Point]) -> Point | None:
        """Return the cheapest adversarial point met, not yet replayed and never dearer than a start; None for none."""
        pool = _Pool(self.game, self.judge, self.effort, self.limit)
        pool.add([point for point in starts if self.game.holds(point)])
        margin, gradient = self._gradient(ROOT)
        moves = _ranked(self.game, gradient)
        singles = list(_singles(self.game, pool.wanted, moves))
        pool.add(singles)
        # How much a move really gains, where it was tried, is a better order than its gradient.
        gains = {point[0]: margin - pool.margins[point] for point in singles if abs(point[0][1]) == 1}
        moves.sort(key=lambda move: -gains.get(move, 0.0) / self.game.step_cost(move[0], 1))
        stale = 0
        while stale < PATIENCE and pool.left > 0 and not self.stop():
            before = pool.wanted, pool.least
            self._round(pool, moves, margin, fresh=stale == 0)
            stale = stale + 1 if (pool.wanted, pool.least) == before else 0
        return pool.best

    def _round(self, pool: _Pool, moves: list[Move], margin: float, *, fresh: bool) -> None:
        """Cheapen the best point and vary the most promising ones; ``margin`` is that of the unchanged clip.

        A gradient costs as much as hundreds of points, so it is taken only where the first of them is ``fresh``.
        """
        while pool.best is not None and pool.best not in pool.expanded:
            pool.expanded.add(pool.best)
            pool.add(_cheaper(pool.best))
        chosen = pool.choose(margin)
        if pool.best is not None:
            chosen.append(pool.best)
        if not chosen:
            return
        here = _ranked(self.game, self._gradient(chosen[0])[1]) if fresh else []
        added = list(dict.fromkeys([*here[: MOST_ADDED // 2], *moves[:MOST_ADDED]]))[:MOST_ADDED]
        exchanged = list(dict.fromkeys([*here[: MOST_EXCHANGED // 2], *moves[:MOST_EXCHANGED]]))[:MOST_EXCHANGED]
        pool.add(varied for point in chosen for varied in _variations(point, added, exchanged))

    def _gradient(self, point: Point) -> tuple[float, npt.NDArray[np.float64]]:
        """Margin of a point and its gradient ``[J]`` per atomic manipulation."""
        self.effort.gradients += 1
        return self.judge.plain.margin_gradient(point, self.judge.label)


@dataclass
class _Pool:
    """What a search has judged: margins in logits, costs, and the points not varied yet."""

    game: Game
    judge: Judge
    effort: Effort
    wanted: int  #: greatest cost of a point still worth judging
    left: int = MOST_POINTS  #: points that may still be judged
    best: Point | None = None  #: the cheapest adversarial point, never the root
    least: float = np.inf  #: the least margin met at that cost
    margins: dict[Point, float] = field(default_factory=dict)
    costs: dict[Point, int] = field(default_factory=dict)
    expanded: set[Point] = field(default_factory=set)
    open: list[Point] = field(default_factory=list)

    def add(self, points: Iterable[Point]) -> None:
        """Judge the points that are new, in the game and wanted, as far as the work allows."""
        new: dict[Point, int] = {}
        for point in points:
            if point == ROOT or point in self.margins or point in new:
                continue
            cost = self.game.cost(point)
            if cost <= self.wanted and self.game.holds(point):
                new[point] = cost
                if len(new) >= self.left:
                    break
        if not new:
            return
        listed = list(new)
        judgement = self.judge.judge(listed)
        self.left -= len(listed)
        self.effort.evaluations += len(listed)
        self.costs |= new
        self.margins |= zip(listed, judgement.margins.tolist(), strict=True)
        adversarial = [p for p, call in zip(listed, judgement.calls, strict=True) if call == Call.ADVERSARIAL]
        if adversarial:
            self.best = min(adversarial, key=lambda point: (new[point], self.margins[point]))
            self.wanted = new[self.best] - 1
            self.least = np.inf
        self.open = [point for point in (*self.open, *listed) if self.costs[point] <= self.wanted]
        self.least = min(self.least, *(self.margins[point] for point in self.open), np.inf)

    def choose(self, margin: float) -> list[Point]:
        """Take out the points to vary next, half by margin and half by gain per cost, and keep only the best others."""
        by_margin = heapq.nsmallest(KEPT, self.open, key=self.margins.__getitem__)
        by_gain = heapq.nsmallest(KEPT, self.open, key=lambda p: (self.margins[p] - margin) / self.costs[p])
        chosen = dict.fromkeys([*by_margin[: WIDTH // 2], *by_gain[: WIDTH // 2]])
        self.expanded.update(chosen)
        self.open = [point for point in dict.fromkeys([*by_margin, *by_gain]) if point not in chosen]
        return list(chosen)


def _ranked(game: Game, gradient: npt.NDArray[np.float64]) -> list[Move]:
    """All moves, those first of which the gradient ``[J]`` promises most per cost."""
    price = np.array([game.step_cost(j, 1) for j in range(len(game.sizes))])
    order = np.argsort(np.concatenate([gradient, -gradient]) / np.tile(price, 2), kind="stable")
    half = len(game.sizes)
    return [(int(at) % half, 1 if at < half else -1) for at in order]


def _singles(game: Game, wanted: int, moves: list[Move]) -> Iterator[Point]:
    """Points of one coordinate that cost at most ``wanted``, fewest steps first, then in the order of the moves."""
    left, steps = MOST_SINGLES, 1
    while moves and left > 0 and (game.cap is None or steps <= game.cap):
        moves = [move for move in moves if game.step_cost(move[0], steps) <= wanted][:left]
        yield from (((coordinate, sign * steps),) for coordinate, sign in moves)
        left, steps = left - len(moves), steps + 1


def _cheaper(point: Point) -> Iterator[Point]:
    """The point less one step or two, less a whole coordinate, and with its coordinates clipped to fewer steps."""
    back = [(coordinate, -1 if value > 0 else 1) for coordinate, value in point]
    for first, second in combinations(back, 2):
        yield _stepped(_stepped(point, *first), *second)
    for move, (coordinate, value) in zip(back, point, strict=True):
        yield _stepped(point, *move)
        yield _stepped(_stepped(point, *move), *move) if abs(value) > 1 else point
        yield tuple((j, a) for j, a in point if j != coordinate)
    for most in range(1, max(abs(value) for _, value in point)):
        yield tuple((j, min(max(a, -most), most)) for j, a in point)


def _variations(point: Point, added: list[Move], exchanged: list[Move]) -> Iterator[Point]:
    """The point with one step added, with one taken back, and with one exchanged for another."""
    for move in added:
        yield _stepped(point, *move)
    for coordinate, value in point:
        fewer = _stepped(point, coordinate, -1 if value > 0 else 1)
        yield fewer
        for move in exchanged:
            yield _stepped(fewer, *move)


def _stepped(point: Point, coordinate: int, step: int) -> Point:
    """The point with ``step`` added to one coordinate."""
    held = dict(point)
    held[coordinate] = held.get(coordinate, 0) + step
    return tuple(sorted((j, a) for j, a in held.items() if a != 0))
