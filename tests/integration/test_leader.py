"""One scheduler at a time leads; another takes over when it stops or loses its connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from common.celery_app import make_app
from common.settings import Settings
from common.vocab import VideoStatus
from scheduler import loop
from scheduler.loop import _LEADER_LOCK, lead
from tests.rows import Desk, prepared


@pytest.fixture
def desk(engine: sa.Engine, database_url: str, broker_url: str) -> Desk:
    """A scheduler and two workers on a fresh database."""
    return Desk(engine, database_url, make_app(broker_url, task_seconds=1.0))


@contextmanager
def leader(database_url: str, broker_url: str, name: str) -> Iterator[threading.Event]:
    """Run a scheduler in a thread, whose connections are known to the database by ``name``."""
    engine = sa.create_engine(database_url, connect_args={"application_name": name}, pool_pre_ping=True)
    stop = threading.Event()
    settings = Settings(tick_seconds=0.05)
    thread = threading.Thread(
        target=lead, args=(engine, make_app(broker_url, task_seconds=1.0), settings, stop), name=name
    )
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(20)
        engine.dispose()
        assert not thread.is_alive()


def leaders(desk: Desk) -> list[str]:
    """Names of the schedulers that hold the leader lock of this database."""
    query = f"""SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)
        WHERE l.locktype = 'advisory' AND l.granted AND l.objid = {_LEADER_LOCK}
            AND a.datname = current_database()"""
    return [name for (name,) in desk.rows(query)]


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.05)


def test_one_scheduler_leads_and_another_takes_over(desk: Desk, database_url: str, broker_url: str) -> None:
    with leader(database_url, broker_url, "first") as stop:
        wait_until(lambda: leaders(desk) == ["first"])
        with leader(database_url, broker_url, "second"):
            desk.submit("/videos/a.avi", "/videos/b.avi")
            one, other = desk.ready()
            desk.ann.append(desk.claim(one), prepared(), 1.0)
            wait_until(lambda: desk.video("/videos/a.avi").status == VideoStatus.PREPARED)
            time.sleep(1.2)
            assert leaders(desk) == ["first"]
            stop.set()
            wait_until(lambda: leaders(desk) == ["second"])
            desk.ann.append(desk.claim(other), prepared(), 1.0)
            wait_until(lambda: desk.video("/videos/b.avi").status == VideoStatus.PREPARED)


def test_a_leader_that_loses_its_connection_leads_no_more(desk: Desk, database_url: str, broker_url: str) -> None:
    end = f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = {_LEADER_LOCK}"
    with leader(database_url, broker_url, "first"):
        wait_until(lambda: leaders(desk) == ["first"])
        with leader(database_url, broker_url, "second"):
            for number in range(2):
                desk.rows(f"{end} AND database = (SELECT oid FROM pg_database WHERE datname = current_database())")
                wait_until(lambda: len(leaders(desk)) == 1)
                path = f"/videos/{number}.avi"
                desk.submit(path)
                desk.ann.append(desk.claim(desk.ready()[-1]), prepared(), 1.0)
                wait_until(lambda path=path: desk.video(path).status == VideoStatus.PREPARED)
                assert len(leaders(desk)) == 1


def test_a_leader_that_hangs_is_taken_over_from_and_leads_no_more(
    desk: Desk, database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang, released, tick = threading.Event(), threading.Event(), loop.tick

    def hanging_tick(*args: Any) -> int:
        if threading.current_thread().name == "first" and hang.is_set():
            released.wait(60)
        return tick(*args)

    monkeypatch.setattr(loop, "tick", hanging_tick)
    monkeypatch.setattr(loop, "_SILENCE_SECONDS", 2)
    with leader(database_url, broker_url, "first"):
        wait_until(lambda: leaders(desk) == ["first"])
        with leader(database_url, broker_url, "second") as stop:
            hang.set()
            wait_until(lambda: leaders(desk) == ["second"])
            desk.submit()
            desk.ann.append(desk.claim(), prepared(), 1.0)
            wait_until(lambda: desk.video().status == VideoStatus.PREPARED)
            released.set()
            stop.set()
            # Its lock was lost while it hung: it had to take it again.
            wait_until(lambda: leaders(desk) == ["first"])
