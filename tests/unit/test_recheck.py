"""Points that a check draws are points of the subtree, every one as likely as another."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.game import Game, PointCounter, Subtree, cut, whole
from common.vocab import Norm
from tests.enumeration import points
from tests.strategies import brute_points, tiny_games
from worker.recheck import sample_points


@given(tiny_games(), st.data())
@settings(max_examples=150, deadline=None)
def test_all_points_are_drawn_when_they_are_few(game_and_limit, data):
    game, limit = game_and_limit
    every = brute_points(game, limit)
    node = data.draw(st.sampled_from(sorted(every)))
    first = data.draw(st.integers(0, game.items(node) - 1))
    subtree = Subtree(node, first, data.draw(st.integers(first + 1, game.items(node))))
    low = data.draw(st.integers(0, limit))
    wanted = [point for point, _ in points(game, subtree, low, lambda: limit + 1)]
    counter = PointCounter(game, limit)
    drawn = sample_points(counter, [subtree], low, limit + 1, 10**6, np.random.default_rng(0))
    assert sorted(drawn) == sorted(wanted)


def test_every_point_is_as_likely_as_any_other():
    game = Game((1, 2, 1), Norm.L1)
    counter = PointCounter(game, 4)
    every = brute_points(game, 4)
    rng = np.random.default_rng(1)
    drawn = Counter(point for _ in range(4000) for point in sample_points(counter, [whole(game)], 0, 5, 1, rng))
    assert drawn.keys() == every.keys()
    expected = 4000 / len(every)
    assert max(abs(count - expected) for count in drawn.values()) < 5 * expected**0.5


def test_only_what_lies_up_to_a_position_is_drawn():
    game = Game((1, 1, 1), Norm.L1)
    counter = PointCounter(game, 3)
    listed = [point for point, _ in points(game, whole(game), 0, lambda: 4)]
    done, _ = cut(game, whole(game), listed[10])
    drawn = sample_points(counter, done, 0, 4, 1000, np.random.default_rng(0))
    assert sorted(drawn) == sorted(listed[:11])


def test_a_game_with_more_points_than_any_integer_is_drawn_from():
    game = Game((1,) * 200, Norm.L1)
    counter = PointCounter(game, 40)
    assert counter.upto(whole(game), 40) > 2**64
    drawn = sample_points(counter, [whole(game)], 0, 41, 20, np.random.default_rng(0))
    assert len(set(drawn)) == 20
    assert all(game.holds(point) and game.cost(point) <= 40 for point in drawn)


def test_more_points_than_were_counted_is_an_error():
    from worker.recheck import _entered

    with pytest.raises(ValueError, match="fewer points"):
        _entered([(Subtree((), 0, 1), 1)], 1)
