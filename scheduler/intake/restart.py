"""Puts ended clips back where they were: to be prepared, to be attacked, or among those that are explored."""

from __future__ import annotations

from sqlalchemy import ColumnElement, exists, func, insert, literal, select, update
from sqlalchemy.orm import Session, aliased

from common.jobspec import JobSpec
from common.store.tables import Task, Video
from common.vocab import TaskKind, TaskState, Verdict, VideoStatus
from scheduler.clips import LIVE
from scheduler.guarantees import go_on


def put_back(session: Session, job_id: int, spec: JobSpec, ended: ColumnElement[bool]) -> int:
    """Let the clips of a job that meet a condition go on from what is known of them; returns how many there were.

    Their frontier is kept and planned again by the scheduler. A task that failed one of them is no longer wanted, and
    made anew.
    """
    ids = session.scalars(select(Video.id).where(Video.job_id == job_id, Video.finished_at.is_not(None), ended)).all()
    if not ids:
        return 0
    left = Video.id.in_(ids) & Video.finished_at.is_not(None)
    session.execute(
        update(Task)
        .where(Task.state == TaskState.FAILED, Task.video_id.in_(ids))
        .values(state=TaskState.CANCELLED.value)
        .execution_options(synchronize_session=False)
    )
    later = aliased(Task)
    attacked = exists().where(
        Task.video_id == Video.id, Task.kind == TaskKind.ATTACK, Task.state == TaskState.MERGED,
        ~exists().where(later.video_id == Task.video_id, later.kind == TaskKind.ATTACK, later.id > Task.id),
    )  # fmt: skip
    _back(session, job_id, left & Video.clip_digest.is_(None), VideoStatus.PENDING)
    exploring = _back(session, job_id, left & attacked, VideoStatus.EXPLORING)
    # What is left was prepared but not attacked to the end.
    _back(session, job_id, left, VideoStatus.PREPARED)
    schedule(session, job_id, VideoStatus.PENDING, TaskKind.PREPARE)
    schedule(session, job_id, VideoStatus.PREPARED, TaskKind.ATTACK)
    untouched = select(Video).where(Video.id.in_(exploring), Video.threshold.is_(None))
    for video in session.scalars(untouched.execution_options(populate_existing=True)):
        # Attacked, but not explored yet: something that comes in between may be missing.
        go_on(session, video, spec)
    session.flush()
    return len(ids)


def schedule(session: Session, job_id: int, status: VideoStatus, kind: TaskKind) -> None:
    """Create the one task of each clip of ``status`` that has no live task."""
    live = exists().where(Task.video_id == Video.id, Task.state.in_(LIVE))
    missing = select(Video.id, literal(kind.value)).where(Video.job_id == job_id, Video.status == status, ~live)
    # Tasks are numbered in their clips' order, which is the order of work.
    session.execute(insert(Task).from_select(["video_id", "kind"], missing.order_by(Video.id)))


def update_clips(session: Session, job_id: int, condition: ColumnElement[bool], **values: object) -> list[int]:
    """Change the clips of a job that meet a condition; returns their ids."""
    changed = session.execute(
        update(Video)
        .where(Video.job_id == job_id, condition)
        .values(**values)
        .returning(Video.id)
        .execution_options(synchronize_session=False)
    )
    return list(changed.scalars())


def count_clips(session: Session, job_id: int, condition: ColumnElement[bool]) -> int:
    """Number of clips of a job that meet a condition."""
    return session.scalar(select(func.count()).where(Video.job_id == job_id, condition)) or 0


def _back(session: Session, job_id: int, which: ColumnElement[bool], status: VideoStatus) -> list[int]:
    return update_clips(
        session, job_id, which,
        status=status.value, verdict=Verdict.OPEN.value, reason=None, finished_at=None,
    )  # fmt: skip
