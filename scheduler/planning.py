"""Decides which exploring clips a round gives tasks: the jobs take turns, each job's clips in their order.

A round reads as many clips as it gives tasks, of however many there are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError as DatabaseIntegrityError
from sqlalchemy.orm import Session

from common.errors import FlowcertError, first_line
from common.store.tables import Bound, Job, Task, Video
from common.vocab import JobStatus, TaskKind, TaskState, VideoStatus
from scheduler.best_first import plan_best_first
from scheduler.budgets import MAY_RUN
from scheduler.clips import fail, spec_of
from scheduler.exploration import plan
from scheduler.pace import Pace

log = structlog.get_logger()
#: Clips of a job that are looked up at once.
_PAGE = 32


def plan_all(session: Session, pace: Pace, workers: int, window: int) -> None:
    """Give exploring clips tasks until the window is filled once over, with jobs of the highest priority first.

    Tasks of jobs of lower priority leave the window to others. Each clip gets a worker's window at most while others of
    its job wait, so that workers can keep to a clip each, whose variants they have.
    """
    jobs = {job.id: job for job in session.scalars(select(Job).where(Job.status == JobStatus.RUNNING))}
    pace.shares.admit({job.id: job.priority for job in jobs.values()})
    clips = _exploring_clips(session)
    ready = _ready_tasks(session)
    waiting = Counter({job_id: sum(clips.values()) for job_id, clips in ready.items()})
    turns = pace.shares.turns({job_id: waiting[job_id] for job_id in clips})
    queues = {job_id: _clips_in_order(session, jobs[job_id]) for job_id in clips}
    shares = {job_id: _clip_share(jobs, clips, job_id, workers * window, window) for job_id in clips}
    behind = sum(clips.values())
    while (job_id := turns.next()) is not None:
        job = jobs[job_id]
        ahead = sum(tasks for other, tasks in waiting.items() if jobs[other].priority >= job.priority)
        room = workers * window - ahead
        video = next(queues[job_id], None) if room > 0 else None
        if video is None:
            turns.drop()
            continue
        behind -= 1
        here = min(room, shares[job_id] - ready.get(job_id, {}).get(video.id, 0))
        if here > 0:
            size = pace.task_points(job_id)
            made = _plan_one(session, video, job, task_points=size, room=here, workers=workers, behind=behind)
            waiting[job_id] += made
            turns.give(made)


def _exploring_clips(session: Session) -> dict[int, int]:
    """Number of exploring clips of each running job that has any and may run any longer."""
    counted = session.execute(
        select(Video.job_id, func.count().label("clips"))
        .join(Job, Job.id == Video.job_id)
        .where(Video.status == VideoStatus.EXPLORING, Job.status == JobStatus.RUNNING, MAY_RUN)
        .group_by(Video.job_id)
    )
    return {row.job_id: row.clips for row in counted}


def _ready_tasks(session: Session) -> dict[int, dict[int, int]]:
    """Number of explore tasks of each clip of running jobs that are ready, by job and clip."""
    counted = session.execute(
        select(Task.job_id, Task.video_id, func.count().label("tasks"))
        .join(Job, Job.id == Task.job_id)
        .where(Task.state == TaskState.READY, Task.kind == TaskKind.EXPLORE, Job.status == JobStatus.RUNNING)
        .group_by(Task.job_id, Task.video_id)
    )
    ready: dict[int, dict[int, int]] = {}
    for row in counted:
        ready.setdefault(row.job_id, {})[row.video_id] = row.tasks
    return ready


def _clip_share(jobs: dict[int, Job], clips: dict[int, int], job_id: int, places: int, window: int) -> int:
    """Ready tasks that one clip of a job may have: what the job's equal share gives each of its clips, or a window."""
    equals = sum(jobs[other].priority == jobs[job_id].priority for other in clips)
    return max(window, math.ceil(places / equals / clips[job_id]))


def _clips_in_order(session: Session, job: Job) -> Iterator[Video]:
    """A job's exploring clips whose budget of time is not spent, in order of submission."""
    after = 0
    while True:
        # A clip's bounds are asked for when it is planned: with its page they come by one statement for all.
        page = select(Video, Bound).join(Bound, Bound.video_id == Video.id).where(
            Video.job_id == job.id, Video.status == VideoStatus.EXPLORING, Video.id > after
        )  # fmt: skip
        if job.budget_clip_seconds is not None:
            page = page.where(Video.seconds < job.budget_clip_seconds)
        rows = session.execute(page.order_by(Video.id).limit(_PAGE)).all()
        for row in rows:
            yield row.Video
        if len(rows) < _PAGE:
            return
        after = rows[-1].Video.id


def _plan_one(session: Session, video: Video, job: Job, **limits: int) -> int:
    """Plan one clip; one whose bounds contradict each other is failed, and every other left alone."""
    try:
        with session.begin_nested():
            spec = spec_of(job)
            if spec.heuristic:
                room, workers = limits["room"], limits["workers"]
                return plan_best_first(session, video, spec, budget=job.budget_points, room=room, workers=workers)
            return plan(session, video, spec, budget=job.budget_points, **limits)
    except (FlowcertError, DatabaseIntegrityError) as error:
        reason = first_line(error)
        log.warning("clip_quarantined", video=video.path, reason=reason)
        session.refresh(video)
        fail(session, video, reason)
        return 0
