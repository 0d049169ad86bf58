"""Blocks list exactly the points that the plain enumeration lists, in its order, for any subtree and levels."""

from hypothesis import given, settings
from hypothesis import strategies as st

from common.game import Game, Subtree, whole
from common.game.blocks import Block, block_of, blocks
from common.vocab import Norm
from tests.enumeration import points
from tests.strategies import brute_points, tiny_games


@given(tiny_games(), st.data())
@settings(max_examples=300, deadline=None)
def test_blocks_are_the_points_in_order(drawn, data):
    game, limit = drawn
    node = data.draw(st.sampled_from(sorted(brute_points(game, limit))))
    first = data.draw(st.integers(0, game.items(node)))
    last = data.draw(st.integers(first, game.items(node)))
    low = data.draw(st.integers(0, limit + 1))
    high = data.draw(st.integers(0, limit + 1))
    size = data.draw(st.integers(1, 9))
    subtree = Subtree(node, first, last)
    truth = list(points(game, subtree, low, lambda: high))
    found = list(blocks(game, subtree, low, lambda: high, lambda: size))
    assert all(len(block) == size for block, _ in found[:-1])
    assert all(0 < len(block) <= size for block, _ in found)
    assert [(block[i], int(costs[i])) for block, costs in found for i in range(len(block))] == truth


@given(tiny_games())
@settings(max_examples=50, deadline=None)
def test_a_block_is_the_sequence_of_its_points(drawn):
    game, limit = drawn
    listed = sorted(brute_points(game, limit))
    block = block_of(listed)
    assert list(block) == listed
    assert list(block[1:3]) == listed[1:3]
    assert isinstance(block[1:3], Block)
    assert block_of(block) is block


def test_a_falling_threshold_prunes_the_runs_that_follow():
    game = Game((1, 1, 1), Norm.L1)
    high = [4]
    seen = []
    for block, costs in blocks(game, whole(game), 0, lambda: high[0], lambda: 2):
        seen += [(point, int(cost)) for point, cost in zip(block, costs, strict=True)]
        high[0] = 2
    # Every point below the final threshold is listed, whatever else was.
    assert {point for point, cost in seen if cost < 2} == set(brute_points(game, 1))
    assert len(seen) == len({point for point, _ in seen})


def test_a_two_move_level_needs_no_python_per_point():
    game = Game((256,) * 480, Norm.L2)
    calls = []
    listing = blocks(game, whole(game), 0, lambda: 513, lambda: calls.append(1) or 8192)
    assert sum(len(block) for block, _ in listing) == 460_801
    # One question for each run of siblings, of which there are two for each of the 961 inner nodes.
    assert len(calls) < 4 * 961
