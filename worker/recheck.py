"""Checks stored lower bounds again, from the raw video: certified radii, and random points of explored subtrees.

Nothing of the first computation is used but what it claims: the clip is prepared anew, a certified radius is bounded
anew, and points are evaluated in float64 by whole forward passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from common.game import Game, Point, PointCounter, Subtree, bisect, cut
from common.jobspec import JobSpec
from worker.certify import margin_lower_bound
from worker.plain import PlainEvaluator, margins
from worker.replay import Source
from worker.tolerances import FLOAT64_BAND


@dataclass(frozen=True)
class Explored:
    """What an explore task claims: no point up to ``position`` with ``floor ≤ cost < reached`` is adversarial."""

    subtree: Subtree
    position: Point | None
    floor: int
    reached: int
    limit: int  #: greatest cost of the clip's game


@dataclass(frozen=True)
class Recheck:
    """What a check found; ``problem`` is None when the claim holds as far as it was checked."""

    problem: str | None
    margin: float | None  #: the lower bound of the margin, or the least margin of the points; None: no point
    points: int | None = None  #: points evaluated


def recheck_radius(source: Source, radius: float) -> Recheck:
    """Bound the margin within a certified radius again; raises InputError for a model that is not supported."""
    plain, label = _plain(source)
    margin = margin_lower_bound(plain, label, source.spec.norm, radius)
    return Recheck(None if margin > 0 else f"the margin is not bounded above zero ({margin:g})", margin)


def recheck_points(source: Source, claim: Explored, *, most: int, seed: int) -> Recheck:
    """Evaluate up to ``most`` points of what a task explored, all of them or a random sample."""
    plain, label = _plain(source)
    counter = _counter(plain.clip.coordinate_sizes, source.spec.model_dump_json(), claim.limit)
    parts = [claim.subtree] if claim.position is None else cut(counter.game, claim.subtree, claim.position)[0]
    points = sample_points(counter, parts, claim.floor, claim.reached, most, np.random.default_rng(seed))
    if not points:
        return Recheck(None, None, 0)
    logits = plain.in_float64().logits(points)
    found = margins(logits, label) + FLOAT64_BAND * (1 + abs(logits).max(axis=1))
    least = int(found.argmin())
    problem = (
        None if found[least] >= 0 else f"{points[least]} is adversarial, at cost {counter.game.cost(points[least])}"
    )
    return Recheck(problem, float(found[least]), len(points))


def sample_points(
    counter: PointCounter, parts: list[Subtree], low: int, high: int, most: int, rng: np.random.Generator
) -> list[Point]:
    """Draw up to ``most`` different points with ``low ≤ cost < high``, each as likely as any other.

    Subtrees are halved, and a half is entered as often as it has points, until a single point is left.
    """
    weights = [counter.between(part, low, high) for part in parts]
    total = sum(weights)
    # Counts may be greater than any integer that is drawn: then one of many points next to each other stands for them.
    scale = max(1, total // 2**62)
    drawn = range(total) if total <= most else sorted({int(rank) for rank in rng.integers(0, total // scale, most)})
    return [_at_rank(counter, list(zip(parts, weights, strict=True)), rank * scale, low, high) for rank in drawn]


def _at_rank(counter: PointCounter, parts: list[tuple[Subtree, int]], rank: int, low: int, high: int) -> Point:
    """The point with ``rank`` others before it."""
    while True:
        entered, rank = _entered(parts, rank)
        halves = bisect(counter, entered, low, high)
        if halves is None:
            return entered.prefix
        parts = [(half, counter.between(half, low, high)) for half in halves]


def _entered(parts: list[tuple[Subtree, int]], rank: int) -> tuple[Subtree, int]:
    """The part that holds the point of this rank, and its rank there."""
    for part, count in parts:
        if rank < count:
            return part, rank
        rank -= count
    raise ValueError("the parts have fewer points than were counted")


def _plain(source: Source) -> tuple[PlainEvaluator, int]:
    spec = source.spec
    plain = PlainEvaluator(source.clip(), source.module, float(spec.tau), torch.device("cpu"), batch=1)
    return plain, spec.model.classes.index(source.label)


@lru_cache(maxsize=2)
def _counter(sizes: tuple[int, ...], spec: str, limit: int) -> PointCounter:
    job = JobSpec.model_validate_json(spec)
    return PointCounter(Game(sizes, job.norm, job.cap), limit)
