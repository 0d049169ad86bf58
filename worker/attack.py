"""Searches an upper bound: a gradient-guided greedy walk on the grid, then removal of every step not needed.

At each step the moves that the margin's gradient promises most of, per cost, are evaluated, and the best is made;
when a point is adversarial, steps are taken back while it stays so. Two walks are made: one that minimises the margin
per cost and one that minimises the margin itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import assert_never

import numpy as np
import numpy.typing as npt

from common.game import ROOT, Game, Point
from common.vocab import Norm
from worker.judge import Call, Judge, Judgement

Vector = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int64]

#: Candidate moves evaluated at each step of a walk.
CANDIDATES = 128
#: Steps of a walk; a walk also ends at the radius.
MOST_STEPS = 64


@dataclass
class Effort:
    """What an attack has spent."""

    evaluations: int = 0
    gradients: int = 0


@dataclass(frozen=True)
class GreedyAttack:
    """The attack on one clip; ``find`` returns the cheapest adversarial point met within ``limit`` (a cost)."""

    game: Game
    judge: Judge
    limit: int
    stop: Callable[[], bool] = lambda: False
    effort: Effort = field(default_factory=Effort)

    def find(self) -> Point | None:
        """Return an adversarial grid point, not yet replayed, or None when no walk met one within the limit."""
        walks: tuple[Callable[[float, int], float], ...] = (
            lambda gain, cost: gain / max(cost, 1),
            lambda gain, _cost: gain,
        )
        found = [point for rank in walks if (point := self._walk(rank)) is not None]
        return min((self._reduce(point) for point in found), key=self.game.cost, default=None)

    def _walk(self, rank: Callable[[float, int], float]) -> Point | None:
        """Make the best-ranked move until a point is adversarial, or None at the radius."""
        point = ROOT
        for _ in range(MOST_STEPS):
            if self.stop():
                return None
            margin, gradient = self.judge.plain.margin_gradient(point, self.judge.label)
            self.effort.gradients += 1
            candidates = self._candidates(point, gradient)
            if not candidates:
                return None
            judgement = self._judge(candidates)
            adversarial = _adversarial(candidates, judgement)
            if adversarial:
                return min(adversarial, key=self.game.cost)
            base = self.game.cost(point)
            ranks = [
                rank(margin - float(value), self.game.cost(candidate) - base)
                for candidate, value in zip(candidates, judgement.margins, strict=True)
            ]
            point = candidates[int(np.argmax(ranks))]
        return None

    def _candidates(self, point: Point, gradient: Vector) -> list[Point]:
        """Points one step on from ``point`` within the limit, those first of which the gradient promises most."""
        game, base = self.game, self.game.cost(point)
        held = np.zeros(len(game.sizes), dtype=np.int64)
        for coordinate, value in point:
            held[coordinate] = value
        moved = np.stack([np.where(held >= 0, held + 1, held), np.where(held <= 0, held - 1, held)])
        added = _added_cost(game, base, np.abs(held), np.abs(moved))
        allowed = (moved != held) & (base + added <= self.limit)
        if game.cap is not None:
            allowed &= np.abs(moved) <= game.cap
        promise = np.stack([-gradient, gradient]) / np.maximum(added, 1)
        order = np.argsort(np.where(allowed, -promise, np.inf), axis=None, kind="stable")[:CANDIDATES]
        signs, coordinates = np.unravel_index(order, moved.shape)
        steps = dict(point)
        return [
            _with(steps, int(coordinate), int(moved[sign, coordinate]))
            for sign, coordinate in zip(signs, coordinates, strict=True)
            if allowed[sign, coordinate]
        ]

    def _judge(self, candidates: list[Point]) -> Judgement:
        self.effort.evaluations += len(candidates)
        return self.judge.judge(candidates)

    def _reduce(self, point: Point) -> Point:
        """Take back one step at a time, the dearest first, while the point stays adversarial."""
        while True:
            held = dict(point)
            fewer = [_with(held, coordinate, value - (1 if value > 0 else -1)) for coordinate, value in point]
            fewer = [candidate for candidate in fewer if candidate != ROOT]
            adversarial = _adversarial(fewer, self._judge(fewer)) if fewer else []
            if not adversarial:
                return point
            point = min(adversarial, key=self.game.cost)


def _adversarial(candidates: list[Point], judgement: Judgement) -> list[Point]:
    """Candidates that are called adversarial."""
    return [candidate for candidate, call in zip(candidates, judgement.calls, strict=True) if call == Call.ADVERSARIAL]


def _added_cost(game: Game, base: int, before: Steps, after: Steps) -> Steps:
    """Cost that each coordinate's move from ``before`` (``[J]``) to ``after`` (``[2, J]``) steps adds to ``base``."""
    sizes = np.array(game.sizes, dtype=np.int64)
    match game.norm:
        case Norm.L1:
            return sizes * (after - before)
        case Norm.L2:
            return sizes * (after * after - before * before)
        case Norm.LINF:
            return np.maximum(after, base) - base
        case _:
            assert_never(game.norm)


def _with(held: dict[int, int], coordinate: int, value: int) -> Point:
    """Return the point ``held`` with one coordinate set to ``value``."""
    changed = {**held, coordinate: value}
    return tuple(sorted((j, a) for j, a in changed.items() if a != 0))
