"""Random tiny games through a real scheduler, two real workers, the broker and the database, against brute force."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa

from scheduler.intake.dataset import FoundClip
from scheduler.intake.submit import submit
from tests.crew import Crew
from tests.harness import BUDGET, check_clip
from tests.tiny import draw_games

GAMES = 24

pytestmark = pytest.mark.acceptance


def test_real_processes_find_what_brute_force_finds(
    engine: sa.Engine, make_crew: Callable[..., Crew], tmp_path: Path
) -> None:
    # Tasks of a twentieth of a second are split small, and cut short now and then.
    crew = make_crew(task_seconds=0.05, batch_points=4, tick_seconds=0.05, window=10)
    # They start while the games are still being drawn.
    for module in ("scheduler", "worker", "worker"):
        crew.start(module)
    games = {}
    for game in draw_games(Random(20261122), tmp_path, tmp_path / "drawn", GAMES):
        games[submit(engine, game.spec, [FoundClip(game.label, str(game.video))], BUDGET).job_id] = game
    crew.wait_until_done()
    for job, game in games.items():
        check_clip(engine, job, game.truth)
    verdicts = Counter(row.verdict for row in crew.rows("SELECT verdict FROM videos"))
    assert sum(verdicts.values()) == GAMES
    assert min(verdicts["solved"], verdicts["robust"]) >= GAMES / 4
    workers = crew.rows("SELECT returned FROM worker_activity")
    assert len(workers) == 2
    assert all(row.returned > GAMES / 4 for row in workers)
    assert crew.rows("SELECT 1 FROM subtrees WHERE split"), "no subtree was ever split"
    assert {row.outcome for row in crew.rows("SELECT outcome FROM attempts")} == {"returned"}
