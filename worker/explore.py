"""Explores one subtree: every wanted point once, depth first, in batches, and reports what that proved."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from common.game import Game, Point, Subtree, blocks
from common.vocab import StopReason
from worker.judge import Call, Judge

#: Points of a task's first batch; later ones grow while they are quick and shrink when they are slow, so that even a
#: model of one point a second notices within seconds that it should stop.
FIRST_BATCH = 4
QUICK_SECONDS, SLOW_SECONDS = 0.2, 1.0


@dataclass(frozen=True)
class Task:
    """What is asked: the subtree's points with ``floor ≤ cost < threshold``."""

    subtree: Subtree
    floor: int
    threshold: int


@dataclass(frozen=True)
class Exploration:
    """What an exploration proved; see ``common.wire.Explored``, whose fields these are.

    ``adversarial`` is the cheapest adversarial point found, not yet replayed; its cost is ``reached``.
    """

    stop: StopReason
    position: Point | None
    explored: int
    reached: int
    undecided: int | None
    adversarial: Point | None


def explore(
    game: Game,
    task: Task,
    judge: Judge,
    *,
    most_batch: int,
    incumbent: Callable[[], int | None],
    interrupted: Callable[[int], StopReason | None],
) -> Exploration:
    """Explore a subtree until it is exhausted or ``interrupted`` (given the points explored) names a reason to stop.

    Points are evaluated in batches of at most ``most_batch``.
    ``incumbent`` gives the clip's best known upper bound, a cost; points that cost as much are no longer wanted.
    Pruning uses h = 0 only: no point below the final ``reached`` and at or before ``position`` is left out.
    """
    reached = task.threshold
    undecided: int | None = None
    adversarial: Point | None = None
    explored = 0
    batch = min(FIRST_BATCH, most_batch)

    def wanted() -> int:
        return reached

    listing = blocks(game, task.subtree, task.floor, wanted, lambda: batch)
    while True:
        upper = incumbent()
        if upper is not None and task.floor <= upper < reached:
            reached, adversarial = upper, None
        block, costs = next(listing, (None, None))
        if block is None or costs is None:
            return Exploration(StopReason.EXHAUSTED, None, explored, reached, undecided, adversarial)
        begun = time.monotonic()
        calls = judge.judge(block).calls
        batch = _next_batch(batch, most_batch, time.monotonic() - begun)
        explored += len(block)
        for index in np.flatnonzero(calls != Call.SAFE):
            cost = int(costs[index])
            if calls[index] == Call.UNDECIDED:
                undecided = cost if undecided is None else min(undecided, cost)
            elif cost < reached:
                reached, adversarial = cost, block[int(index)]
        reason = interrupted(explored)
        if reason is not None:
            return Exploration(reason, block[len(block) - 1], explored, reached, undecided, adversarial)


def _next_batch(batch: int, most: int, seconds: float) -> int:
    """Choose the next batch's size from how long the last one took."""
    if seconds < QUICK_SECONDS:
        # A very quick one may grow by more: a short task must not spend its time on ever larger beginnings.
        return min(batch * (8 if seconds < QUICK_SECONDS / 8 else 2), most)
    return max(batch // 2, 1) if seconds > SLOW_SECONDS else batch
