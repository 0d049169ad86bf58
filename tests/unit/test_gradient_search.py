"""The search finds real changes that a float64 replay confirms, near the shortest there are, none above a start."""

from dataclasses import dataclass
from itertools import product
from random import Random

import numpy as np
import pytest

from common.game import Point, length
from common.settings import Settings
from common.vocab import Norm
from tests.tiny import claim_of, draw_games, source_of
from worker.attack import GreedyAttack
from worker.bench import Workbench
from worker.gradient_search import GradientSearch, _to_boundary
from worker.real_margins import RealMargins
from worker.replay import Source, replay_real

#: These many games, from this seed, have every norm, and more than ten with a short adversarial change.
GAMES, SEED = 24, 1


@dataclass(frozen=True)
class Drawn:
    """A tiny game as the search sees it, and what replays its finds."""

    margins: RealMargins
    norm: Norm
    tau: float
    source: Source
    greedy: Point | None

    def search(self, limit=1e6, **options):
        return GradientSearch(self.margins, self.norm, limit, **options)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("games")
    games = []
    bench = Workbench(Settings(data_dir=folder))
    for tiny in draw_games(Random(SEED), folder, bench.settings.cache_dir, GAMES):
        spec, claim = tiny.spec, claim_of(tiny, bench)
        judge = bench.judge(claim)
        greedy = GreedyAttack(bench.game(spec, bench.clip(claim)), judge, claim.radius_cost).find()
        margins, source = RealMargins(judge.plain, judge.label), source_of(claim, bench)
        games.append(Drawn(margins, spec.norm, float(spec.tau), source, greedy))
    assert {game.norm for game in games} == set(Norm)
    return games


def test_finds_are_confirmed_by_the_replay_at_their_distance(drawn):
    confirmed = 0
    for game in drawn:
        search = game.search()
        find = search.find()
        assert search.effort.gradients <= 150
        if find is None:
            continue
        witness = replay_real(find.sparse(), game.source)
        assert witness.replayed
        assert witness.distance == pytest.approx(find.distance, rel=1e-9)
        confirmed += 1
    assert confirmed >= 10


def test_what_is_found_from_a_grid_point_is_no_longer(drawn):
    compared = 0
    for game in drawn:
        if game.greedy is None:
            continue
        start = np.zeros(len(game.margins.plain.clip.coordinate_sizes))
        for coordinate, steps in game.greedy:
            start[coordinate] = steps * game.tau
        moves = [(int(j), float(start[j])) for j in np.flatnonzero(start)]
        distance = length(game.norm, game.margins.plain.clip.coordinate_sizes, moves)
        find = game.search().find([start])
        assert find is not None
        assert find.distance <= distance * (1 + 1e-5)
        compared += 1
    assert compared >= 8


def test_the_limit_is_kept(drawn):
    for game in drawn:
        find = game.search().find()
        if find is not None:
            assert game.search(limit=find.distance * 0.2).find() is None


class Ball:
    """A model whose margin is the distance, in its norm, to the boundary of a slab, and which is linear there."""

    def __init__(self, normal, offset, sizes):
        self.normal, self.offset = np.asarray(normal, float), offset
        clip = type("Clip", (), {"coordinate_sizes": tuple(sizes)})()
        self.plain = type("Plain", (), {"clip": clip})()

    def in_float64(self):
        return self

    def leads(self, moves):
        lead = self.offset - np.asarray(moves) @ self.normal
        return np.stack([np.full(len(lead), np.inf), lead, lead + 5.0], axis=1)

    def margins(self, moves):
        return self.leads(moves).min(axis=1)

    def gradients(self, moves, classes):
        return self.leads(moves), np.tile(-self.normal, (len(moves), 1))


@pytest.mark.parametrize(("norm", "seed"), list(product(Norm, range(5))))
def test_the_shortest_change_across_a_plane_is_found(norm, seed):
    rng = np.random.default_rng(seed)
    sizes, normal = rng.integers(1, 9, 12), rng.normal(size=12)
    find = GradientSearch(Ball(normal, 3.0, sizes), norm, 1e6).find()
    exact = {
        Norm.L1: 3.0 / np.max(np.abs(normal) / sizes),
        Norm.L2: 3.0 / np.sqrt(np.sum(normal**2 / sizes)),
        Norm.LINF: 3.0 / np.abs(normal).sum(),
    }[norm]
    # L1's shortest change moves one coordinate, which steps between vertices only approach.
    assert exact <= find.distance <= exact * (1.05 if norm is Norm.L1 else 1.005)


def test_a_stopped_search_returns_what_it_has():
    assert GradientSearch(Ball([1.0, 2.0], 1.0, [1, 1]), Norm.L2, 9.0, lambda: True).find() is not None


def test_the_shortest_ways_to_a_linear_boundary_reach_it():
    rng = np.random.default_rng(0)
    gradients, leads = rng.normal(size=(6, 5)), rng.normal(size=6)
    for norm in Norm:
        way = _to_boundary(gradients, leads, norm)
        assert leads + (way * gradients).sum(axis=1) == pytest.approx(np.zeros(6), abs=1e-12)
        order = {Norm.L1: 1, Norm.L2: 2, Norm.LINF: np.inf}[norm]
        dual = {Norm.L1: np.inf, Norm.L2: 2, Norm.LINF: 1}[norm]
        # No shorter one exists: Hölder's inequality holds with equality.
        assert np.linalg.norm(way, order, axis=1) == pytest.approx(
            np.abs(leads) / np.linalg.norm(gradients, dual, axis=1)
        )
