"""Decides what happens to tasks whose worker fell silent, and to clips whose task cannot succeed."""

from __future__ import annotations

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from common.store.tables import Attempt, Task, Video
from common.vocab import TaskState
from scheduler.clips import fail

log = structlog.get_logger()


def reap(session: Session, max_attempts: int) -> None:
    """Give expired tasks back, give up on those tried too often, and fail the clips of failed tasks."""
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
    session.execute(
        update(Task)
        .where(Task.state == TaskState.READY, Task.attempt >= max_attempts)
        .values(
            state=TaskState.FAILED.value,
            finished_at=func.now(),
            reason=func.format("gave up after %s attempts; the last: %s", Task.attempt, Task.reason),
        )
    )
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
