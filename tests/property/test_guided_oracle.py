"""A guided search finds what brute force finds when its constant is true, and certified radii end before witnesses."""

from __future__ import annotations

import copy
from collections import Counter
from decimal import Decimal
from pathlib import Path
from random import Random

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from common.store.tables import Certificate
from tests.harness import Service, finished_clip
from tests.oracle import Features, Rules, grid, margins
from tests.tiny import TinyGame, claim_of, draw_games
from worker import work
from worker.attack import Effort
from worker.bench import Workbench
from worker.upper_bounds import UpperBounds

CHUNKS, GAMES_PER_CHUNK = 2, 16
#: The first games of a chunk have a radius certified too.
CERTIFIED = 4
#: Games with this many points are compared point with point.
MOST_POINTS = 600


def steepest(game: TinyGame, bench: Workbench) -> float:
    """Greatest slope between grid points, down to some of them, in logits per pixel of the norm."""
    spec, clip = game.spec, bench.clip(claim_of(game, bench))
    features = Features(clip.frames, clip.flow, clip.labels)
    vectors = [vector for vector, _ in grid(features.sizes, Rules(spec.norm, spec.tau, spec.radius, spec.cap))]
    module = copy.deepcopy(bench.model(spec.model).module).double()
    found = margins(features, vectors, module, spec.model.classes.index(game.label), spec.tau)
    points, sizes = np.array(vectors, float), np.array(features.sizes, float)
    slope = 0.0
    # Only slopes down to adversarial points matter; where there are none, any constant is true enough.
    for low in np.flatnonzero(found < 0) if (found < 0).any() else found.argsort()[:50]:
        higher = found > found[low]
        apart = np.abs(points[higher] - points[low])
        norms = {"L1": (apart * sizes).sum(1), "L2": np.sqrt((apart**2 * sizes).sum(1)), "Linf": apart.max(1)}
        falls = (found[higher] - found[low]) / (norms[spec.norm] * float(spec.tau))
        slope = max(slope, float(falls.max(initial=0.0)))
    return slope


@pytest.mark.parametrize("seed", range(CHUNKS))
def test_a_guided_search_finds_what_brute_force_finds(
    seed: int, engine: sa.Engine, database_url: str, broker_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the attack finds between grid points may be steeper than the constant, and leaves exploration little to do.
    monkeypatch.setattr(work, "search_upper_bounds", lambda *_: UpperBounds(None, None, None, Effort()))
    rng = Random(seed)
    service = Service(engine, database_url, broker_url, tmp_path, rng)
    bench = Workbench(service.settings)
    games: dict[int, TinyGame] = {}
    for game in draw_games(rng, tmp_path, service.settings.cache_dir, GAMES_PER_CHUNK):
        if game.truth.points > MOST_POINTS:
            continue
        constant = Decimal(f"{steepest(game, bench) * 1.001:.6g}")
        certified = len(games) < CERTIFIED
        spec = game.spec.model_copy(update={"lipschitz": constant, "heuristic": True, "continuous": certified})
        games[service.submit(spec, game.video, game.label, 1)] = game
    service.run()
    for job, game in games.items():
        end = finished_clip(engine, job)
        assert end.bound is not None, end.video.reason
        assert end.bound.lower_guarantee == "lipschitz:assumed"
        if game.truth.fmsr is None:
            assert (end.video.verdict, end.bound.upper) == ("robust", None), end.video.reason
        else:
            assert end.video.verdict == "solved", end.video.reason
            assert (end.bound.lower, end.bound.upper) == (game.truth.fmsr, game.truth.fmsr)
    verdicts = Counter(finished_clip(engine, job).video.verdict for job in games)
    assert min(verdicts["solved"], verdicts["robust"]) >= 3
    assert any(finished_clip(engine, job).video.points_explored < game.truth.below for job, game in games.items())
    with Session(engine) as session:
        radii = session.execute(sa.select(Certificate.radius, Certificate.reason)).all()
    assert len(radii) >= CERTIFIED
    # Where nothing was certified, the harness cut the worker short after its first try.
    assert all(radius > 0 or reason == "no radius was certified in 1 tries (time)" for radius, reason in radii)
    assert any(radius > 0 for radius, _ in radii)
