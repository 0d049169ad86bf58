"""Processes die and the broker forgets: the final bounds are the same, nothing is lost, no row is there twice."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Callable
from decimal import Decimal
from random import Random

import pytest
import redis

from common.features import parse_partition
from common.jobspec import FarnebackSpec, SamplingSpec
from scheduler.intake.dataset import FoundClip
from scheduler.intake.submit import submit
from tests.crew import Crew, check_everything, child_of, parent_of
from tests.harness import BUDGET
from tests.oracle import Rules
from tests.tiny import MAX_BYTES, TinyGame, make_game, write_video
from worker.clip import load_or_prepare

pytestmark = pytest.mark.acceptance
LEASE_SECONDS = 3


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory) -> list[TinyGame]:
    """A robust and a solvable game of 2,049 points each, with a model slow enough to be killed at work."""
    rng, folder = Random(5), tmp_path_factory.mktemp("games")
    video, sampling = folder / "clip.avi", SamplingSpec(frames=4, height=16, width=16)
    write_video(video, rng, frames=7, height=16, width=16)
    clip = load_or_prepare(
        video, sampling, FarnebackSpec(), parse_partition("grid:1x2"), MAX_BYTES, folder / "cache", None
    )
    # Three single steps of half a frame (128 entries) cost 384; their distance is 19.596 px.
    rules = Rules("L2", Decimal(1), Decimal("19.6"), None)
    spec = {"features": "grid:1x2", "sampling": sampling, "flow": FarnebackSpec()}
    args = {"hidden": 64, "channels": [32, 64, 64], "features": 64}
    found: list[TinyGame] = []
    while len(found) < 2:
        quantile = 0.0 if not found else 0.002
        game = make_game(rng, folder, video, clip, rules, quantile=quantile, args=args, **spec)
        if game is not None and (game.truth.fmsr is None or game.truth.fmsr > 256):
            found.append(game)
    assert [game.truth.points for game in found] == [2049, 2049]
    assert found[0].truth.fmsr is None
    return [slow(game) for game in found]


def slow(game: TinyGame) -> TinyGame:
    """Let the workers run the same weights in a model that they cannot take apart."""
    model = game.spec.model.model_copy(update={"name": "tests.whole_model:WholeCnnLstm"})
    return dataclasses.replace(game, spec=game.spec.model_copy(update={"model": model}))


@pytest.fixture
def crew(make_crew: Callable[..., Crew]) -> Crew:
    """A scheduler and workers with short leases, whose tasks take about half a second."""
    # Three kills may all meet one task, which must not count as its own fault.
    return make_crew(lease_seconds=LEASE_SECONDS, beat_seconds=0.5, task_seconds=1, batch_points=1, max_attempts=9)


def begin(crew: Crew, games: list[TinyGame]) -> dict[int, TinyGame]:
    """Submit the games; returns them by job."""
    return {
        submit(crew.engine, game.spec, [FoundClip(game.label, str(game.video))], BUDGET).job_id: game for game in games
    }


def exploring(crew: Crew, pid: int) -> tuple[int, int] | None:
    """Task and attempt of the large last level that the worker with this child has begun not long ago."""
    rows = crew.rows(
        "SELECT a.task_id, a.attempt FROM attempts a JOIN workers w ON w.id = a.worker_id"
        " JOIN tasks t ON t.id = a.task_id JOIN subtrees s ON s.id = t.subtree_id"
        " WHERE (w.info ->> 'pid')::int = :pid AND a.ended_at IS NULL AND s.floor = 384"
        " AND a.started_at BETWEEN now() - interval '0.4 s' AND now() - interval '0.05 s'",
        pid=pid,
    )
    return (rows[0].task_id, rows[0].attempt) if rows else None


def freeze(crew: Crew, pid: int) -> tuple[int, int]:
    """Stop a child in the middle of an exploration, until it is killed or continued; returns task and attempt."""
    caught: list[tuple[int, int]] = []

    def stopped_at_work() -> bool:
        if exploring(crew, pid) is None:
            return False
        os.kill(pid, signal.SIGSTOP)
        claimed = exploring(crew, pid)
        if claimed is None:
            os.kill(pid, signal.SIGCONT)
            return False
        caught.append(claimed)
        return True

    crew.wait(f"{pid} to explore", stopped_at_work)
    return caught[0]


def attempts_of(crew: Crew, task: int) -> list[str | None]:
    return [row.outcome for row in crew.rows(f"SELECT outcome FROM attempts WHERE task_id = {task} ORDER BY attempt")]


def test_workers_killed_at_work_lose_nothing(crew: Crew, games: list[TinyGame]) -> None:
    jobs = begin(crew, games)
    crew.start("scheduler")

    # Only the child: its parent starts another.
    first = crew.start("worker")
    child = child_of(crew, first.pid)
    killed = [freeze(crew, child)]
    os.kill(child, signal.SIGKILL)

    # The whole worker.
    killed.append(freeze(crew, child_of(crew, first.pid)))
    crew.kill(first)

    # Only the parent: the child must not go on without it.
    second = crew.start("worker")
    child = child_of(crew, second.pid)
    killed.append(freeze(crew, child))
    second.kill()
    second.wait()
    crew.wait("the child to end with its parent", lambda: parent_of(child) is None, 10)

    crew.start("worker")
    crew.start("worker")
    check_everything(crew, jobs)
    for task, attempt in killed:
        outcomes = attempts_of(crew, task)
        assert outcomes[attempt - 1] == "expired", (killed, outcomes)
        assert outcomes[-1] == "returned"
    (reason,) = {row.reason for row in crew.rows("SELECT regexp_replace(reason, 'worker \\S+ ', '') AS reason"
                                                 " FROM attempts WHERE outcome = 'expired'")}  # fmt: skip
    assert reason == "fell silent"


def test_a_killed_scheduler_and_a_broker_that_forgets_lose_nothing(
    crew: Crew, games: list[TinyGame], broker_url: str
) -> None:
    jobs = begin(crew, games)
    scheduler, worker = crew.start("scheduler"), crew.start("worker")
    child = child_of(crew, worker.pid)
    crew.wait("an exploration", lambda: exploring(crew, child))
    crew.kill(scheduler)
    crew.wait("the worker to run out of work", lambda: not crew.rows("SELECT 1 FROM tasks WHERE state = 'leased'"))
    assert crew.rows("SELECT 1 FROM tasks WHERE state = 'returned'"), "nothing was appended without a scheduler"
    crew.start("scheduler")
    crew.wait("an exploration", lambda: exploring(crew, child))

    # All messages, and Celery's own keys with them.
    path = broker_url.removeprefix("redis+socket://").partition("?")[0]
    with redis.Redis(unix_socket_path=path) as client:
        assert client.keys()
        client.flushall()
    explored = sum(row.points_explored for row in crew.rows("SELECT points_explored FROM videos"))
    check_everything(crew, jobs)
    assert sum(row.points_explored for row in crew.rows("SELECT points_explored FROM videos")) > explored
    assert {row.outcome for row in crew.rows("SELECT outcome FROM attempts")} == {"returned"}


def test_a_worker_told_to_stop_hands_in_what_it_has(make_crew: Callable[..., Crew], games: list[TinyGame]) -> None:
    # No lease and no task may end by itself while the worker stands still, however long that takes.
    crew = make_crew(lease_seconds=60, beat_seconds=0.5, task_seconds=600, batch_points=1)
    jobs = begin(crew, games)
    crew.start("scheduler")
    worker = crew.start("worker")
    child = child_of(crew, worker.pid)
    task, _ = freeze(crew, child)
    worker.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    os.kill(child, signal.SIGCONT)
    assert worker.wait(20) == 0
    (row,) = crew.rows(f"SELECT payload FROM results WHERE task_id = {task}")
    assert row.payload["stop"] == "shutdown"
    assert row.payload["position"] is not None
    assert row.payload["explored"] > 0
    assert crew.rows("SELECT 1 FROM tasks WHERE state = 'leased'") == []
    crew.start("worker")
    crew.start("worker")
    check_everything(crew, jobs)
    assert {row.outcome for row in crew.rows("SELECT outcome FROM attempts")} == {"returned"}


def test_a_worker_that_hangs_beyond_its_lease_comes_too_late(crew: Crew, games: list[TinyGame]) -> None:
    jobs = begin(crew, games)
    crew.start("scheduler")
    hanging = child_of(crew, crew.start("worker").pid)
    task, attempt = freeze(crew, hanging)
    crew.start("worker")
    crew.wait("another to do it", lambda: crew.rows(f"SELECT FROM results WHERE task_id = {task}"))
    os.kill(hanging, signal.SIGCONT)
    check_everything(crew, jobs)
    crew.wait("its late result", lambda: "late" in attempts_of(crew, task))
    outcomes = attempts_of(crew, task)
    assert (outcomes[attempt - 1], outcomes.count("returned")) == ("late", 1)
