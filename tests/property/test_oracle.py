"""Soundness of the whole pipeline: what the service says of random tiny games is what brute force finds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa

from scheduler import levels
from tests.harness import Service, check_clip, finished_clip
from tests.tiny import TinyGame, draw_games
from worker import work
from worker.attack import Effort
from worker.upper_bounds import UpperBounds

CHUNKS = 8
GAMES_PER_CHUNK = 23
#: Explore tasks that a game is cut into, about: enough to mix, few enough to be quick.
TASKS_PER_GAME = 6
#: Only every fourth chunk's games are attacked: the attack mostly leaves nothing for exploration to find.
ATTACKED = 4


def draw_task_points(rng: Random, game: TinyGame) -> int:
    """Between 1 and 50 points a task, more only for games that would fall into too many."""
    return max(rng.choice([1, 2, 5, 10, 20, 50]), game.truth.points // TASKS_PER_GAME)


@pytest.mark.parametrize("seed", range(CHUNKS))
def test_the_service_finds_what_brute_force_finds(
    seed: int, engine: sa.Engine, database_url: str, broker_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = Random(seed)
    # Tiny games would hardly ever have a second level.
    monkeypatch.setattr(levels, "LEAST_LEVEL_POINTS", rng.choice([1, 10, 40, levels.LEAST_LEVEL_POINTS]))
    if seed % ATTACKED:
        monkeypatch.setattr(work, "search_upper_bounds", lambda *_: UpperBounds(None, None, None, Effort()))
    service = Service(engine, database_url, broker_url, tmp_path, rng)
    games: dict[int, TinyGame] = {}
    for game in draw_games(rng, tmp_path, service.settings.cache_dir, GAMES_PER_CHUNK):
        job = service.submit(game.spec, game.video, game.label, draw_task_points(rng, game))
        assert job not in games
        games[job] = game
    service.run()
    for job, game in games.items():
        check_clip(engine, job, game.truth)
    verdicts = Counter(finished_clip(engine, job).video.verdict for job in games)
    assert verdicts.keys() == {"solved", "robust"}
    assert min(verdicts.values()) >= GAMES_PER_CHUNK / 4
    assert {"accepted", "late"} <= set(service.outcomes)
