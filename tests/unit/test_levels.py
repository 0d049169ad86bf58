"""Levels cover every cost within the radius once, in order, and skip only costs that no point has."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.game import Game, PointCounter
from common.vocab import Norm
from scheduler import levels
from scheduler.levels import Level, next_level, points_needed, settled_below
from tests.strategies import brute_points, tiny_games

uppers = st.none() | st.integers(0, 20)


def costs_of(game, limit):
    """Cost of every point within the radius, by brute force, in ascending order."""
    return sorted(brute_points(game, limit).values())


def climb(counter, upper):
    """Every level from the bottom up, each begun where the last one was settled."""
    climbed = []
    level = next_level(counter, 0, upper)
    while level is not None:
        climbed.append(level)
        level = next_level(counter, settled_below(counter, level.threshold), upper)
    return climbed


@given(tiny_games(), st.integers(0, 20))
@settings(max_examples=80, deadline=None)
def test_only_costs_that_no_point_has_are_settled_unproved(drawn, lower):
    game, limit = drawn
    lower = min(lower, limit + 1)
    settled = settled_below(PointCounter(game, limit), lower)
    assert settled == min((cost for cost in costs_of(game, limit) if cost >= lower), default=limit + 1)


@given(tiny_games(), uppers, st.integers(1, 40))
@settings(max_examples=80, deadline=None)
def test_levels_partition_the_costs_below_the_upper_bound(drawn, upper, least_points):
    game, limit = drawn
    costs = costs_of(game, limit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(levels, "LEAST_LEVEL_POINTS", least_points)
        climbed = climb(PointCounter(game, limit), upper)
    assert all(low.threshold <= high.floor for low, high in pairwise(climbed))
    wanted = [cost for cost in costs if upper is None or cost < upper]
    assert [cost for level in climbed for cost in costs if level.floor <= cost < level.threshold] == wanted
    sizes = [sum(level.floor <= cost < level.threshold for cost in costs) for level in climbed]
    assert all(size >= least_points for size in sizes[:-1])
    assert 0 not in sizes


@given(tiny_games(), st.integers(0, 20), uppers)
@settings(max_examples=80, deadline=None)
def test_a_level_begins_at_the_lower_bound_and_ends_as_soon_as_it_is_worth_it(drawn, lower, upper):
    game, limit = drawn
    ceiling = limit + 1 if upper is None else min(upper, limit + 1)
    level = next_level(PointCounter(game, limit), lower, upper)
    assert (level is None) == (lower >= ceiling)
    if level is None:
        return
    assert level.floor == lower
    assert lower < level.threshold <= ceiling
    inside = [cost for cost in costs_of(game, limit) if lower <= cost < level.threshold]
    # Without its dearest points it would be too small, or else it goes as far as anything is wanted.
    assert sum(cost < level.threshold - 1 for cost in inside) < levels.LEAST_LEVEL_POINTS
    assert level.threshold == ceiling or len(inside) >= levels.LEAST_LEVEL_POINTS


@given(tiny_games(), uppers)
@settings(max_examples=80, deadline=None)
def test_points_needed_are_those_below_the_upper_bound(drawn, upper):
    game, limit = drawn
    below = [cost for cost in costs_of(game, limit) if upper is None or cost < upper]
    assert points_needed(PointCounter(game, limit), upper) == len(below)


@given(tiny_games(), st.lists(st.integers(0, 20), min_size=2, max_size=2).map(sorted))
@settings(max_examples=50, deadline=None)
def test_a_better_witness_never_asks_for_more(drawn, ordered):
    game, limit = drawn
    counter = PointCounter(game, limit)
    better, worse = ordered
    assert points_needed(counter, better) <= points_needed(counter, worse) <= points_needed(counter, None)


def test_a_gap_between_costs_is_crossed_at_once():
    counter = PointCounter(Game((7,), Norm.L1), 40)
    assert settled_below(counter, 1) == 7
    assert settled_below(counter, 36) == 41
    assert climb(counter, None) == [Level(0, 41)]


def test_a_level_of_a_large_game_stops_at_its_first_worthwhile_cost():
    counter = PointCounter(Game((1,) * 32, Norm.L1), 6)
    # One point costs 0 and 64 cost 1: more than a level needs, so the next begins at 2.
    assert climb(counter, None)[:2] == [Level(0, 2), Level(2, 3)]
    assert climb(counter, 2) == [Level(0, 2)]
