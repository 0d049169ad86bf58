"""Decides how a clip's upper bounds are searched: greedily on the grid, by gradients, and then on the grid again.

Each search starts from what the one before it found, and never ends with anything longer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.game import Game, Point, distance
from common.jobspec import JobSpec
from worker.attack import Effort, GreedyAttack
from worker.gradient_search import GradientSearch, RealFind
from worker.grid_search import GridSearch, rounded
from worker.judge import Call, Judge
from worker.real_margins import RealMargins


@dataclass(frozen=True)
class UpperBounds:
    """The shortest adversarial changes found, none of them replayed yet."""

    grid: Point | None
    real: RealFind | None
    safe_point: Point | None  #: grid point nearest to the real change, when it is safe
    effort: Effort


def search_upper_bounds(game: Game, judge: Judge, spec: JobSpec, limit: int, stop: Callable[[], bool]) -> UpperBounds:
    """Search grid points that cost at most ``limit`` and real changes within the radius, until ``stop``.

    The job's number of gradients, where it has one, ends the search too; a batch that is under way is finished.
    """
    effort = Effort()

    def ended() -> bool:
        return stop() or (spec.gradients is not None and effort.gradients >= spec.gradients)

    greedy = GreedyAttack(game, judge, limit, ended, effort).find()
    gradients = GradientSearch(RealMargins(judge.plain, judge.label), spec.norm, float(spec.radius), ended, effort)
    real = gradients.find([] if greedy is None else [_pixels(game, greedy, spec)])
    starts = [] if greedy is None else [greedy]
    if real is not None:
        starts += rounded(game, real.moves, float(spec.tau))
    grid = GridSearch(game, judge, limit, stop, effort).improve(starts)
    if grid is not None and (real is None or distance(spec.norm, spec.tau, game.cost(grid)) < real.distance):
        real = gradients.find([_pixels(game, grid, spec)])
    safe_point = None if real is None else _safe_neighbour(game, judge, real.moves / float(spec.tau), limit)
    return UpperBounds(grid, real, safe_point, effort)


def _safe_neighbour(game: Game, judge: Judge, steps: npt.NDArray[np.float64], limit: int) -> Point | None:
    """The grid point nearest to an adversarial real change ``[J]``, in steps, when it is of the game and safe.

    Such a point is no misclassification aggregator: the change lies within half a diagonal of it.
    """
    point = tuple((int(j), int(a)) for j, a in enumerate(np.rint(steps)) if a != 0)
    if not game.holds(point) or game.cost(point) > limit:
        return None
    return point if judge.judge([point]).calls[0] == Call.SAFE else None


def _pixels(game: Game, point: Point, spec: JobSpec) -> npt.NDArray[np.float64]:
    """A grid point as a real change ``[J]``, in pixels."""
    moves = np.zeros(len(game.sizes))
    for coordinate, steps in point:
        moves[coordinate] = steps * float(spec.tau)
    return moves
