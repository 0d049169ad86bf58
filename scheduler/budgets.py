"""Decides which clips have cost all the worker time, and which jobs have run all the time, that they may: leaves open.

Tasks under way are not thrown away: ``worker_beat`` recalls them, and a clip ends when none of its tasks is left.
"""

from __future__ import annotations

import re

import structlog
from sqlalchemy import ColumnElement, Numeric, cast, exists, func, literal, or_, select, true, update
from sqlalchemy.orm import Session

from common.errors import IntegrityError
from common.store.tables import Job, Task, Video
from common.vocab import JobStatus, TaskState, Verdict, VideoStatus
from scheduler.bounds import Bounds
from scheduler.clips import LIVE, bounds_of, fail, finish, move_bounds, spec_of
from scheduler.frontier import frontier_bound
from scheduler.levels import counter_of, next_level, settled_below

log = structlog.get_logger()

_RUN_SECONDS = func.wall_seconds(Job.ran_seconds, Job.clock_since)
#: Whether a job may run any longer, in SQL.
MAY_RUN = or_(Job.budget_wall_seconds.is_(None), Job.budget_wall_seconds > _RUN_SECONDS)

#: Reasons of clips whose budget of time is spent, their job's or their own, by which they are known again: clips that
#: ended long ago have them, so their words stay.
_JOB_SPENT = "the job has run for %s s; it may run for %s s"
_CLIP_SPENT = "%s s of worker time are spent; a clip may cost %s s"
_OUT_OF_TIME = re.compile("|".join(re.escape(said).replace("%s", r"\S+") for said in (_JOB_SPENT, _CLIP_SPENT)))


def out_of_time(reason: str | None) -> bool:
    """Whether a clip's reason says that a budget of time is spent: its own, or its job's."""
    return reason is not None and _OUT_OF_TIME.fullmatch(reason) is not None


def start_clocks(session: Session) -> None:
    """Start the clocks of running jobs that a worker has begun to work on; a trigger stops them with their job."""
    at_work = exists().where(
        Task.job_id == Job.id, Task.state.in_((TaskState.LEASED, TaskState.RETURNED)), Task.finished_at.is_(None)
    )
    session.execute(
        update(Job)
        .where(Job.status == JobStatus.RUNNING, Job.clock_since.is_(None), at_work)
        .values(clock_since=func.now())
        .execution_options(synchronize_session=False)
    )


def end_spent(session: Session) -> None:
    """Leave open the clips of running jobs whose budget of time is spent, as soon as nobody works on them."""
    limited = or_(Job.budget_clip_seconds.is_not(None), Job.budget_wall_seconds.is_not(None))
    rows = session.execute(
        select(Job, _RUN_SECONDS.label("ran")).where(Job.status == JobStatus.RUNNING, limited).order_by(Job.id)
    ).all()
    for job, ran in rows:
        wall, clip = job.budget_wall_seconds, job.budget_clip_seconds
        if wall is not None and ran >= wall:
            reason: ColumnElement[str] = literal(_JOB_SPENT % (f"{ran:,.1f}", _plain(wall)))
            _leave_open(session, job, true(), reason)
        elif clip is not None:
            spent = func.round(cast(Video.seconds, Numeric), 1)
            reason = func.format(_CLIP_SPENT, spent, _plain(clip))
            _leave_open(session, job, Video.seconds >= clip, reason)
    session.flush()


def _plain(seconds: float) -> str:
    return f"{seconds:,.6f}".rstrip("0").rstrip(".")


def _leave_open(session: Session, job: Job, spent: ColumnElement[bool], reason: ColumnElement[str]) -> None:
    ids = session.scalars(select(Video.id).where(Video.job_id == job.id, Video.finished_at.is_(None), spent)).all()
    if not ids:
        return
    session.execute(
        update(Task)
        .where(Task.job_id == job.id, Task.state == TaskState.READY, Task.video_id.in_(ids))
        .values(state=TaskState.CANCELLED.value, finished_at=func.now())
        .execution_options(synchronize_session=False)
    )
    live = select(Task.video_id).where(Task.state.in_(LIVE), Task.finished_at.is_(None), Task.job_id == job.id)
    idle = sorted(set(ids) - set(session.scalars(live)))
    begun = select(Video, reason).where(Video.id.in_(idle), Video.threshold.is_not(None)).order_by(Video.id)
    for video, why in session.execute(begun).all():
        _end_begun(session, video, job, why)
    session.flush()
    session.execute(
        update(Video)
        .where(Video.id.in_(idle), Video.finished_at.is_(None))
        .values(status=VideoStatus.DONE.value, verdict=Verdict.OPEN.value, reason=reason, finished_at=func.now())
        .execution_options(synchronize_session=False)
    )


def _end_begun(session: Session, video: Video, job: Job, reason: str) -> None:
    """End a clip in the middle of a level: what its frontier proves stays, and may have decided it."""
    counter = counter_of(video, spec_of(job))
    try:
        lower, stuck = frontier_bound(session, video)
        move_bounds(session, video, Bounds(lower if stuck else settled_below(counter, lower)))
        bounds = bounds_of(session, video)
    except IntegrityError as error:
        log.warning("clip_quarantined", video=video.path, reason=str(error))
        fail(session, video, str(error))
        return
    if next_level(counter, bounds.lower, bounds.upper) is None:
        finish(session, video, VideoStatus.DONE, Verdict.ROBUST if bounds.upper is None else Verdict.SOLVED)
    else:
        finish(session, video, VideoStatus.DONE, Verdict.OPEN, reason)
