"""The search returns adversarial points of the game, never dearer than a start, and mostly the cheapest there is."""

from dataclasses import dataclass
from random import Random

import numpy as np
import pytest

from common.game import ROOT, Game
from common.settings import Settings
from common.vocab import Norm
from tests.tiny import claim_of, draw_games
from worker.attack import GreedyAttack
from worker.bench import Workbench
from worker.grid_search import MOST_POINTS, GridSearch, rounded
from worker.judge import Judge
from worker.plain import margins

#: These many games, from this seed, have every norm, caps, both outcomes, and more than 30 that are not robust.
GAMES, SEED = 75, 5
LEAST_SOLVED, LEAST_SHARE = 30, 0.95


@dataclass(frozen=True)
class Drawn:
    """A tiny game, its truth, and what a search starts from."""

    game: Game
    limit: int
    judge: Judge
    truth: object
    starts: list

    def margin(self, point):
        return float(margins(self.judge.exact.logits([point]), self.judge.label)[0])


def downhill(game, judge, tau):
    """Roundings of real changes along the way that the unchanged clip's gradient shows."""
    _, gradient = judge.plain.margin_gradient(ROOT, judge.label)
    direction = -gradient / np.abs(gradient).max()
    return [point for length in (0.6, 1, 2, 3) for point in rounded(game, direction * length * tau, tau)]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("games")
    bench = Workbench(Settings(data_dir=folder))
    games = []
    for tiny in draw_games(Random(SEED), folder, bench.settings.cache_dir, GAMES):
        spec, claim = tiny.spec, claim_of(tiny, bench)
        judge = bench.judge(claim)
        game = bench.game(spec, bench.clip(claim))
        greedy = GreedyAttack(game, judge, claim.radius_cost).find()
        starts = [*([greedy] if greedy else []), *downhill(game, judge, float(spec.tau))]
        games.append(Drawn(game, claim.radius_cost, judge, tiny.truth, starts))
    assert {game.game.norm for game in games} == set(Norm)
    assert any(game.game.cap for game in games)
    return games


def test_the_search_mostly_meets_the_optimum_of_tiny_games(drawn):
    costs = []
    for game in drawn:
        search = GridSearch(game.game, game.judge, game.limit)
        point = search.improve(game.starts)
        assert search.effort.evaluations <= MOST_POINTS
        if game.truth.fmsr is None:
            assert point is None
            continue
        costs.append((None if point is None else game.game.cost(point), game.truth.fmsr))
        if point is not None:
            assert game.margin(point) < 0
            assert game.truth.fmsr <= game.game.cost(point) <= game.limit
            assert game.game.holds(point)
    assert len(costs) >= LEAST_SOLVED
    assert sum(cost == least for cost, least in costs) >= LEAST_SHARE * len(costs)


def test_a_smaller_limit_is_kept(drawn):
    for game in drawn:
        if game.truth.fmsr is not None:
            assert GridSearch(game.game, game.judge, game.truth.fmsr - 1).improve(game.starts) is None


class Trap:
    """A margin given by a function of the dense point, with a gradient that shows nothing of it."""

    batch = 64

    def __init__(self, coordinates, margin):
        self.coordinates, self.margin = coordinates, margin

    def logits(self, points):
        rows = np.zeros((len(points), self.coordinates), int)
        for row, point in zip(rows, points, strict=True):
            for coordinate, value in point:
                row[coordinate] = value
        return np.array([[float(self.margin(row)), 0.0] for row in rows])

    def in_float64(self):
        return self

    def margin_gradient(self, point, label):
        return float(self.logits([point])[0][0]), np.zeros(self.coordinates)


def improve(game, margin, limit, starts):
    trap = Trap(len(game.sizes), margin)
    return GridSearch(game, Judge(trap, trap, 0), limit).improve(starts)


def test_a_start_that_cannot_be_improved_is_returned():
    start = ((0, 3), (4, -2), (5, 1))
    dense = np.array([3, 0, 0, 0, -2, 1])
    for norm in Norm:
        game = Game((2, 1, 1, 3, 1, 2), norm)
        needle = lambda row: 1.0 - 2.0 * np.array_equal(row, dense)  # noqa: E731
        assert improve(game, needle, game.cost(start), [((1, 1),), start]) == start
        assert improve(game, needle, game.cost(start) - 1, [start]) is None


def test_starts_outside_the_game_are_left_out():
    game = Game((1, 1), Norm.L1, cap=2)
    assert improve(game, lambda row: 4.5 - np.abs(row).sum(), 20, [((0, 5),), ((7, 1),), ROOT]) is None
    assert improve(game, lambda row: 3.5 - np.abs(row).sum(), 20, [((0, 5),)]) in [
        tuple(zip((0, 1), signs, strict=True)) for signs in ((2, 2), (2, -2), (-2, 2), (-2, -2))
    ]


def test_steps_are_taken_back_exchanged_and_turned():
    game = Game((4, 1, 1, 1, 1, 1), Norm.L2)
    # Only steps down in coordinates 3 and 4 count; the start has one of them the wrong way and a dear one elsewhere.
    found = improve(game, lambda row: 2.5 + row[3] + row[4] - 3 * (row[0] > 0), 40, [((0, 1), (3, 1), (5, 2))])
    assert game.cost(found) == 4
    found = improve(game, lambda row: 2.5 + row[3] + row[4], 40, [((3, -3), (5, 2))])
    assert game.cost(found) == 5
    assert dict(found).keys() == {3, 4}


def test_a_norm_of_the_greatest_move_is_lowered_in_all_coordinates_at_once():
    game = Game((5,) * 8, Norm.LINF)
    found = improve(game, lambda row: 15.5 - np.abs(row).sum(), 9, [tuple((j, 6) for j in range(8))])
    assert game.cost(found) == 2


def test_nothing_adversarial_gives_none(drawn):
    assert improve(Game((1, 2, 1), Norm.L1), lambda _row: 1.0, 9, [((0, 2),)]) is None
    assert improve(Game((1, 2, 1), Norm.L1), lambda _row: 1.0, 9, []) is None


@pytest.mark.parametrize("cap", [None, 1, 3])
def test_rounding_keeps_the_cap_and_has_the_nearest_point_first(cap):
    rng = np.random.default_rng(3)
    game = Game((1,) * 9, Norm.L2, cap)
    for _ in range(50):
        moves = rng.normal(scale=1.0, size=9)
        found = rounded(game, moves, 0.5)
        assert len(set(found)) == len(found) > 0
        assert all(game.holds(point) and point != ROOT for point in found)
        most = cap or 100
        nearest = np.clip(np.rint(moves / 0.5), -most, most).astype(int)
        if nearest.any():
            assert found[0] == tuple((j, int(a)) for j, a in enumerate(nearest) if a)


def test_a_change_of_less_than_half_a_step_is_rounded_away_from_zero():
    game = Game((1, 1, 1), Norm.L1)
    assert rounded(game, np.array([0.1, 0.0, -0.2]), 1.0) == [((0, 1), (2, -1))]
    assert rounded(game, np.zeros(3), 1.0) == []
