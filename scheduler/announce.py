"""Decides which ready tasks are announced to the broker: a short window for each live worker, re-sent when unheard.

The task row is committed as announced before its message is sent, so a crash between the two costs a pause, never a
task; a message that got lost is sent again after ``ANNOUNCE_AGAIN_SECONDS``.
"""

from __future__ import annotations

import base64
import json
import uuid
from datetime import timedelta

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from sqlalchemy import func, select, update
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
    # Counted apart: each has an index that holds no other task.
    leased = select(func.count()).where(Task.state == TaskState.LEASED).scalar_subquery()
    unheard = select(func.count()).where(Task.state == TaskState.READY, recent).scalar_subquery()
    room = workers * window - (session.scalar(select(leased + unheard)) or 0)
    if room <= 0:
        return []
    chosen = (
        select(Task.id)
        .where(Task.state == TaskState.READY, Task.finished_at.is_(None), recent.is_not(True))
        .order_by(Task.id)
        .limit(room)
    )
    ids = session.scalars(
        update(Task)
        .where(Task.id.in_(chosen.scalar_subquery()))
        .values(announced_at=func.now())
        .returning(Task.id)
        .execution_options(synchronize_session=False)
    )
    return sorted(ids)


def send(app: Celery, ids: list[int]) -> None:
    """Send one message for each task, all at once; a broker that does not answer is waited for, not given up on."""
    messages = [_message(task_id) for task_id in ids]
    try:
        with app.producer_or_acquire() as producer, producer.channel.conn_or_acquire() as client:
            client.lpush(QUEUE, *messages)
    except (OperationalError, RedisError) as error:
        log.warning("broker_unreachable", reason=str(error), unsent_until_seconds=ANNOUNCE_AGAIN_SECONDS)


def _message(task_id: int) -> str:
    """A message as Celery's task protocol 2 and kombu's Redis transport have it.

    Sending each through Celery takes 0.3 ms and a round trip; a thousand are announced in as much time this way.
    """
    identity = str(uuid.uuid4())
    # Arguments, keyword arguments, and what is to follow: nothing.
    body = json.dumps([[PROTOCOL, task_id], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"lang": "py", "task": TASK_NAME, "id": identity, "root_id": identity, "parent_id": None},
            "properties": {
                "correlation_id": identity,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": QUEUE},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": identity,
            },
        }
    )
