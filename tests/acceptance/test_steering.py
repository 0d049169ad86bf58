"""Jobs are paused, resumed and cancelled at work while workers come and go: what was proved stays, and is right."""

from __future__ import annotations

import signal
from collections.abc import Callable
from random import Random

import pytest
import sqlalchemy as sa

from scheduler.intake import FoundClip, Terms, cancel, pause, resume, submit
from tests.acceptance.test_faults import begin, check_everything, games
from tests.crew import Crew, Process
from tests.harness import BUDGET, check_clip
from tests.tiny import TinyGame

pytestmark = pytest.mark.acceptance
__all__ = ["games"]


@pytest.fixture
def patient(make_crew: Callable[..., Crew]) -> Crew:
    """Processes whose explorations end after ten minutes, unless they are asked for what they have."""
    return make_crew(lease_seconds=60, beat_seconds=0.2, task_seconds=600, batch_points=1)


@pytest.fixture
def crew(make_crew: Callable[..., Crew]) -> Crew:
    """Processes whose tasks take about half a second."""
    return make_crew(lease_seconds=60, beat_seconds=0.2, task_seconds=1, batch_points=1)


def under_way(crew: Crew) -> bool:
    """Whether a worker has begun an exploration of the large last level not long ago."""
    query = (
        "SELECT 1 FROM attempts a JOIN tasks t ON t.id = a.task_id JOIN subtrees s ON s.id = t.subtree_id"
        " WHERE a.ended_at IS NULL AND s.floor = 384"
        " AND a.started_at BETWEEN now() - interval '0.4 s' AND now() - interval '0.05 s'"
    )
    return bool(crew.rows(query))


def test_running_tasks_stop_when_their_job_is_paused_or_cancelled(patient: Crew, games: list[TinyGame]) -> None:
    crew, game = patient, games[0]
    job = submit(crew.engine, game.spec, [FoundClip(game.label, str(game.video))], BUDGET).job_id
    crew.start("scheduler")
    crew.start("worker")
    crew.wait("an exploration", lambda: under_way(crew))
    pause(crew.engine, job)
    crew.wait(
        "the task to be handed in", lambda: not crew.rows("SELECT 1 FROM tasks WHERE state IN ('leased', 'returned')")
    )
    (row,) = crew.rows("SELECT payload, outcome FROM attempts a JOIN results r USING (task_id) JOIN tasks t"
                       " ON t.id = a.task_id WHERE t.kind = 'explore' ORDER BY task_id DESC LIMIT 1")  # fmt: skip
    assert row.payload["stop"] == "recalled"
    assert row.payload["explored"] > 0
    assert crew.rows("SELECT points_explored FROM videos")[0].points_explored >= row.payload["explored"]

    resume(crew.engine, job)
    crew.wait("the next exploration", lambda: under_way(crew))
    assert cancel(crew.engine, job) == 1
    crew.wait("the worker to stop", lambda: not crew.rows("SELECT 1 FROM attempts WHERE ended_at IS NULL"))
    assert crew.rows("SELECT outcome FROM attempts ORDER BY started_at DESC LIMIT 1")[0].outcome == "late"
    # The worker is free again, and what was proved before is still known.
    begin(crew, [game])
    crew.wait("the worker to go on", lambda: under_way(crew))
    with crew.engine.begin() as connection:
        connection.execute(sa.text("UPDATE jobs SET budget_wall_seconds = 0.1"))
    crew.wait_until_done()
    (row,) = crew.rows("SELECT verdict, reason, points_explored FROM videos")
    assert row.verdict == "open"
    assert "it may run for 0.1 s" in row.reason
    assert row.points_explored > 0
    assert submit(crew.engine, game.spec, [FoundClip(game.label, str(game.video))], BUDGET, Terms()).reopened == 1
    crew.wait_until_done()
    check_clip(crew.engine, job, game.truth)


def test_workers_come_and_go_at_random(crew: Crew, games: list[TinyGame]) -> None:
    rng = Random(7)
    jobs = begin(crew, games)
    crew.start("scheduler")
    workers: list[Process] = []
    for event in ("join", "join", "leave", "join", "leave"):
        if event == "join":
            workers.append(crew.start("worker"))
        else:
            leaving = workers.pop(rng.randrange(len(workers)))
            leaving.send_signal(signal.SIGTERM)
            # One that has not begun to work yet ends by the signal.
            assert leaving.wait(60) in (0, -signal.SIGTERM)
        wanted = len(crew.rows("SELECT 1 FROM results")) + rng.randint(1, 4)
        crew.wait(
            "results", lambda wanted=wanted: len(crew.rows("SELECT 1 FROM results")) >= wanted or not running(crew)
        )
    check_everything(crew, jobs)
    # Whoever left had handed in what it had.
    assert {row.outcome for row in crew.rows("SELECT outcome FROM attempts")} == {"returned"}


def running(crew: Crew) -> bool:
    return bool(crew.rows("SELECT 1 FROM jobs WHERE status = 'running'"))
