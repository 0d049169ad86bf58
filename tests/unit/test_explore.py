"""An exploration proves exactly what it reports, whatever interrupts it and whatever others find meanwhile."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.game import Game, Subtree, cut, whole
from common.vocab import Norm, StopReason
from tests.enumeration import points
from tests.strategies import brute_points, tiny_games
from worker.explore import Task, explore
from worker.judge import Judge

LINE = Game((1, 1, 1), Norm.L1)


@dataclass
class Oracle:
    """An evaluator of margins that the test chooses; its float64 form is itself."""

    adversarial: set
    close: set = field(default_factory=set)
    batch: int = 64
    asked: list = field(default_factory=list)
    sizes: list = field(default_factory=list)

    def logits(self, points):
        self.asked += list(points)
        self.sizes.append(len(points))
        margin = [-1.0 if point in self.adversarial else 1.0 for point in points]
        return np.array([[0.0 if point in self.close else m, 0.0] for point, m in zip(points, margin, strict=True)])

    def in_float64(self):
        return _Silent(self)


class _Silent(Oracle):
    """The same margins, without taking note: points asked twice are those near the border."""

    def __init__(self, oracle):
        super().__init__(oracle.adversarial, oracle.close)


def run(game, task, oracle, *, incumbent=lambda: None, interrupted=lambda _: None, most_batch=64):
    return explore(
        game, task, Judge(oracle, oracle, 0), most_batch=most_batch, incumbent=incumbent, interrupted=interrupted
    )


@st.composite
def situations(draw):
    """A subtree of a tiny game, a level, and points of it that are adversarial or too close to call."""
    game, limit = draw(tiny_games())
    limit = min(limit, 7)
    every = brute_points(game, limit)
    node = draw(st.sampled_from(sorted(every)))
    first = draw(st.integers(0, game.items(node) - 1))
    subtree = Subtree(node, first, draw(st.integers(first + 1, game.items(node))))
    floor = draw(st.integers(0, limit))
    task = Task(subtree, floor, draw(st.integers(floor + 1, limit + 1)))
    marked = draw(st.dictionaries(st.sampled_from(sorted(every)), st.booleans(), max_size=4))
    adversarial = {point for point, bad in marked.items() if bad}
    return game, task, Oracle(adversarial, marked.keys() - adversarial), every


def wanted(game, subtrees, low, high):
    return {point: cost for subtree in subtrees for point, cost in points(game, subtree, low, lambda: high)}


@given(situations(), st.data())
@settings(max_examples=300, deadline=None)
def test_what_is_reported_is_what_was_proved(situation, data):
    game, task, oracle, _ = situation
    patience = data.draw(st.none() | st.integers(1, 12))
    most_batch = data.draw(st.integers(1, 9))
    offers = data.draw(st.lists(st.integers(0, 9), max_size=4).map(lambda costs: sorted(costs, reverse=True)))
    heard = []

    def incumbent():
        heard.append(offers[min(len(heard), len(offers) - 1)] if offers else None)
        return heard[-1]

    def interrupted(count):
        assert count == len(oracle.asked)
        return StopReason.POINTS if patience is not None and count >= patience else None

    found = run(game, task, oracle, incumbent=incumbent, interrupted=interrupted, most_batch=most_batch)
    assert max(oracle.sizes, default=0) <= most_batch
    assert found.explored == len(oracle.asked) == len(set(oracle.asked))
    if found.position is None:
        assert found.stop == StopReason.EXHAUSTED
        done, rest = [task.subtree], []
    else:
        assert found.stop == StopReason.POINTS
        done, rest = cut(game, task.subtree, found.position)
    asked = set(oracle.asked)
    assert asked <= wanted(game, done, task.floor, task.threshold).keys()
    assert not asked & wanted(game, rest, task.floor, task.threshold).keys()
    # Every point below what was reached is evaluated, and none of them is adversarial.
    proved = wanted(game, done, task.floor, found.reached)
    assert proved.keys() <= asked
    assert not proved.keys() & oracle.adversarial
    close = [game.cost(point) for point in asked & oracle.close]
    assert found.undecided == min(close, default=None)
    assert all(cost >= (found.undecided or 0) for point, cost in proved.items() if point in oracle.close)
    if found.adversarial is not None:
        assert found.adversarial in asked & oracle.adversarial
        assert game.cost(found.adversarial) == found.reached
    else:
        assert found.reached in {task.threshold, *heard}
    assert task.floor <= found.reached <= task.threshold
    for upper in heard:
        assert upper is None or upper < task.floor or found.reached <= upper


@given(situations())
@settings(max_examples=200, deadline=None)
def test_left_alone_it_finds_the_cheapest_adversarial_point(situation):
    game, task, oracle, every = situation
    inside = wanted(game, [task.subtree], task.floor, task.threshold)
    assert inside.items() <= every.items()
    found = run(game, task, oracle)
    cheapest = min((inside[point] for point in oracle.adversarial & inside.keys()), default=None)
    assert found.stop == StopReason.EXHAUSTED
    assert found.position is None
    assert found.reached == (task.threshold if cheapest is None else cheapest)
    assert (found.adversarial is None) == (cheapest is None)


def test_a_better_incumbent_is_obeyed_between_batches():
    oracle, offers = Oracle(set()), iter([None, None, 2])
    found = run(LINE, Task(whole(LINE), 0, 5), oracle, incumbent=lambda: next(offers, 2), most_batch=4)
    assert found.reached == 2
    assert {point for point in oracle.asked[8:] if LINE.cost(point) >= 2} == set()
    assert wanted(LINE, [whole(LINE)], 0, 2).keys() <= set(oracle.asked)
    assert found.explored < len(wanted(LINE, [whole(LINE)], 0, 5))


@pytest.mark.parametrize("most_batch", [1, 500])
def test_of_several_adversarial_points_the_cheapest_is_returned(most_batch):
    dear, cheaper, cheapest = ((0, 4),), ((0, -3),), ((2, -1),)
    oracle = Oracle({dear, cheaper, cheapest})
    found = run(LINE, Task(whole(LINE), 0, 5), oracle, most_batch=most_batch)
    assert [point for point in oracle.asked if point in oracle.adversarial] == [dear, cheaper, cheapest]
    assert (found.reached, found.adversarial) == (1, cheapest)


def test_an_incumbent_replaces_a_dearer_adversarial_point():
    oracle, offers = Oracle({((0, 1), (1, 2))}), iter([None])
    found = run(LINE, Task(whole(LINE), 0, 5), oracle, incumbent=lambda: next(offers, 2), most_batch=500)
    assert (found.reached, found.adversarial) == (2, None)


def test_an_incumbent_below_the_floor_leaves_the_floor_proved():
    found = run(LINE, Task(whole(LINE), 3, 5), Oracle(set()), incumbent=lambda: 1)
    assert found.reached == 5


def test_an_empty_subtree_is_exhausted_at_once():
    oracle = Oracle(set())
    found = run(LINE, Task(Subtree((), 1, 2), 0, 5), oracle)
    assert (found.stop, found.explored, found.reached, found.position) == (StopReason.EXHAUSTED, 0, 5, None)
    assert oracle.asked == []


def test_the_reason_to_stop_is_reported():
    found = run(LINE, Task(whole(LINE), 0, 5), Oracle(set()), interrupted=lambda _: StopReason.SHUTDOWN)
    assert found.stop == StopReason.SHUTDOWN
    assert found.position is not None


def test_parts_of_interrupted_explorations_add_up_to_the_whole():
    game = Game((1, 2, 1), Norm.L2)
    todo, asked = [whole(game)], []
    while todo:
        oracle = Oracle(set())
        subtree = todo.pop()
        found = run(game, Task(subtree, 1, 6), oracle, interrupted=lambda _: StopReason.TIME, most_batch=3)
        asked += oracle.asked
        if found.position is not None:
            todo += cut(game, subtree, found.position)[1]
    assert sorted(asked) == sorted(wanted(game, [whole(game)], 1, 6))
