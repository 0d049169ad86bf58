"""Decides which clips of a job are done again when a user asks for it, and as which job.

Bounds only tighten and results are evidence, so clips that begin from nothing belong to a new generation of the job:
the same specification, another row. Everything else goes on in the job itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Engine, and_, exists, select
from sqlalchemy.orm import Session

from common.errors import InputError
from common.store.tables import Job, Task, Video
from common.vocab import JobStatus, TaskState, VideoStatus
from scheduler.clips import spec_of
from scheduler.exclusive import wake_leader
from scheduler.intake.control import hold_job
from scheduler.intake.dataset import FoundClip, look_at
from scheduler.intake.restart import count_clips, put_back
from scheduler.intake.selection import judge
from scheduler.intake.submit import Terms, add_clips, begin_job, set_status

_FAILED = Video.status == VideoStatus.FAILED
#: Clips that a task failed, in SQL: every attempt of it, or one for good.
_FAILED_BY_TASK = and_(
    _FAILED,
    # The reason tells it apart from a clip whose results contradict each other, and that has such a task as well.
    exists().where(Task.video_id == Video.id, Task.state == TaskState.FAILED, Task.reason == Video.reason),
)
#: Clips that could not be used when they were submitted, in SQL.
_UNUSABLE = and_(_FAILED, ~exists().where(Task.video_id == Video.id))


@dataclass(frozen=True)
class Rerun:
    """What a rerun did; counts are clips."""

    job_id: int  #: the job that works on them
    begun: int  #: clips that are worked on again
    kept: int  #: failed clips that are not


def rerun_failed(engine: Engine, job_id: int) -> Rerun:
    """Let the clips go on that a task failed, from what is known of them.

    Clips stay failed whose results contradict each other, or whose file could not be used. Raises InputError when there
    is no such job, it is cancelled, or it has no such clip.
    """
    with Session(engine) as session, session.begin():
        return _go_on(session, job_id, _FAILED_BY_TASK, "no clip that a task failed")


def rerun_missing(engine: Engine, job_id: int) -> Rerun:
    """Take up the clips that could not be used when they were submitted, and can be now.

    Raises InputError when there is no such job, it is cancelled, or it has no such clip.
    """
    with Session(engine) as session, session.begin():
        classes = spec_of(hold_job(session, job_id, *JobStatus)).model.classes
        rows = session.execute(select(Video.id, Video.label, Video.path).where(Video.job_id == job_id, _UNUSABLE))
        there = [row.id for row in rows if _as_it_is(row.label, row.path, classes).problem is None]
        nothing = "no clip that could not be used when it was submitted, and can be now"
        return _go_on(session, job_id, and_(_UNUSABLE, Video.id.in_(there)), nothing)


def rerun_all(engine: Engine, job_id: int) -> Rerun:
    """Begin all clips of a job from nothing, as a new job with its specification, budgets and priority.

    Raises InputError when there is no such job, or its latest generation has not ended.
    """
    with Session(engine) as session, session.begin():
        job = hold_job(session, job_id, *JobStatus)
        latest = session.scalars(
            select(Job).where(Job.digest == job.digest).order_by(Job.generation.desc()).limit(1)
        ).one()
        if latest.status in (JobStatus.RUNNING, JobStatus.PAUSED):
            raise InputError(f"job {latest.id}", f"is {latest.status}; let it end or cancel it first")
        spec = spec_of(job)
        terms = Terms(job.priority, job.budget_clip_seconds, job.budget_wall_seconds)
        again = begin_job(session, spec, job.digest, job.budget_points, terms, latest.generation + 1)
        rows = session.execute(select(Video.label, Video.path).where(Video.job_id == job_id).order_by(Video.id))
        clips = [_as_it_is(row.label, row.path, spec.model.classes) for row in rows]
        if all(clip.problem is not None for clip in clips):
            raise InputError(f"job {job_id}", "has no clip whose file can be used now")
        add_clips(session, again.id, clips)
        wake_leader(session)
        kept = sum(clip.problem is not None for clip in clips)
        return Rerun(again.id, len(clips) - kept, kept)


def _go_on(session: Session, job_id: int, ended: ColumnElement[bool], nothing: str) -> Rerun:
    job = hold_job(session, job_id, *JobStatus)
    if job.status == JobStatus.CANCELLED:
        raise InputError(f"job {job_id}", "is cancelled; submit it again first")
    begun = put_back(session, job_id, spec_of(job), ended)
    kept = count_clips(session, job_id, _FAILED)
    if not begun:
        raise InputError(f"job {job_id}", f"has {nothing}; {kept} clips stay failed, flowcert results says why")
    if job.status != JobStatus.PAUSED:
        set_status(session, job)
    wake_leader(session)
    return Rerun(job_id, begun, kept)


def _as_it_is(label: str, path: str, classes: tuple[str, ...]) -> FoundClip:
    """A clip of a job, with the problem that its file or label has by now."""
    return judge(look_at(Path(path), label), classes)
