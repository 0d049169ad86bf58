"""Explores one subtree: every wanted point once, depth first, in batches, and reports what that proved."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from common.game import Game, Point, Subtree, blocks
from common.vocab import StopReason
from worker.judge import Call, Judge, Judgement

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

    ``adversarial`` is the cheapest adversarial point found, not yet replayed; its cost is at least ``reached``.
    ``closest`` is the safe point of the least margin, with that margin less what rounding may have added.
    """

    stop: StopReason
    position: Point | None
    explored: int
    reached: int
    undecided: int | None
    adversarial: Point | None
    closest: tuple[Point, float] | None


class Findings:
    """What the points evaluated so far say of a task: how far it reaches, and which points stand out."""

    def __init__(self, task: Task) -> None:
        self.reached = task.threshold  #: costs from it on are not wanted
        self.explored = 0
        self._floor = task.floor
        self._undecided: int | None = None
        self._adversarial: Point | None = None
        self._closest: tuple[Point, float] | None = None

    def hear(self, upper: int | None) -> None:
        """Take in the clip's best known upper bound, a cost: points that cost as much are no longer wanted."""
        if upper is not None and self._floor <= upper < self.reached:
            self.reached, self._adversarial = upper, None

    def take(self, block: Sequence[Point], costs: npt.NDArray[np.int64], judgement: Judgement) -> None:
        """Take in a batch of points."""
        calls = judgement.calls
        self.explored += len(block)
        safe = np.flatnonzero(calls == Call.SAFE)
        if safe.size:
            certain = (judgement.margins - judgement.rounding)[safe]
            least = int(certain.argmin())
            if self._closest is None or certain[least] < self._closest[1]:
                self._closest = (block[int(safe[least])], float(certain[least]))
        for index in np.flatnonzero(calls != Call.SAFE):
            cost = int(costs[index])
            if calls[index] == Call.UNDECIDED:
                self._undecided = cost if self._undecided is None else min(self._undecided, cost)
            elif cost < self.reached:
                self.reached, self._adversarial = cost, block[int(index)]

    def end(self, stop: StopReason, position: Point | None, reached: int | None = None) -> Exploration:
        """Report, with the cost ``reached`` when it is less than all that was wanted."""
        lower = self.reached if reached is None else min(reached, self.reached)
        return Exploration(
            stop, position, self.explored, lower, self._undecided, self._adversarial, self._closest
        )  # fmt: skip


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
    findings = Findings(task)
    batch = min(FIRST_BATCH, most_batch)
    listing = blocks(game, task.subtree, task.floor, lambda: findings.reached, lambda: batch)
    while True:
        findings.hear(incumbent())
        block, costs = next(listing, (None, None))
        if block is None or costs is None:
            return findings.end(StopReason.EXHAUSTED, None)
        begun = time.monotonic()
        judgement = judge.judge(block)
        batch = next_batch(batch, most_batch, time.monotonic() - begun)
        findings.take(block, costs, judgement)
        reason = interrupted(findings.explored)
        if reason is not None:
            return findings.end(reason, block[len(block) - 1])


def next_batch(batch: int, most: int, seconds: float) -> int:
    """Choose the next batch's size from how long the last one took."""
    if seconds < QUICK_SECONDS:
        # A very quick one may grow by more: a short task must not spend its time on ever larger beginnings.
        return min(batch * (8 if seconds < QUICK_SECONDS / 8 else 2), most)
    return max(batch // 2, 1) if seconds > SLOW_SECONDS else batch
