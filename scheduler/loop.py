"""Runs the scheduler: one leader that reaps, merges, plans and announces, round after round."""

from __future__ import annotations

import math
import signal
import threading
import time

import structlog
from celery import Celery
from sqlalchemy import Connection, Engine, exists, func, select, text, update
from sqlalchemy.exc import IntegrityError as DatabaseIntegrityError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from common.errors import FlowcertError
from common.settings import Settings
from common.store.tables import Job, Task, Video
from common.vocab import JobStatus, TaskKind, TaskState, VideoStatus
from scheduler.announce import choose, live_workers, send
from scheduler.best_first import plan_best_first
from scheduler.clips import fail, spec_of
from scheduler.exclusive import await_work, hold_truth, listen
from scheduler.exploration import plan
from scheduler.merge import merge_returned
from scheduler.pace import Pace
from scheduler.reap import reap

log = structlog.get_logger()
#: Key of the session advisory lock whose holder leads; any constant does.
_LEADER_LOCK = 0x6C656164
#: Results merged in a round after which the next few follow at once when there is something to do.
_BUSY = 50


def tick(engine: Engine, app: Celery, settings: Settings, pace: Pace) -> int:
    """Run one round; each step is one transaction, and any of them may be repeated after a crash.

    Returns how many results were merged.
    """
    begun = time.monotonic()
    with Session(engine, autoflush=False) as session, session.begin():
        hold_truth(session)
        reap(session, settings.max_attempts)
    merged, more = 0, True
    while more:
        with Session(engine, autoflush=False) as session, session.begin():
            hold_truth(session)
            here, more = merge_returned(session, pace)
            merged += here
    with Session(engine, autoflush=False) as session, session.begin():
        hold_truth(session)
        workers = live_workers(session, settings.lease_seconds)
        _plan_all(session, pace, max(workers, 1), settings.window)
        _finish_jobs(session)
    with Session(engine, autoflush=False) as session, session.begin():
        ids = choose(session, workers, settings.window)
    if ids:
        send(app, ids)
    log.debug("round", merged=merged, announced=len(ids), seconds=round(time.monotonic() - begun, 4))
    return merged


def _plan_all(session: Session, pace: Pace, workers: int, window: int) -> None:
    """Give exploring clips tasks in order of submission, until the window is filled once over.

    Each clip gets a worker's window at most while others wait, so that workers can keep to a clip each, whose
    variants they have.
    """
    # Most rounds fill the window from a few clips: only those are loaded, of thousands that a job may have.
    videos = session.execute(
        select(Video.id, Video.job_id)
        .join(Job, Job.id == Video.job_id)
        .where(Video.status == VideoStatus.EXPLORING, Job.status == JobStatus.RUNNING)
        .order_by(Video.job_id, Video.id)
    ).all()
    counted = session.execute(
        select(Task.video_id, func.count().label("tasks"))
        .where(Task.state == TaskState.READY, Task.kind == TaskKind.EXPLORE)
        .group_by(Task.video_id)
    )
    ready = {row.video_id: row.tasks for row in counted}
    room = workers * window - sum(ready.values())
    share = max(window, math.ceil(workers * window / max(len(videos), 1)))
    for place, (video_id, job_id) in enumerate(videos, start=1):
        if room <= 0:
            break
        video, job = session.get_one(Video, video_id), session.get_one(Job, job_id)
        size = pace.task_points(job.id)
        here = min(room, share - ready.get(video.id, 0))
        behind = len(videos) - place
        room -= _plan_one(session, video, job, task_points=size, room=here, workers=workers, behind=behind)


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
        reason = str(error).splitlines()[0]
        log.warning("clip_quarantined", video=video.path, reason=reason)
        session.refresh(video)
        fail(session, video, reason)
        return 0


def _finish_jobs(session: Session) -> None:
    unfinished = exists().where(Video.job_id == Job.id, Video.finished_at.is_(None))
    session.execute(
        update(Job)
        .where(Job.status == JobStatus.RUNNING, ~unfinished)
        .values(status=JobStatus.DONE.value, finished_at=func.now())
        .execution_options(synchronize_session=False)
    )


def lead(engine: Engine, app: Celery, settings: Settings, stop: threading.Event) -> None:
    """Hold the leader lock and run rounds until ``stop`` is set; a database that goes away is waited for."""
    pace = Pace(settings.task_seconds)
    while not stop.is_set():
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as lock:
                if _is_leader(lock):
                    log.info("leading")
                    _rounds(engine, app, settings, pace, lock, stop)
                    lock.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LEADER_LOCK})
        except (InterfaceError, OperationalError) as error:
            log.warning("database_unreachable", reason=str(error.orig).strip().splitlines()[0])
        stop.wait(1.0)


def _is_leader(lock: Connection) -> bool:
    return bool(lock.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LEADER_LOCK}).scalar())


def _rounds(
    engine: Engine, app: Celery, settings: Settings, pace: Pace, lock: Connection, stop: threading.Event
) -> None:
    listen(lock)
    recent = 0
    while not stop.is_set():
        # The lock lives in this session: when the session is gone, another scheduler may lead already.
        lock.execute(text("SELECT 1"))
        recent = max(tick(engine, app, settings, pace), recent // 2)
        # Where results come by the dozen, waiting for more of them would leave workers without tasks.
        await_work(lock, stop, settings.tick_seconds, breath=recent < _BUSY)


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set, so that a round in progress is finished."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
