"""Schedulers and workers are killed at every step of plan, publish and merge: the final bounds are brute force's."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from common.store.engine import open_worker_engine
from scheduler.intake.dataset import FoundClip
from scheduler.intake.submit import submit
from scheduler.loop import _LEADER_LOCK
from tests.crashing import SCHEDULER_POINTS, WORKER_POINTS
from tests.crew import Crew, check_everything
from tests.harness import BUDGET, INFO
from tests.tiny import TinyGame, draw_games
from worker.store import WorkerStore

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory) -> list[TinyGame]:
    """Small games with their truth."""
    folder = tmp_path_factory.mktemp("games")
    return list(draw_games(Random(3), folder, folder / "cache", 4))


@pytest.fixture
def crew(make_crew: Callable[..., Crew]) -> Crew:
    """Processes whose tasks are small, so that there are many."""
    return make_crew(lease_seconds=3, beat_seconds=0.5, task_points=100, batch_points=8, max_attempts=99)


def begin(crew: Crew, games: list[TinyGame], jobs: dict[int, TinyGame]) -> None:
    """Submit one more game, as a job of its own."""
    game = games[len(jobs) % len(games)]
    spec = game.spec.model_copy(update={"dataset": f"{game.spec.dataset}#{len(jobs)}"})
    jobs[submit(crew.engine, spec, [FoundClip(game.label, str(game.video))], BUDGET).job_id] = game


def leading(crew: Crew) -> bool:
    query = (
        "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = :key"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return bool(crew.rows(query, key=_LEADER_LOCK))


def test_a_scheduler_killed_at_any_step_loses_nothing(
    crew: Crew, games: list[TinyGame], database_url: str, tmp_path: Path
) -> None:
    marker = tmp_path / "died"
    marker.mkdir()
    ghost = WorkerStore(open_worker_engine(database_url), "ghost", 0.0)
    ghost.beat(INFO, None, None)
    jobs: dict[int, TinyGame] = {}
    crew.start("worker")
    for point in SCHEDULER_POINTS:
        # Three jobs, of which the ghost takes a task: there is more than one of everything, and its lease runs out, so
        # that reaping is due.
        for _ in range(3):
            begin(crew, games, jobs)
        assert any(ghost.claim(row.id) for row in crew.rows("SELECT id FROM tasks WHERE state = 'ready'")), point
        doomed = crew.start("tests.crashing", "scheduler", marker, point)
        crew.wait(f"death at: {point}", lambda doomed=doomed: doomed.poll() is not None)
        assert doomed.returncode == -signal.SIGKILL, (point, crew.logs())
    assert {path.name for path in marker.iterdir()} == set(SCHEDULER_POINTS)

    # Of two, the one that stands by takes over.
    begin(crew, games, jobs)
    first = crew.start("scheduler")
    crew.wait("a leader", lambda: leading(crew))
    crew.start("scheduler")
    crew.kill(first)
    check_everything(crew, jobs)


def test_a_worker_killed_between_any_two_steps_loses_nothing(crew: Crew, games: list[TinyGame], tmp_path: Path) -> None:
    marker = tmp_path / "died"
    marker.mkdir()
    jobs: dict[int, TinyGame] = {}
    begin(crew, games, jobs)
    crew.start("scheduler")
    crew.start("tests.crashing", "worker", marker, *WORKER_POINTS)
    check_everything(crew, jobs)
    assert {path.name for path in marker.iterdir()} == set(WORKER_POINTS)
    # After the append's commit the task was over; the two killed before it were done again.
    outcomes = [row.outcome for row in crew.rows("SELECT outcome FROM attempts WHERE outcome <> 'returned'")]
    assert outcomes == ["expired", "expired"]
