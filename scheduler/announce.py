"""Decides which ready tasks are announced to the broker: a short window for each live worker, re-sent when unheard.

The task row is committed as announced before its message is sent, so a crash between the two costs a pause, never a
task; a message that got lost is sent again after ``ANNOUNCE_AGAIN_SECONDS``.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from datetime import timedelta

import structlog
from celery import Celery
from kombu.exceptions import KombuError
from redis.exceptions import RedisError
from sqlalchemy import ColumnElement, func, select, text, true, update
from sqlalchemy.orm import Session

from common.doorbell import envelope
from common.store.tables import Job, Task, Worker
from common.vocab import JobStatus, TaskState
from common.wire import PROTOCOL, QUEUE, Message
from scheduler.arrays import array
from scheduler.shares import Shares

log = structlog.get_logger()
#: A task still unclaimed after so long is announced again; a second message for one task does no harm.
ANNOUNCE_AGAIN_SECONDS = 20
_RUNNING = select(Job.id, Job.priority).where(Job.status == JobStatus.RUNNING)


def live_workers(session: Session, lease_seconds: float) -> int:
    """Number of workers that have beaten within one lease."""
    return (
        session.scalar(
            select(func.count()).where(Worker.seen_at > func.now() - timedelta(seconds=lease_seconds))
        )
        or 0
    )  # fmt: skip


def choose(session: Session, workers: int, window: int, shares: Shares) -> list[int]:
    """Mark as announced the ready tasks that fit the window; returns those whose message is to be sent.

    Jobs of the highest priority come first, those of equal priority by their shares, and of each job the oldest tasks.
    Where the window is full of tasks of lower priority, they lose their places: a message is a doorbell, so that theirs
    bring workers to the others. A task that was claimed before does not wait for room: what its worker leaves behind
    fills the window of the fewer that are left. It had a place in the window once, so there are never more of these.
    """
    priorities = {row.id: row.priority for row in session.execute(_RUNNING)}
    shares.admit(priorities)
    recent = Task.announced_at > func.now() - timedelta(seconds=ANNOUNCE_AGAIN_SECONDS)
    ready = (Task.state == TaskState.READY) & Task.job_id.in_(priorities)
    leased = session.scalars(select(Task.job_id).where(Task.state == TaskState.LEASED)).all()
    announced = session.execute(select(Task.id, Task.job_id).where(ready, recent).order_by(Task.id)).all()
    places = max(workers * window - len(leased), 0)
    # A job that began to run since its priority was read has its turn in the next round.
    waiting = {job_id: tasks for job_id, tasks in _waiting(session, places, recent).items() if job_id in priorities}
    again = session.execute(select(Task.id, Task.job_id).where(ready, recent.is_not(True), Task.attempt > 0)).all()
    under_way = Counter([*leased, *(task.job_id for task in (*announced, *again))])
    turns = shares.turns({job_id: under_way[job_id] for job_id in priorities})
    chosen = [task.id for task in again]
    while len(chosen) < places - len(announced) and (job_id := turns.next()) is not None:
        if waiting.get(job_id):
            chosen.append(waiting[job_id].popleft())
            turns.give(1)
        else:
            turns.pass_on()
    lower = sorted(announced, key=lambda task: (priorities[task.job_id], -task.id))
    higher = sorted(waiting, key=lambda job_id: -priorities[job_id])
    swapped = _swap(
        [(priorities[task.job_id], task.id) for task in lower], [(priorities[j], waiting[j]) for j in higher]
    )
    _mark(session, [task for task, _ in swapped], None)
    _mark(session, [*chosen, *(task for _, task in swapped)], func.now())
    return sorted(chosen)


def _waiting(session: Session, most: int, recent: ColumnElement[bool]) -> dict[int, deque[int]]:
    """Ready tasks of each running job that are to be announced, oldest first, ``most`` of each at most."""
    oldest = (
        select(Task.id)
        .where(Task.job_id == Job.id, Task.state == TaskState.READY, recent.is_not(True), Task.attempt == 0)
        .order_by(Task.id)
        .limit(most)
        .lateral()
    )
    waiting: dict[int, deque[int]] = {}
    rows = session.execute(
        select(Job.id, oldest.c.id).join(oldest, true()).where(Job.status == JobStatus.RUNNING).order_by(oldest.c.id)
    )
    for job_id, task_id in rows:
        waiting.setdefault(job_id, deque()).append(task_id)
    return waiting


def _swap(lower: list[tuple[int, int]], higher: list[tuple[int, deque[int]]]) -> list[tuple[int, int]]:
    """Pair announced tasks, the least first, with waiting ones of higher priority, the highest first."""
    pairs: list[tuple[int, int]] = []
    for priority, tasks in higher:
        while tasks and len(pairs) < len(lower) and lower[len(pairs)][0] < priority:
            pairs.append((lower[len(pairs)][1], tasks.popleft()))
    return pairs


def _mark(session: Session, ids: list[int], announced_at: object) -> None:
    if ids:
        among = text("ANY (CAST(:ids AS bigint[]))")
        marked = update(Task).where(Task.id == among, Task.state == TaskState.READY).values(announced_at=announced_at)
        session.execute(marked.execution_options(synchronize_session=False), {"ids": array(ids)})


def send(app: Celery, ids: list[int]) -> None:
    """Send one message for each task, all at once; a broker that does not answer is waited for, not given up on.

    Sending each through Celery takes 0.3 ms and a round trip; a thousand are announced in as much time this way.
    """
    messages = [json.dumps(envelope(Message(protocol=PROTOCOL, task=task_id))) for task_id in ids]
    try:
        with app.producer_or_acquire() as producer, producer.channel.conn_or_acquire() as client:
            client.lpush(QUEUE, *messages)
    except (KombuError, RedisError, ValueError) as error:
        # A stranger may have put something else in the queue's place; a doorbell never ends the scheduler.
        log.warning("broker_unreachable", reason=str(error), unsent_until_seconds=ANNOUNCE_AGAIN_SECONDS)
