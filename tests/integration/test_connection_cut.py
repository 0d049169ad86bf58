"""A scheduler whose connection is cut in the middle of a step goes on as if the step had never begun."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from common.celery_app import make_app
from common.settings import Settings
from common.store.engine import open_engine
from common.vocab import TaskKind, Verdict
from scheduler import levels, loop, merge, planning
from scheduler.loop import lead
from tests.rows import Desk, attacked, honest, prepared

#: Where the connection is cut: after which call of which function.
STEPS = {
    "reaping": (loop, "reap", 1),
    "results folded together": (merge.PlainResults, "write", 1),
    "the first of several results": (merge, "_merge_one", 1),
    "inside a result's savepoint": (merge, "_apply", 2),
    "planning, inside a clip's savepoint": (planning, "plan", 1),
    "announcing": (loop, "choose", 1),
}


@pytest.fixture
def desk(engine: sa.Engine, database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A scheduler and two workers on a fresh database, and clips of a single level."""
    monkeypatch.setattr(levels, "LEAST_LEVEL_POINTS", 10_000)
    return Desk(engine, database_url, make_app(broker_url, task_seconds=1.0), task_points=12)


def cut_after(old: Callable[..., Any], call: int, cuts: list[int]) -> Callable[..., Any]:
    """Wrap a step so that, after its n-th call, its own session's connection is cut by the server."""
    calls = 0

    def step(first: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        done = old(first, *args, **kwargs)
        session = first if isinstance(first, Session) else first._session
        calls += 1
        if calls == call:
            cuts.append(call)
            session.flush()
            session.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return done

    return step


@pytest.mark.parametrize(("module", "name", "call"), STEPS.values(), ids=STEPS.keys())
def test_a_step_whose_connection_is_cut_is_done_again(
    desk: Desk, database_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, call: int
) -> None:
    desk.submit("/videos/a.avi", "/videos/b.avi")
    desk.to_explore()
    for task in desk.ready():
        claim = desk.claim(task)
        desk.ann.append(claim, honest(claim), 0.1)
    # Results of explorations are folded together, these one by one.
    desk.submit("/videos/a.avi", "/videos/b.avi", "/videos/c.avi", "/videos/d.avi")
    for task in desk.ready():
        desk.ann.append(desk.claim(task), prepared(), 0.1)
    assert len(desk.rows("SELECT FROM tasks WHERE state = 'returned'")) > 2
    cuts: list[int] = []
    monkeypatch.setattr(module, name, cut_after(getattr(module, name), call, cuts))
    stop, engine = threading.Event(), open_engine(database_url)
    app = make_app(broker_url, task_seconds=1.0)
    leader = threading.Thread(target=lead, args=(engine, app, Settings(tick_seconds=0.05, window=100), stop))
    leader.start()
    try:
        limit = time.monotonic() + 60
        while desk.rows("SELECT FROM jobs WHERE status = 'running'"):
            assert time.monotonic() < limit, desk.rows("SELECT id, state, reason FROM tasks")
            assert leader.is_alive()
            for task in desk.ready():
                claim = desk.ann.claim(task)
                if claim is not None:
                    desk.ann.append(claim, attacked() if claim.kind == TaskKind.ATTACK else honest(claim), 0.1)
            time.sleep(0.05)
    finally:
        stop.set()
        leader.join(20)
        engine.dispose()
    assert cuts == [call]
    for path in ("/videos/a.avi", "/videos/b.avi", "/videos/c.avi", "/videos/d.avi"):
        video = desk.video(path)
        assert (video.verdict, video.points_explored) == (Verdict.ROBUST, video.points_total)
    assert desk.rows("SELECT DISTINCT state FROM tasks") == [("merged",)]
