"""A best-first exploration claims no more than a true Lipschitz constant allows, and rises while it is at it."""

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from common.game import Game, Subtree, whole
from common.game.costs import distance
from common.vocab import Norm, StopReason
from tests.enumeration import points
from tests.strategies import brute_points, tiny_games
from worker.best_first import Heuristic, explore_best_first
from worker.explore import Task, explore
from worker.judge import Judge


@dataclass
class Slope:
    """Margins that a test chooses, point by point; its float64 form is itself."""

    margins: dict
    batch: int = 64

    def logits(self, points):
        return np.array([[self.margins[point], 0.0] for point in points])

    def in_float64(self):
        return self


def steepest(game, margins):
    """The least constant that is true between every point and its descendants: their distance is of what they add."""
    greatest = 1e-6
    for point, margin in margins.items():
        for other, below in margins.items():
            if margin > below and _below(point, other):
                gap = {j: a - dict(point).get(j, 0) for j, a in other}
                added = game.cost(tuple(sorted((j, a) for j, a in gap.items() if a)))
                greatest = max(greatest, (margin - below) / distance(game.norm, 1, added))
    return greatest


def _below(point, other):
    """Whether the other point goes on where this one ends, in canonical order."""
    if point == other or len(other) < len(point) or (point and other[: len(point) - 1] != point[:-1]):
        return False
    if not point:
        return True
    coordinate, value = point[-1]
    further, steps = other[len(point) - 1]
    return further == coordinate and steps * value > 0 and abs(steps) >= abs(value)


@st.composite
def slopes(draw):
    """A tiny game, margins of its points, and the steepest way down."""
    game, limit = draw(tiny_games())
    limit = min(limit, 3 if game.norm is Norm.LINF else 8)
    every = brute_points(game, limit)
    height = draw(st.floats(0.5, 3.0))
    tilt = draw(st.lists(st.floats(-0.4, 0.4), min_size=len(game.sizes), max_size=len(game.sizes)))
    bumps = draw(st.dictionaries(st.sampled_from(sorted(every)), st.floats(-2.0, 1.0), max_size=4))
    margins = {point: height + sum(tilt[j] * a for j, a in point) + bumps.get(point, 0.0) for point in every}
    # A margin that is close to zero would be decided in float64, which is not the matter here.
    margins = {point: margin if abs(margin) > 0.01 else 0.05 for point, margin in margins.items()}
    node = draw(st.sampled_from(sorted(every)))
    first = draw(st.integers(0, game.items(node) - 1))
    subtree = Subtree(node, first, draw(st.integers(first + 1, game.items(node))))
    return game, Task(subtree, 0, limit + 1), Slope(margins)


def run(game, task, oracle, constant, *, patience=None, most_batch=8, incumbent=lambda: None):
    def interrupted(explored):
        return StopReason.POINTS if patience is not None and explored >= patience else None

    return explore_best_first(
        game, task, Judge(oracle, oracle, 0), Heuristic(game.norm, 1.0, constant),
        most_batch=most_batch, most_points=patience or 10_000, incumbent=incumbent, interrupted=interrupted,
    )  # fmt: skip


@given(slopes(), st.none() | st.integers(1, 12), st.integers(1, 9))
@settings(max_examples=300, deadline=None)
def test_no_adversarial_point_costs_less_than_what_is_reached(situation, patience, most_batch):
    game, task, oracle = situation
    found = run(game, task, oracle, steepest(game, oracle.margins), patience=patience, most_batch=most_batch)
    mine = dict(points(game, task.subtree, 0, lambda: task.threshold))
    truth = min((cost for point, cost in mine.items() if oracle.margins[point] < 0), default=task.threshold)
    assert found.reached <= truth
    if found.stop is StopReason.EXHAUSTED:
        assert found.reached == truth
    if found.adversarial is not None:
        assert oracle.margins[found.adversarial] < 0
        assert mine[found.adversarial] >= found.reached
    assert found.explored <= min(len(mine), patience or len(mine))
    if found.closest is not None:
        point, margin = found.closest
        assert 0 < margin <= oracle.margins[point]


@given(slopes())
@settings(max_examples=100, deadline=None)
def test_a_constant_that_promises_nothing_finds_what_exhaustion_finds(situation):
    game, task, oracle = situation
    best = run(game, task, oracle, constant=1e12)
    every = explore(
        game, task, Judge(oracle, oracle, 0), most_batch=8, incumbent=lambda: None, interrupted=lambda _: None
    )
    assert best.reached == every.reached
    assert (best.adversarial is None) == (every.adversarial is None)


def test_the_bound_rises_with_every_look_at_the_frontier():
    game = Game((1, 1, 1, 1), Norm.L1)
    oracle = Slope({point: 5.0 - 0.5 * cost for point, cost in brute_points(game, 9).items()})
    task = Task(whole(game), 0, 9)
    reached = [run(game, task, oracle, 1.0, patience=n, most_batch=4).reached for n in (1, 20, 100, 400)]
    assert reached[0] == 5  # The margin of the unchanged clip, over the constant.
    assert reached == sorted(reached)
    assert reached[-1] > reached[0]


def test_points_that_the_constant_excludes_are_not_evaluated():
    game = Game((1, 1, 1, 1), Norm.L1)
    oracle = Slope(dict.fromkeys(brute_points(game, 6), 4.0))
    found = run(game, Task(whole(game), 0, 6), oracle, 1.0)
    assert (found.stop, found.reached) == (StopReason.EXHAUSTED, 6)
    assert found.explored == 41  # Up to two moves: what costs two is four away from anything adversarial.


def test_an_incumbent_found_elsewhere_ends_what_costs_as_much():
    game = Game((1, 1), Norm.L1)
    oracle = Slope(dict.fromkeys(brute_points(game, 6), 1.0))
    found = run(game, Task(whole(game), 0, 7), oracle, 1e12, incumbent=lambda: 2)
    assert (found.reached, found.explored, found.adversarial) == (2, 5, None)
