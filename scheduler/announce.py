"""Decides which ready tasks are announced to the broker: a short window for each live worker, re-sent when unheard.

The task row is committed as announced before its message is sent, so a crash between the two costs a pause, never a
task; a message that got lost is sent again after ``ANNOUNCE_AGAIN_SECONDS``.
"""

from __future__ import annotations

from datetime import timedelta

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from common.store.tables import Task, Worker
from common.vocab import TaskState
from common.wire import PROTOCOL, QUEUE, TASK_NAME

log = structlog.get_logger()
#: A task still unclaimed after so long is announced again; a second message for one task does no harm.
ANNOUNCE_AGAIN_SECONDS = 20


def live_workers(session: Session, lease_seconds: float) -> int:
    """Number of workers that have beaten within one lease."""
    return (
        session.scalar(
            select(func.count()).where(Worker.seen_at > func.now() - timedelta(seconds=lease_seconds))
        )
        or 0
    )  # fmt: skip


def choose(session: Session, workers: int, window: int) -> list[int]:
    """Mark as announced the ready tasks that fit the window, oldest first; returns their ids.

    A task that was claimed before does not wait for room: what its worker leaves behind fills the window of the fewer
    that are left. It had a place in the window once, so there are never more of these than that.
    """
    recent = Task.announced_at > func.now() - timedelta(seconds=ANNOUNCE_AGAIN_SECONDS)
    outstanding = session.scalar(
        select(func.count()).where(
            or_(Task.state == TaskState.LEASED, (Task.state == TaskState.READY) & recent.is_(True))
        )
    )
    waits = (Task.state == TaskState.READY) & recent.is_not(True)
    again = session.scalar(select(func.count()).where(waits, Task.attempt > 0)) or 0
    room = max(workers * window - (outstanding or 0), again)
    if room == 0:
        return []
    chosen = select(Task.id).where(waits).order_by(Task.attempt == 0, Task.id).limit(room)
    ids = session.scalars(
        update(Task).where(Task.id.in_(chosen.scalar_subquery())).values(announced_at=func.now()).returning(Task.id)
    )
    return sorted(ids)


def send(app: Celery, ids: list[int]) -> None:
    """Send one message for each task; a broker that does not answer is waited for, not given up on."""
    try:
        with app.producer_or_acquire() as producer:
            for task_id in ids:
                app.send_task(TASK_NAME, args=(PROTOCOL, task_id), queue=QUEUE, producer=producer, retry=False)
    except OperationalError as error:
        log.warning("broker_unreachable", reason=str(error), unsent_until_seconds=ANNOUNCE_AGAIN_SECONDS)
