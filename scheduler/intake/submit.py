"""Decides what a submit changes: a new job, or what is missing of the job with the same specification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Engine, and_, exists, func, insert, literal, select, update
from sqlalchemy.orm import Session

from common.errors import InputError
from common.jobspec import JobSpec
from common.store.tables import Job, Task, Video
from common.vocab import JobStatus, TaskKind, TaskState, Verdict, VideoStatus
from scheduler.clips import LIVE
from scheduler.exclusive import hold_truth, wake_leader
from scheduler.guarantees import go_on
from scheduler.intake.dataset import FoundClip


@dataclass(frozen=True)
class Submitted:
    """What a submit did; counts are clips."""

    job_id: int
    created: bool  #: whether the job is new
    added: int  #: new clips, unusable ones included
    resumed: int  #: cancelled clips that go on
    retried: int  #: failed clips that start again
    reopened: int  #: open clips that go on, because the budget is larger
    kept_failed: int  #: failed clips that are not tried again


def submit(engine: Engine, spec: JobSpec, clips: Sequence[FoundClip], budget: int) -> Submitted:
    """Create the job of a specification, or resume it: only what is missing is scheduled, in one transaction.

    Resuming takes up cancelled clips where they were, retries failed clips that were never prepared (later failures
    may contradict what is proved, and stay), and reopens open clips when ``budget`` (points a clip) is larger than
    the job's. Finished work is never done again. Raises InputError when a clip is already there with another label.
    """
    digest = spec.digest()
    with Session(engine) as session, session.begin():
        hold_truth(session)
        job = session.scalars(select(Job).where(Job.digest == digest)).one_or_none()
        created = job is None
        if job is None:
            job = Job(digest=digest, spec=spec.model_dump(mode="json"), budget_points=budget)
            session.add(job)
            session.flush()
        reopened = _reopen(session, job, budget) if budget > job.budget_points else 0
        resumed = _resume_cancelled(session, job.id, spec)
        retried = _retry_failed(session, job.id, clips)
        added = _add(session, job.id, clips)
        _schedule_prepare(session, job.id)
        _set_status(session, job)
        wake_leader(session)
        failed = _count(session, job.id, Video.status == VideoStatus.FAILED) - sum(
            clip.problem is not None for clip in added
        )
        return Submitted(job.id, created, len(added), resumed, retried, reopened, failed)


def cancel(engine: Engine, job_id: int) -> int:
    """Cancel a running job; returns how many clips that ended. What was proved of them stays.

    Workers notice at their next beat. Raises InputError when there is no such job or it is not running.
    """
    with Session(engine) as session, session.begin():
        hold_truth(session)
        job = session.get(Job, job_id)
        if job is None:
            raise InputError(f"job {job_id}", "does not exist")
        if job.status != JobStatus.RUNNING:
            raise InputError(f"job {job_id}", f"is not running but {job.status}")
        now = _now(session)
        videos = select(Video.id).where(Video.job_id == job_id)
        session.execute(
            update(Task)
            .where(Task.video_id.in_(videos), Task.state.in_(LIVE))
            .values(state=TaskState.CANCELLED.value, lease_until=None, finished_at=now)
            .execution_options(synchronize_session=False)
        )
        ended = _update(
            session, job_id, Video.finished_at.is_(None), status=VideoStatus.CANCELLED.value, finished_at=now
        )
        job.status, job.finished_at = JobStatus.CANCELLED.value, now
        return ended


def _reopen(session: Session, job: Job, budget: int) -> int:
    """Let open clips go on below a larger budget; one that is open for another reason is ended again at once."""
    job.budget_points = budget
    is_open = and_(Video.status == VideoStatus.DONE, Video.verdict == Verdict.OPEN)
    return _update(session, job.id, is_open, status=VideoStatus.EXPLORING.value, reason=None, finished_at=None)


def _resume_cancelled(session: Session, job_id: int, spec: JobSpec) -> int:
    """Put cancelled clips back where they were; their frontier is kept, and planned again by the scheduler."""
    cancelled = Video.status == VideoStatus.CANCELLED
    waiting = _update(
        session, job_id, cancelled & Video.clip_digest.is_(None), status=VideoStatus.PENDING.value, finished_at=None
    )
    attacked = exists().where(
        Task.video_id == Video.id, Task.kind == TaskKind.ATTACK, Task.state == TaskState.MERGED
    )  # fmt: skip
    exploring = _update(session, job_id, cancelled & attacked, status=VideoStatus.EXPLORING.value, finished_at=None)
    # What is left was prepared but not attacked.
    prepared = _update(session, job_id, cancelled, status=VideoStatus.PREPARED.value, finished_at=None)
    _schedule(session, job_id, VideoStatus.PREPARED, TaskKind.ATTACK)
    for video in session.scalars(
        select(Video).where(
            Video.job_id == job_id, Video.status == VideoStatus.EXPLORING, Video.threshold.is_(None)
        )
    ):  # fmt: skip
        # Attacked, but not explored yet: something that comes in between may be missing.
        go_on(session, video, spec)
    return waiting + exploring + prepared


def _retry_failed(session: Session, job_id: int, clips: Sequence[FoundClip]) -> int:
    paths = {clip.path for clip in clips if clip.problem is None}
    failed = select(Video.id, Video.path).where(
        Video.job_id == job_id, Video.status == VideoStatus.FAILED, Video.clip_digest.is_(None)
    )  # fmt: skip
    # Chosen here: a statement with the paths of thousands of clips would be the slowest part of a submit.
    again = Video.id.in_([row.id for row in session.execute(failed) if row.path in paths])
    # A failed task fails its clip: those of clips that are tried again are no longer wanted.
    session.execute(
        update(Task)
        .where(
            Task.state == TaskState.FAILED,
            Task.video_id.in_(select(Video.id).where(Video.job_id == job_id, again)),
        )
        .values(state=TaskState.CANCELLED.value)
        .execution_options(synchronize_session=False)
    )
    return _update(
        session, job_id, again,
        status=VideoStatus.PENDING.value, verdict=Verdict.OPEN.value, reason=None, finished_at=None,
    )  # fmt: skip


def _add(session: Session, job_id: int, clips: Sequence[FoundClip]) -> list[FoundClip]:
    rows = session.execute(select(Video.path, Video.label).where(Video.job_id == job_id))
    labels = {row.path: row.label for row in rows}
    for clip in clips:
        if labels.get(clip.path, clip.label) != clip.label:
            raise InputError(clip.path, f"is labelled {labels[clip.path]!r} in job {job_id}, not {clip.label!r}")
    added = [clip for clip in clips if clip.path not in labels]
    now = _now(session)
    if added:
        session.execute(insert(Video), [_row(job_id, clip, now) for clip in added])
    return added


def _row(job_id: int, clip: FoundClip, now: datetime) -> dict[str, object]:
    failed = clip.problem is not None
    return {
        "job_id": job_id,
        "path": clip.path,
        "label": clip.label,
        "status": (VideoStatus.FAILED if failed else VideoStatus.PENDING).value,
        "verdict": (Verdict.FAILED if failed else Verdict.OPEN).value,
        # Named like a worker names the clips that it refuses.
        "reason": f"{clip.path}: {clip.problem}" if failed else None,
        "finished_at": now if failed else None,
    }


def _schedule_prepare(session: Session, job_id: int) -> None:
    _schedule(session, job_id, VideoStatus.PENDING, TaskKind.PREPARE)


def _schedule(session: Session, job_id: int, status: VideoStatus, kind: TaskKind) -> None:
    """Create the one task of each clip of ``status`` that has no live task."""
    live = exists().where(Task.video_id == Video.id, Task.state.in_(LIVE))
    missing = select(Video.id, literal(kind.value)).where(Video.job_id == job_id, Video.status == status, ~live)
    # Tasks are numbered in their clips' order, which is the order of work.
    session.execute(insert(Task).from_select(["video_id", "kind"], missing.order_by(Video.id)))


def _set_status(session: Session, job: Job) -> None:
    running = _count(session, job.id, Video.finished_at.is_(None)) > 0
    if running:
        job.status, job.finished_at = JobStatus.RUNNING.value, None
    elif job.status != JobStatus.DONE:
        job.status, job.finished_at = JobStatus.DONE.value, _now(session)


def _update(session: Session, job_id: int, condition: ColumnElement[bool], **values: object) -> int:
    changed = session.execute(
        update(Video)
        .where(Video.job_id == job_id, condition)
        .values(**values)
        .returning(Video.id)
        .execution_options(synchronize_session=False)
    )
    return len(changed.all())


def _count(session: Session, job_id: int, condition: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).where(Video.job_id == job_id, condition)) or 0


def _now(session: Session) -> datetime:
    return session.execute(select(func.now())).scalar_one()
