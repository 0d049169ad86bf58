"""Decides what happens to tasks whose worker fell silent or cannot do them, and to clips whose task cannot succeed."""

from __future__ import annotations

from datetime import timedelta

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from common.store.tables import Attempt, Task, Video, Worker
from common.vocab import TaskState
from scheduler.clips import fail

log = structlog.get_logger()


def reap(session: Session, max_attempts: int, lease_seconds: float) -> None:
    """Give expired tasks back, give up on those that cannot succeed, and fail the clips of failed tasks."""
    _give_back_expired(session)
    _give_up_tried(session, max_attempts)
    _give_up_refused(session, lease_seconds)
    hopeless = session.execute(
        select(Video, Task)
        .join(Task, Task.video_id == Video.id)
        .where(Task.state == TaskState.FAILED, Video.finished_at.is_(None))
        .order_by(Task.id)
    ).all()
    for video, task in hopeless:
        if video.finished_at is None:
            log.warning("clip_failed", video=video.path, task=task.id, reason=task.reason)
            fail(session, video, task.reason or "failed")


def _give_back_expired(session: Session) -> None:
    expired = session.scalars(
        select(Task).where(Task.state == TaskState.LEASED, Task.lease_until < func.now()).with_for_update()
    ).all()
    for task in expired:
        log.warning("lease_expired", task=task.id, worker=task.worker_id, attempt=task.attempt)
        task.reason = f"worker {task.worker_id} fell silent"
        session.execute(
            update(Attempt)
            .where(Attempt.task_id == task.id, Attempt.attempt == task.attempt, Attempt.ended_at.is_(None))
            .values(ended_at=func.now(), outcome="expired", reason=task.reason)
        )
        task.state, task.lease_until, task.announced_at = TaskState.READY.value, None, None
    session.flush()


def _give_up_tried(session: Session, max_attempts: int) -> None:
    """Give up on tasks that failed, or that as many workers refused, as often as allowed.

    A worker refuses for its host's fault, not the clip's: the two are counted apart.
    """
    tried = session.scalars(
        select(Task).where(Task.state == TaskState.READY, Task.attempt >= max_attempts).with_for_update()
    ).all()
    for task in tried:
        rows = session.execute(
            select(Attempt.outcome, func.count().label("times"))
            .where(Attempt.task_id == task.id)
            .group_by(Attempt.outcome)
        )
        times: dict[str | None, int] = {row.outcome: row.times for row in rows}
        refused, expired = times.get("refused", 0), times.get("expired", 0)
        if max(refused, task.attempt - refused) < max_attempts:
            continue
        counts = f"gave up after {task.attempt} attempts"
        if expired:
            counts += f", at {expired} of which the worker died or hung over it"
        _give_up(session, task, f"{counts}; the last: {task.reason}")


def _give_up_refused(session: Session, lease_seconds: float) -> None:
    """Give up on what is left of a job when no live worker's host has its files."""
    alive = Worker.seen_at > func.now() - timedelta(seconds=lease_seconds)
    refusals = session.execute(
        select(Video.job_id, func.count(Attempt.worker_id.distinct()).label("workers"))
        .join(Task, Task.id == Attempt.task_id)
        .join(Video, Video.id == Task.video_id)
        .join(Worker, Worker.id == Attempt.worker_id)
        .where(Attempt.outcome == "refused", alive)
        .group_by(Video.job_id)
    ).all()
    if not refusals:
        return
    live = session.scalar(select(func.count()).where(alive))
    for job_id in [row.job_id for row in refusals if row.workers == live]:
        in_job = Task.video_id == Video.id, Video.job_id == job_id
        last = session.scalar(
            select(Attempt.reason)
            .join(Task, Task.id == Attempt.task_id)
            .join(Video, in_job[0])
            .where(Attempt.outcome == "refused", in_job[1])
            .order_by(Attempt.ended_at.desc())
            .limit(1)
        )
        ready = session.scalars(
            select(Task).join(Video, in_job[0]).where(Task.state == TaskState.READY, in_job[1]).with_for_update(of=Task)
        ).all()
        for task in ready:
            hint = "put the job's file there, and start that worker again"
            _give_up(session, task, f"no live worker can do it; the last said: {last}; {hint}")


def _give_up(session: Session, task: Task, reason: str) -> None:
    task.state, task.reason = TaskState.FAILED.value, reason
    task.finished_at = session.scalar(select(func.now()))
    session.flush()
