"""The three searches share one limit of gradients, and say which safe grid point a real change lies nearest to."""

from random import Random

import numpy as np
import pytest

from common.game import Game, cost_of_radius
from common.settings import Settings
from common.vocab import Norm
from tests.tiny import claim_of, draw_games
from worker.bench import Workbench
from worker.judge import Call, Judgement
from worker.upper_bounds import _safe_neighbour, search_upper_bounds


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A tiny game with an adversarial point, and what an attack's worker has of it."""
    folder = tmp_path_factory.mktemp("tiny")
    bench = Workbench(Settings(data_dir=folder))
    tiny = next(
        game for game in draw_games(Random(3), folder, bench.settings.cache_dir, 20) if game.truth.fmsr is not None
    )
    claim = claim_of(tiny, bench)
    return tiny.spec, bench.game(tiny.spec, bench.clip(claim)), bench.judge(claim)


@pytest.mark.parametrize("most", [1, 6])
def test_an_attack_ends_after_so_many_gradients(drawn, most):
    spec, game, judge = drawn
    limit = cost_of_radius(spec.norm, spec.tau, spec.radius)
    free = search_upper_bounds(game, judge, spec, limit, lambda: False)
    bound = search_upper_bounds(game, judge, spec.model_copy(update={"gradients": most}), limit, lambda: False)
    # A batch that is under way is finished: one change for each start.
    assert most <= bound.effort.gradients <= most + 16 < free.effort.gradients


class Calls:
    """A judge that calls some points adversarial, and every other one safe."""

    def __init__(self, *adversarial):
        self.adversarial = adversarial

    def judge(self, points):
        calls = [Call.ADVERSARIAL if point in self.adversarial else Call.SAFE for point in points]
        return Judgement(np.array(calls), np.ones(len(points)), np.zeros(len(points)))


GAME = Game((2, 3), Norm.L1, cap=2)


@pytest.mark.parametrize(
    ("steps", "judge", "limit", "found"),
    [
        ([0.6, -1.4], Calls(), 9, ((0, 1), (1, -1))),
        ([0.4, 0.2], Calls(), 9, ()),
        ([0.6, -1.4], Calls(((0, 1), (1, -1))), 9, None),
        ([0.6, -1.4], Calls(), 4, None),
        ([2.6, 0.0], Calls(), 9, None),
    ],
    ids=["safe", "the clip itself", "adversarial", "beyond the radius", "beyond the cap"],
)
def test_the_nearest_grid_point_is_told_when_it_is_of_the_game_and_safe(steps, judge, limit, found):
    assert _safe_neighbour(GAME, judge, np.array(steps), limit) == found
