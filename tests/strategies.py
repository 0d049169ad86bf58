"""Hypothesis strategies and independent brute force for tiny games; nothing here uses the code under test."""

import itertools

from hypothesis import strategies as st

from common.game import Game
from common.vocab import Norm


@st.composite
def tiny_games(draw, norms=tuple(Norm)):
    norm = draw(st.sampled_from(norms))
    coordinates = draw(st.integers(1, 4))
    sizes = tuple(draw(st.lists(st.integers(1, 6), min_size=coordinates, max_size=coordinates)))
    cap = draw(st.none() | st.integers(1, 3))
    limit = draw(st.integers(0, 3)) if norm is Norm.LINF else draw(st.integers(0, 14))
    return Game(sizes, norm, cap), limit


def brute_cost(game, vector):
    terms = [abs(a) * n for a, n in zip(vector, game.sizes, strict=True)]
    if game.norm is Norm.L1:
        return sum(terms)
    if game.norm is Norm.L2:
        return sum(n * a * a for a, n in zip(vector, game.sizes, strict=True))
    return max(abs(a) for a in vector)


def brute_points(game, limit):
    """Every grid point with cost ≤ limit as a sparse tuple, with its cost, by scanning the whole box."""
    reach = limit if game.cap is None else min(limit, game.cap)
    found = {}
    for vector in itertools.product(range(-reach, reach + 1), repeat=len(game.sizes)):
        cost = brute_cost(game, vector)
        if cost <= limit:
            found[tuple((j, a) for j, a in enumerate(vector) if a)] = cost
    return found
