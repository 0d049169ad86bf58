"""Searches a short real change of a clip's flow that changes the class: an upper bound on MSR.

Coordinates are scaled so that the distance is an unweighted norm. Restarts, each against one class, run together as
one batch: steps to the linearised boundary from the point and from the unchanged clip (FAB: F. Croce and M. Hein,
ICML 2020), a pull back towards the unchanged clip after each success, at a step size that falls like a cosine (FMN:
M. Pintor et al., NeurIPS 2021). The shortest change is then refined along the boundary, as decision-boundary attacks
do (W. Brendel et al., NeurIPS 2019): each step heads for the nearest point of the linearised boundary, and all step
sizes and shortenings are tried in one batch of forward passes. Every success is shortened along its ray.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import assert_never

import numpy as np
import numpy.typing as npt

from common.game import length
from common.vocab import Norm
from common.wire import Moves
from worker.attack import Effort
from worker.real_margins import RealMargins, coordinate_scale
from worker.tolerances import FLOAT64_BAND

Vector = npt.NDArray[np.float64]
Rows = npt.NDArray[np.float64]

#: Most likely other classes that restarts are made against, and restarts from random changes beside those.
CLASSES, RANDOM = 3, 1
#: Restarts whose shortest change is refined.
REFINED = 2
_ORDER = {Norm.L1: 1, Norm.L2: 2, Norm.LINF: np.inf}
#: Steps of the restarts, and of the refinement; the greatest weight of the way from the unchanged clip in a step.
STEPS, REFINEMENTS, MOST_BIAS = 24, 30, 0.3
#: A step goes a little beyond the linearised boundary; a success is pulled back to this share of its length.
OVERSHOOT, PULL = 1.05, 0.9
#: Lengths tried at once along a ray, and rounds of it, each within the interval the last one found.
ALONG, ROUNDS = 8, 3
#: Step sizes and shortenings tried in a step of the refinement.
SIZES = (1.0, 0.5, 0.2, 0.05)
SHORTENINGS = (0.1, 0.03, 0.01, 0.003)
#: Parts of these below which the refinement ends.
LEAST_REACH = 0.05
#: In L1, the shares of the changed coordinates of which the least one is taken off all.
SPARSER = (0.1, 0.25, 0.5, 0.7, 0.85, 0.95)
#: Changes are followed so many times beyond the limit, for they become shorter.
BEYOND = 3.0
#: Lengths by which the first step's direction is searched for the boundary, in units of the linearised distance.
RAY = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)


@dataclass(frozen=True)
class RealFind:
    """An adversarial real change: pixels for each coordinate ``[J]``, and its distance in pixels of the norm."""

    moves: Vector
    distance: float

    def sparse(self) -> Moves:
        """The coordinates that move, as witnesses are stored."""
        return tuple((int(j), float(self.moves[j])) for j in np.flatnonzero(self.moves))


@dataclass(frozen=True, eq=False)
class GradientSearch:
    """The search on one clip; ``find`` looks for changes no longer than ``limit`` pixels of the norm."""

    margins: RealMargins
    norm: Norm
    limit: float
    stop: Callable[[], bool] = lambda: False
    effort: Effort = field(default_factory=Effort)
    seed: int = 0

    def find(self, starts: Sequence[Vector] = ()) -> RealFind | None:
        """Return the shortest change met that is adversarial in float64, or None; not yet replayed.

        ``starts`` are changes ``[J]`` known to be good: the result is never longer than an adversarial one of them.
        """
        zero = np.zeros((1, len(self._scale)))
        leads, gradients = self._gradients(zero, np.array([-1]))
        ray = _to_boundary(gradients, leads.min(axis=1), self._geometry)
        best = self._shortened(np.concatenate([ray * times for times in RAY] + [s[None] * self._scale for s in starts]))
        found = sorted(self._restarts(leads[0], best), key=self._length)
        refined = [self._refined(self._along(row)) for row in found[:REFINED]]
        if not refined:
            return None
        return self._confirmed(min(refined, key=self._length))

    @cached_property
    def _scale(self) -> Vector:
        """What a coordinate's pixels are multiplied by, so that the distance is the plain norm, ``[J]``."""
        return coordinate_scale(self.margins.plain.clip.coordinate_sizes, self.norm)

    @property
    def _geometry(self) -> Norm:
        """The norm whose shortest ways the restarts take: those of L1 change one coordinate, and lead nowhere."""
        return Norm.L2 if self.norm is Norm.L1 else self.norm

    def _restarts(self, leads: Vector, best: Vector | None) -> list[Vector]:
        """Run all restarts together; return the shortest adversarial change that each met, and ``best``."""
        nearest = np.argsort(leads, kind="stable")[: min(CLASSES, len(leads) - 1)]
        classes = np.concatenate([nearest, np.full(RANDOM + (best is not None), -1)])
        rows = np.zeros((len(classes), len(self._scale)))
        rng = np.random.default_rng(self.seed)
        reach = self.limit if best is None else self._length(best)
        for row in rows[len(nearest) : len(nearest) + RANDOM]:
            noise = rng.normal(size=row.shape)
            row[:] = noise * (0.3 * reach / max(self._length(noise), 1e-30))
        shortest: list[Vector | None] = [None] * len(rows)
        if best is not None:
            rows[-1] = shortest[-1] = best
        for step in range(STEPS):
            if self.stop():
                break
            size = 0.3 + 0.7 * (1.0 + math.cos(math.pi * step / STEPS)) / 2.0
            rows = self._step(rows, classes, shortest, size)
        return [row for row in shortest if row is not None and self._length(row) <= BEYOND * self.limit]

    def _step(self, rows: Rows, classes: npt.NDArray[np.int64], shortest: list[Vector | None], size: float) -> Rows:
        """One step of every restart; notes in ``shortest`` what is adversarial before it."""
        leads, gradients = self._gradients(rows, classes)
        adversarial = leads.min(axis=1) < 0
        for at in np.flatnonzero(adversarial):
            known = shortest[at]
            if known is None or self._length(rows[at]) < self._length(known):
                shortest[at] = rows[at].copy()
        lead = np.where(classes < 0, leads.min(axis=1), leads[np.arange(len(rows)), classes])
        here = _to_boundary(gradients, lead, self._geometry)
        # The lead that the linearised model gives the unchanged clip.
        there = _to_boundary(gradients, lead - (gradients * rows).sum(axis=1), self._geometry)
        near, far = (np.array([self._length(row) for row in way]) for way in (here, there))
        bias = np.minimum(near / np.maximum(near + far, 1e-30), MOST_BIAS)[:, None]
        aimed = (1.0 - bias) * (rows + OVERSHOOT * here) + bias * OVERSHOOT * there
        step = size * (aimed - rows)
        pulled = PULL * rows + (1.0 - PULL) * step
        return np.asarray(np.where(adversarial[:, None], pulled, rows + step))

    def _refined(self, best: Vector) -> Vector:
        """Shorten a change along the boundary; where no tried step does, a quarter of each is tried next."""
        reach, nearest = 1.0, best
        for _ in range(REFINEMENTS):
            if self.stop() or reach < LEAST_REACH:
                break
            if reach == 1.0:
                leads, gradients = self._gradients(best[None], np.array([-1]))
                lead = leads.min(axis=1) - (gradients * best).sum(axis=1)
                nearest = _to_boundary(gradients, lead, self.norm)[0]
            shorter = self._shortest(self._tried(best, nearest, reach))
            reach = 1.0 if shorter is not None else reach / 4.0
            best = best if shorter is None else self._along(shorter)
        return best

    def _tried(self, best: Vector, nearest: Vector, reach: float) -> Rows:
        """Shorter changes on the way to the nearest point of the linearised boundary, ``[B, J]``."""
        ways = [best + reach * size * (nearest - best) for size in SIZES]
        if self.norm is Norm.L1:
            ways += _sparser(best, ways)
        unchanged = self._length(best)
        return np.array(
            [
                way * (unchanged / max(self._length(way), 1e-30) * (1.0 - reach * shortening))
                for way in ways
                for shortening in SHORTENINGS
            ]
        )

    def _along(self, best: Vector) -> Vector:
        """Shorten an adversarial change along its ray, in an interval whose lower end is not adversarial."""
        low = 0.9
        for _ in range(ROUNDS):
            factors = np.linspace(low, 1.0, ALONG, endpoint=False)
            adversarial = self._adversarial(factors[:, None] * best)
            if not adversarial.any():
                low = float(factors[-1])
                continue
            first = int(np.argmax(adversarial))
            low = float(factors[first - 1] / factors[first]) if first else 0.9
            best = best * factors[first]
        return best

    def _shortened(self, rows: Rows) -> Vector | None:
        """The shortest adversarial one of changes ``[B, J]``, shortened along its ray."""
        best = self._shortest(rows)
        return None if best is None else self._along(best)

    def _shortest(self, rows: Rows) -> Vector | None:
        found = rows[self._adversarial(rows)]
        return min(found, key=self._length, default=None)

    def _confirmed(self, best: Vector) -> RealFind | None:
        """Lengthen a change, by little, until float64 calls it adversarial; None when that or the limit fails."""
        exact = self.margins.in_float64()
        for growth in (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2):
            moves = best / self._scale * (1.0 + growth)
            leads = exact.leads(moves[None])
            # The replay's own path rounds differently: twice its band, so that it agrees.
            if leads.min() < -2 * FLOAT64_BAND * (1.0 + np.abs(leads[np.isfinite(leads)]).max()):
                found = RealFind(moves, 0.0)
                pixels = length(self.norm, self.margins.plain.clip.coordinate_sizes, found.sparse())
                return replace(found, distance=pixels) if pixels <= self.limit else None
        return None

    def _adversarial(self, rows: Rows) -> npt.NDArray[np.bool_]:
        """Which changes ``[B, J]``, scaled, have a margin below zero and are not far beyond the limit."""
        wanted = np.array([self._length(row) <= BEYOND * self.limit for row in rows])
        if wanted.any():
            self.effort.evaluations += int(wanted.sum())
            wanted[wanted] = self.margins.margins(rows[wanted] / self._scale) < 0
        return wanted

    def _length(self, row: Vector) -> float:
        """Distance of a scaled change, in pixels."""
        return float(np.linalg.norm(row, _ORDER[self.norm]))

    def _gradients(self, rows: Rows, classes: npt.NDArray[np.int64]) -> tuple[Rows, Rows]:
        """Leads and gradients as ``RealMargins.gradients`` gives them, for scaled changes."""
        self.effort.gradients += len(rows)
        leads, gradients = self.margins.gradients(rows / self._scale, classes)
        return leads, gradients / self._scale


def _sparser(best: Vector, ways: Sequence[Vector]) -> list[Vector]:
    """Changes with their least coordinates left out: what makes them short in L1, which no gradient step does."""
    held = np.sort(np.abs(best[best != 0]))
    levels = {float(held[int(share * (len(held) - 1))]) for share in SPARSER} if len(held) > 1 else set()
    return [np.sign(way) * np.maximum(np.abs(way) - level, 0.0) for way in (best, ways[-2]) for level in levels]


def _to_boundary(gradients: Rows, leads: Vector, norm: Norm) -> Rows:
    """Shortest changes ``[B, J]`` that bring linear functions with these gradients from these leads to zero."""
    match norm:
        case Norm.L1:
            way = np.zeros_like(gradients)
            rows, steepest = np.arange(len(gradients)), np.abs(gradients).argmax(axis=1)
            way[rows, steepest] = gradients[rows, steepest]
        case Norm.L2:
            way = gradients
        case Norm.LINF:
            way = np.sign(gradients)
        case _:
            assert_never(norm)
    slope = (way * gradients).sum(axis=1)
    return np.asarray(-(leads / np.maximum(slope, 1e-30))[:, None] * way)
