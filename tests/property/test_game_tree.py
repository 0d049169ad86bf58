"""Subtrees partition the tree, and counts equal enumeration, for random tiny games against brute force."""

import tracemalloc
from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from common.game import Game, PointCounter, Subtree, bisect, cost_of_radius, counting, cut, distance, whole
from common.vocab import Norm
from tests.enumeration import points
from tests.strategies import brute_cost, brute_points, tiny_games


def listed(game, subtree, limit):
    return [point for point, _ in points(game, subtree, 0, lambda: limit + 1)]


@given(tiny_games())
@settings(max_examples=300, deadline=None)
def test_the_tree_has_every_point_exactly_once(drawn):
    game, limit = drawn
    truth = brute_points(game, limit)
    found = dict(points(game, whole(game), 0, lambda: limit + 1))
    assert Counter(listed(game, whole(game), limit)) == Counter(truth.keys())
    assert found == truth


@given(tiny_games(), st.data())
@settings(max_examples=300, deadline=None)
def test_counts_equal_enumeration_for_any_subtree_and_levels(drawn, data):
    game, limit = drawn
    counter = PointCounter(game, limit)
    assert counter.upto(whole(game), limit) == len(brute_points(game, limit))
    node = data.draw(st.sampled_from(sorted(brute_points(game, limit))))
    first = data.draw(st.integers(0, game.items(node)))
    last = data.draw(st.integers(first, game.items(node)))
    subtree = Subtree(node, first, last)
    low = data.draw(st.integers(0, limit + 1))
    high = data.draw(st.integers(0, limit + 1))
    inside = [cost for _, cost in points(game, subtree, low, lambda: high)]
    assert counter.between(subtree, low, high) == len(inside)
    rest = sorted(cost for _, cost in points(game, subtree, low, lambda: limit + 1))
    wanted = data.draw(st.integers(1, 4))
    assert counter.next_cost(subtree, low, wanted) == (rest[wanted - 1] if len(rest) >= wanted else None)


@given(tiny_games(), st.integers(0, 6), st.data())
@settings(max_examples=200, deadline=None)
def test_counts_that_outgrow_machine_integers_are_as_exact(drawn, bits, data):
    game, limit = drawn
    counter = PointCounter(game, limit)
    with pytest.MonkeyPatch.context() as patch:
        # Tiny counts stand for large ones: tables end early and digits have two bits.
        patch.setattr(counting, "_FITS_BITS", bits)
        patch.setattr(counting, "_DIGIT_BITS", 2)
        large = PointCounter(game, limit)
        assert [large.upto(whole(game), b) for b in range(limit + 1)] == [
            counter.upto(whole(game), b) for b in range(limit + 1)
        ]
        node = data.draw(st.sampled_from(sorted(brute_points(game, limit))))
        first = data.draw(st.integers(0, game.items(node)))
        subtree = Subtree(node, first, data.draw(st.integers(first, game.items(node))))
        assert [large.upto(subtree, b) for b in range(limit + 1)] == [
            counter.upto(subtree, b) for b in range(limit + 1)
        ]


def test_a_game_of_uneven_regions_is_counted_exactly_in_little_memory():
    sizes = tuple(300 + 7 * (j % 13) for j in range(40) for _ in range(2))
    game = Game(sizes, Norm.L2)
    tracemalloc.start()
    counter = PointCounter(game, 20_000)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Python integers in a table of 81 x 20,001 entries would take some 100 MiB.
    assert most < 16 * 2**20
    # The product of the coordinates' polynomials in one large number, a coefficient in each 600 bits.
    product, bits = 1, 600
    for size in sizes:
        product += 2 * sum(product << bits * steps**2 * size for steps in range(1, 9) if steps**2 * size <= 20_000)
        product &= (1 << bits * 20_001) - 1
    coefficients = [product >> bits * cost & (1 << bits) - 1 for cost in (0, *sizes[:3], 20_000)]
    steps = [counter.upto(whole(game), cost) - counter.upto(whole(game), cost - 1) for cost in (*sizes[:3], 20_000)]
    assert [1, *steps] == coefficients
    assert counter.upto(whole(game), 20_000) > 2**64


@given(tiny_games(), st.integers(1, 7))
@settings(max_examples=200, deadline=None)
def test_bisection_partitions_in_order_and_reaches_single_points(drawn, most):
    game, limit = drawn
    counter = PointCounter(game, limit)
    pieces, todo = [], [whole(game)]
    while todo:
        piece = todo.pop()
        halves = bisect(counter, piece, 0, limit + 1) if counter.upto(piece, limit) > most else None
        if halves is None:
            assert counter.upto(piece, limit) <= most
            pieces.append(piece)
        else:
            todo += [halves[1], halves[0]]
    joined = [point for piece in pieces for point in listed(game, piece, limit)]
    assert joined == listed(game, whole(game), limit)


@given(tiny_games(), st.data())
@settings(max_examples=200, deadline=None)
def test_a_cut_separates_what_is_done_from_what_is_left(drawn, data):
    game, limit = drawn
    order = listed(game, whole(game), limit)
    at = data.draw(st.integers(0, len(order) - 1))
    done, rest = cut(game, whole(game), order[at])
    assert Counter(p for s in done for p in listed(game, s, limit)) == Counter(order[: at + 1])
    assert Counter(p for s in rest for p in listed(game, s, limit)) == Counter(order[at + 1 :])


def test_a_falling_threshold_prunes_what_is_left():
    game = Game((1, 1), Norm.L1)
    high = [4]
    seen = []
    for point, cost in points(game, whole(game), 0, lambda: high[0]):
        seen.append((point, cost))
        high[0] = min(high[0], 2)
    assert max(cost for _, cost in seen) == 1
    assert len(seen) == 5


@pytest.mark.parametrize("norm", list(Norm))
@given(tau=st.decimals("0.01", "9", places=2), radius=st.decimals("0.01", "50", places=2))
@settings(max_examples=100, deadline=None)
def test_the_cost_of_a_radius_is_the_greatest_within_it(norm, tau, radius):
    cost = cost_of_radius(norm, tau, radius)
    square = norm is Norm.L2
    assert (tau * tau * cost if square else tau * cost) <= (radius * radius if square else radius)
    assert (tau * tau * (cost + 1) if square else tau * (cost + 1)) > (radius * radius if square else radius)
    assert distance(norm, tau, cost) == pytest.approx(float(tau) * (cost**0.5 if square else cost))


def test_counts_beyond_64_bits_stay_exact():
    game = Game((1,) * 60, Norm.L1)
    counter = PointCounter(game, 40)
    # Number of integer points of the 60-dimensional cross-polytope of radius 40, by its closed form.
    from math import comb

    assert counter.upto(whole(game), 40) == sum(2**k * comb(60, k) * comb(40, k) for k in range(41))


def test_linf_counts_a_box_and_refuses_a_large_one():
    assert PointCounter(Game((3, 5), Norm.LINF, cap=2), 9).upto(whole(Game((3, 5), Norm.LINF)), 9) == 25
    with pytest.raises(InputError, match="Linf gives about 10\\^23"):
        PointCounter(Game((1,) * 48, Norm.LINF), 1)


def test_a_table_too_large_is_refused_before_memory_is():
    with pytest.raises(InputError, match="radius: 100000 coordinates"):
        PointCounter(Game((1,) * 100_000, Norm.L2), 1_000)


def test_decimal_tau_is_exact():
    assert cost_of_radius(Norm.L1, Decimal("0.1"), Decimal("0.3")) == 3
    assert brute_cost(Game((2, 3), Norm.L2), (1, -2)) == 14
