"""What is shown of workers: the queue that clusters scale by, and the device of each attempt."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from common.celery_app import make_app
from common.wire import WorkerInfo
from scheduler.intake.control import cancel
from tests.rows import Desk, prepared

QUEUE = "SELECT tasks_ready, tasks_leased, workers_live FROM queue"


@pytest.fixture
def desk(engine: sa.Engine, database_url: str, broker_url: str) -> Desk:
    """A scheduler and two workers on a fresh database."""
    return Desk(engine, database_url, make_app(broker_url, task_seconds=1.0))


def test_the_queue_counts_what_more_workers_could_do(desk: Desk) -> None:
    assert desk.rows(QUEUE) == [(0, 0, 2)]
    job = desk.submit("/videos/a.avi", "/videos/b.avi", "/videos/c.avi")
    assert desk.rows(QUEUE) == [(3, 0, 2)]
    desk.round()
    claim = desk.claim()
    assert desk.rows(QUEUE) == [(2, 1, 2)]
    desk.ann.append(claim, prepared(), 0.5)
    assert desk.rows(QUEUE) == [(2, 0, 2)]
    with desk.engine.begin() as connection:
        connection.execute(sa.text("UPDATE workers SET seen_at = now() - interval '61 seconds' WHERE id = 'bob'"))
    cancel(desk.engine, job)
    assert desk.rows(QUEUE) == [(0, 0, 1)]


def test_work_without_workers_is_seen_too(desk: Desk) -> None:
    """A cluster that has scaled its workers to none must see that some are wanted."""
    desk.submit()
    with desk.engine.begin() as connection:
        connection.execute(sa.text("UPDATE workers SET seen_at = now() - interval '1 day'"))
    desk.to_explore()
    ((ready, leased, live),) = desk.rows(QUEUE)
    assert (ready > 0, leased, live) == (True, 0, 0)


def test_an_attempt_keeps_the_device_it_was_made_on(desk: Desk) -> None:
    versions = {"gpu": "NVIDIA H100", "gpu_uuid": "GPU-1", "driver": "550.54.15", "cuda": "12.8", "torch": "2.13.0"}
    versions |= {"matmul_tf32": False, "cudnn_tf32": False}
    info = WorkerInfo(host="node1", pid=7, device="cuda", versions=versions)
    with desk.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM workers WHERE id = 'bob'"))
    desk.bob.beat(info, None, None)
    # Whatever is said later: the attempts before it were not made on that.
    desk.bob.beat(info.model_copy(update={"device": "cpu", "versions": {}}), None, None)
    desk.submit()
    desk.round()
    desk.bob.append(desk.claim(store=desk.bob), prepared(), 0.5)
    shown = "attempt, kind, outcome, worker, host, device, gpu, gpu_uuid, driver, cuda, torch, tf32"
    assert desk.rows(f"SELECT {shown} FROM attempt_devices") == [
        (1, "prepare", "returned", "bob", "node1", "cuda", "NVIDIA H100", "GPU-1", "550.54.15", "12.8", "2.13.0", False)
    ]
    gpus = dict(desk.rows("SELECT worker, gpu || ', ' || driver FROM worker_activity"))
    assert gpus == {"ann": None, "bob": "NVIDIA H100, 550.54.15"}
