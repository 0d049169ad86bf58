"""Decides which ready tasks are announced to the broker: a short window for each live worker, re-sent when unheard.

The task row is committed as announced before its message is sent, so a crash between the two costs a pause, never a
task; a message that got lost is sent again after ``ANNOUNCE_AGAIN_SECONDS``.
"""

from __future__ import annotations

from datetime import timedelta

import structlog
from celery import Celery
from kombu.exceptions import KombuError
from redis.exceptions import RedisError
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
    """Mark as announced the ready tasks that fit the window, oldest first; returns their ids."""
    recent = Task.announced_at > func.now() - timedelta(seconds=ANNOUNCE_AGAIN_SECONDS)
    outstanding = session.scalar(
        select(func.count()).where(
            or_(Task.state == TaskState.LEASED, (Task.state == TaskState.READY) & recent.is_(True))
        )
    )
    room = workers * window - (outstanding or 0)
    if room <= 0:
        return []
    chosen = select(Task.id).where(Task.state == TaskState.READY, recent.is_not(True)).order_by(Task.id).limit(room)
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
    except (KombuError, RedisError, ValueError) as error:
        # A stranger may have put something else in the queue's place; a doorbell never ends the scheduler.
        log.warning("broker_unreachable", reason=str(error), unsent_until_seconds=ANNOUNCE_AGAIN_SECONDS)
