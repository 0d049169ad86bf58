"""Decides which costs are explored next: the thresholds of iterative deepening, from exact counts alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from common.errors import InputError
from common.game import Game, PointCounter, distance, whole
from common.jobspec import JobSpec
from common.store.tables import Video
from common.wire import coordinate_sizes

#: Fewer points than this are not worth a level of their own: each level ends with a pause for its last task.
LEAST_LEVEL_POINTS = 20

#: Points of the smallest task: fewer cost more to hand out than to explore.
LEAST_TASK_POINTS = 200


@dataclass(frozen=True)
class Level:
    """Costs ``floor ≤ c < threshold`` are explored together; costs below ``floor`` are proved."""

    floor: int
    threshold: int


def counter_of(video: Video, spec: JobSpec) -> PointCounter:
    """Exact counts of a prepared clip's game up to its radius; raises InputError when the game is too large."""
    if video.region_sizes is None or video.radius_cost is None:
        raise ValueError(f"video {video.id} is not prepared")
    return _counter(_frozen(video.region_sizes), spec.norm, spec.cap, video.radius_cost)


def _frozen(region_sizes: Sequence[Any]) -> tuple[tuple[tuple[int, int], ...], ...]:
    return tuple(tuple((int(pixels), int(regions)) for pixels, regions in flow) for flow in region_sizes)


@lru_cache(maxsize=32)
def _counter(region_sizes: Any, norm: Any, cap: int | None, radius_cost: int) -> PointCounter:
    return PointCounter(Game(coordinate_sizes(region_sizes), norm, cap), radius_cost)


def require_radius(game: Game, spec: JobSpec, limit: int) -> None:
    """Raise InputError when not even one step is within the radius, whose greatest cost is ``limit``."""
    # In every norm, one step of the smallest coordinate costs least.
    cheapest = game.step_cost(game.sizes.index(min(game.sizes)), 1)
    if cheapest > limit:
        raise InputError(
            "radius",
            f"{spec.radius} px is below the cheapest manipulation ({distance(spec.norm, spec.tau, cheapest):g} px"
            f" {spec.norm} for one step of {spec.features}); nothing would be explored",
        )


def settled_below(counter: PointCounter, lower: int) -> int:
    """Lift a lower bound to the least cost any point at or above it has: costs that no point has need no proof."""
    attained = counter.next_cost(whole(counter.game), lower)
    return counter.limit + 1 if attained is None else attained


def next_level(counter: PointCounter, lower: int, upper: int | None) -> Level | None:
    """Choose the next level above ``lower``; None when nothing is left below the upper bound and within the radius."""
    ceiling = counter.limit + 1 if upper is None else min(upper, counter.limit + 1)
    if lower >= ceiling:
        return None
    last = counter.next_cost(whole(counter.game), lower, LEAST_LEVEL_POINTS)
    return Level(lower, ceiling if last is None else min(ceiling, last + 1))


def points_needed(counter: PointCounter, upper: int | None) -> int:
    """Exact number of points whose exploration decides the clip, given the best witness so far."""
    ceiling = counter.limit + 1 if upper is None else min(upper, counter.limit + 1)
    return counter.between(whole(counter.game), 0, ceiling)
