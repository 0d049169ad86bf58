"""Decides what a user's word changes of a job that is there: cancel, pause, resume, priority."""

from __future__ import annotations

from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session

from common.errors import InputError
from common.store.tables import Job, Task, Video
from common.vocab import JobStatus, TaskState, VideoStatus
from scheduler.clips import LIVE
from scheduler.exclusive import hold_truth, wake_leader
from scheduler.intake.restart import count_clips, update_clips


def cancel(engine: Engine, job_id: int) -> int:
    """Cancel a job that is running or paused; returns how many clips that ended. What was proved of them stays.

    Workers notice at their next beat, and what their tasks have by then is lost. Raises InputError when there is no
    such job or it has ended.
    """
    with Session(engine) as session, session.begin():
        job = hold_job(session, job_id, JobStatus.RUNNING, JobStatus.PAUSED)
        now = session.execute(select(func.now())).scalar_one()
        session.execute(
            update(Task)
            .where(Task.job_id == job_id, Task.state.in_(LIVE), Task.finished_at.is_(None))
            .values(state=TaskState.CANCELLED.value, lease_until=None, finished_at=now)
            .execution_options(synchronize_session=False)
        )
        ended = update_clips(
            session, job_id, Video.finished_at.is_(None), status=VideoStatus.CANCELLED.value, finished_at=now
        )
        job.status, job.finished_at = JobStatus.CANCELLED.value, now
        return len(ended)


def pause(engine: Engine, job_id: int) -> int:
    """Hold a running job: none of its tasks is given to a worker any more; returns how many are under way.

    Their workers notice at their next beat and hand in what they have. Raises InputError when there is no such job or
    it is not running.
    """
    with Session(engine) as session, session.begin():
        job = hold_job(session, job_id, JobStatus.RUNNING)
        # What is not announced takes no place of the window from other jobs.
        session.execute(
            update(Task)
            .where(Task.job_id == job_id, Task.state == TaskState.READY)
            .values(announced_at=None)
            .execution_options(synchronize_session=False)
        )
        job.status = JobStatus.PAUSED.value
        return (
            session.scalar(select(func.count()).where(Task.job_id == job_id, Task.state == TaskState.LEASED)) or 0
        )  # fmt: skip


def resume(engine: Engine, job_id: int) -> int:
    """Let a paused job go on; returns how many clips are not finished.

    Raises InputError when there is no such job or it is not paused.
    """
    with Session(engine) as session, session.begin():
        job = hold_job(session, job_id, JobStatus.PAUSED)
        job.status = JobStatus.RUNNING.value
        wake_leader(session)
        return count_clips(session, job_id, Video.finished_at.is_(None))


def prioritise(engine: Engine, job_id: int, priority: int) -> int:
    """Give a job another priority, from the next round on; returns the one it had. Raises InputError: no such job."""
    with Session(engine) as session, session.begin():
        job = hold_job(session, job_id, *JobStatus)
        before, job.priority = job.priority, priority
        wake_leader(session)
        return before


def hold_job(session: Session, job_id: int, *allowed: JobStatus) -> Job:
    """Hold the truth, and look up a job that must have one of these statuses; raises InputError otherwise."""
    hold_truth(session)
    job = session.get(Job, job_id)
    if job is None:
        raise InputError(f"job {job_id}", "does not exist")
    if job.status not in allowed:
        ended = job.status in (JobStatus.DONE, JobStatus.CANCELLED)
        raise InputError(
            f"job {job_id}", f"is not {allowed[0]} but {job.status}{_remedy(allowed[0], ended=ended)}"
        )  # fmt: skip
    return job


def _remedy(wanted: JobStatus, *, ended: bool) -> str:
    """What to do instead, where there is something."""
    return "; submit it again to go on with what is missing" if wanted is JobStatus.PAUSED and ended else ""
