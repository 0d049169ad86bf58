"""PostgreSQL and the broker go away under a running service and come back: the bounds are those of brute force."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from common.store.engine import open_engine
from migrations.schema import upgrade
from scheduler.intake.dataset import FoundClip
from scheduler.intake.submit import submit
from tests.crew import Crew, check_everything
from tests.harness import BUDGET
from tests.programs import Programs
from tests.servers import OwnServers
from tests.tiny import TinyGame, draw_games

pytestmark = pytest.mark.acceptance
LEASE_SECONDS = 3


def postgres_away(servers: OwnServers, how: signal.Signals, seconds: float) -> None:
    """End PostgreSQL and start it again after a while."""
    servers.stop_postgres(how)
    time.sleep(seconds)
    servers.start_postgres()


def broker_away(servers: OwnServers, *, keeping: bool) -> None:
    """Kill the broker and start it again, with its messages or without."""
    with servers.broker() as client:
        client.config_set("appendonly", "yes" if keeping else "no")
        client.set("mark", "a client that comes back at once writes other keys")
    servers.stop_broker(signal.SIGKILL)
    servers.keeping = keeping
    servers.start_broker()
    with servers.broker() as client:
        assert client.exists("mark") == keeping


FAULTS: dict[str, Callable[[OwnServers], None]] = {
    "restart": lambda servers: postgres_away(servers, signal.SIGINT, 0.0),
    "crash, and away for longer than a lease": lambda servers: postgres_away(
        servers, signal.SIGKILL, LEASE_SECONDS + 1
    ),
    "broker killed, data kept": lambda servers: broker_away(servers, keeping=True),
    "broker killed, data gone": lambda servers: broker_away(servers, keeping=False),
}


def test_servers_that_go_away_and_come_back_lose_nothing(tmp_path: Path, programs: Programs) -> None:
    games = list(draw_games(Random(6), tmp_path, tmp_path / "cache", len(FAULTS)))
    settings = {"lease_seconds": LEASE_SECONDS, "beat_seconds": 0.5, "task_points": 50, "batch_points": 1}
    with OwnServers(tmp_path / "servers", keeping=True) as servers:
        engine = open_engine(servers.urls.database_url)
        upgrade(engine)
        urls = {"database_url": servers.urls.database_url, "broker_url": servers.urls.broker_url}
        with Crew(engine, urls, tmp_path, programs, **settings, max_attempts=9) as crew:
            scheduler, worker = crew.start("scheduler"), crew.start("worker")
            jobs: dict[int, TinyGame] = {}
            for game, fault in zip(games, FAULTS.values(), strict=True):
                job = submit(engine, game.spec, [FoundClip(game.label, str(game.video))], BUDGET).job_id
                jobs[job] = game
                claimed = "SELECT FROM attempts a JOIN tasks t ON t.id = a.task_id JOIN videos v ON v.id = t.video_id"
                crew.wait("work", lambda job=job, c=claimed: crew.rows(f"{c} WHERE v.job_id = :job", job=job), 120)
                fault(servers)
            check_everything(crew, jobs)
            # Nobody had to start them again.
            assert (scheduler.poll(), worker.poll()) == (None, None)
        engine.dispose()
