"""Messages are what Celery's own are, only so many are sent as the window has room for, and results are told of."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from celery import Celery
from sqlalchemy.orm import Session

from common.celery_app import make_app
from common.settings import Settings
from common.wire import PROTOCOL, QUEUE, TASK_NAME
from scheduler.announce import send
from scheduler.loop import tick
from tests.rows import Desk, attacked, honest, prepared


@pytest.fixture
def app(broker_url: str) -> Celery:
    return make_app(broker_url, task_seconds=1.0)


@pytest.fixture
def desk(engine: sa.Engine, database_url: str, app: Celery) -> Desk:
    return Desk(engine, database_url, app, task_points=5)


def taken(app: Celery, count: int) -> list:
    """Messages as a consumer of Celery's gets them."""
    with app.connection_for_read() as connection, connection.SimpleQueue(QUEUE) as queue:
        messages = [queue.get(timeout=5) for _ in range(count)]
        for message in messages:
            message.ack()
        with pytest.raises(queue.Empty):
            queue.get(block=False)
        return messages


def test_messages_read_like_those_of_celery(app: Celery) -> None:
    send(app, [7, 8])
    app.send_task(TASK_NAME, args=(PROTOCOL, 9), queue=QUEUE)
    *ours, theirs = taken(app, 3)
    assert [message.payload[:2] for message in (*ours, theirs)] == [[[PROTOCOL, task], {}] for task in (7, 8, 9)]
    assert len({message.delivery_tag for message in (*ours, theirs)}) == 3
    for message in ours:
        assert message.payload[2] == theirs.payload[2]
        assert (message.content_type, message.content_encoding) == (theirs.content_type, theirs.content_encoding)
        assert (
            message.headers.items()
            <= {**theirs.headers, "id": message.headers["id"], "root_id": message.headers["id"]}.items()
        )
        assert message.properties.keys() <= theirs.properties.keys()
        assert message.delivery_info == theirs.delivery_info


def test_a_broker_that_is_away_costs_a_pause(engine: sa.Engine, database_url: str) -> None:
    gone = make_app("redis+socket:///nowhere/valkey.sock", task_seconds=1.0)
    desk = Desk(engine, database_url, gone)
    desk.submit()
    desk.round()
    assert desk.rows("SELECT count(announced_at) FROM tasks") == [(1,)]


def test_messages_fit_the_window(desk: Desk, app: Celery) -> None:
    desk.submit(*(f"/videos/{number}.avi" for number in range(20)))
    settings = Settings(window=3)
    for _ in range(3):
        tick(desk.engine, app, settings, desk.pace)
    # Two workers; what is announced already is not announced again before its time.
    assert len(taken(app, 6)) == 6
    leased = desk.claim()
    tick(desk.engine, app, settings, desk.pace)
    desk.ann.append(leased, prepared(), 1.0)
    tick(desk.engine, app, settings, desk.pace)
    assert len(taken(app, 1)) == 1


def test_only_the_first_of_waiting_results_is_told_of(desk: Desk) -> None:
    desk.submit("/videos/a.avi", "/videos/b.avi", "/videos/c.avi")
    desk.round()
    claims = [desk.claim(task) for task in desk.ready()]
    with desk.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as listener:
        listener.execute(sa.text("LISTEN work"))
        driver = listener.connection.driver_connection

        def heard() -> int:
            listener.execute(sa.text("SELECT 1"))
            count = len(driver.notifies)
            driver.notifies.clear()
            return count

        desk.ann.append(claims[0], prepared(), 1.0)
        assert heard() == 1
        desk.ann.append(claims[1], prepared(), 1.0)
        assert heard() == 0
        desk.round()
        assert desk.rows("SELECT count(*) FROM tasks WHERE state = 'returned'") == [(0,)]
        desk.ann.append(claims[2], prepared(), 1.0)
        assert heard() == 1
        # An error gives a task back or fails it, which has to be dealt with at once.
        again = desk.claim()
        desk.ann.give_up(again, "no luck", final=False)
        assert heard() == 1


def test_the_trace_keeps_what_moves_a_bound(desk: Desk) -> None:
    desk.task_points = 1
    desk.submit()
    desk.pace.sizes = dict.fromkeys(desk.pace.sizes, 1)
    for kind in ("prepare", "attack"):
        desk.round()
        for task in desk.ready():
            desk.ann.append(desk.claim(task), prepared() if kind == "prepare" else attacked(), 0.5)
    desk.round()
    results = 0
    while desk.ready():
        for task in desk.ready():
            claim = desk.claim(task)
            desk.ann.append(claim, honest(claim), 0.1)
            results += 1
        desk.round()
    trace = desk.rows("SELECT lower, upper FROM bound_events ORDER BY id")
    assert results > 3 * len(trace)
    assert len(set(trace)) == len(trace)
    with Session(desk.engine) as session, session.begin():
        session.execute(sa.text("UPDATE bounds SET lower = lower"))
    assert desk.rows("SELECT lower, upper FROM bound_events ORDER BY id") == trace
