"""Runs the scheduler: one leader that reaps, merges, plans and announces, round after round."""

from __future__ import annotations

import signal
import threading
import time

import structlog
from celery import Celery
from sqlalchemy import Connection, Engine, exists, func, text, update
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session

from common.errors import SchemaError, first_line
from common.program import program_digest
from common.settings import Settings
from common.store.tables import Job, Video
from common.vocab import JobStatus
from scheduler.announce import choose, live_workers, send
from scheduler.budgets import end_spent, start_clocks
from scheduler.exclusive import await_work, hold_truth, listen
from scheduler.merge import merge_returned
from scheduler.pace import Pace
from scheduler.planning import plan_all
from scheduler.reap import reap

log = structlog.get_logger()
#: Key of the session advisory lock whose holder leads; any constant does.
_LEADER_LOCK = 0x6C656164
#: A leader that is silent for so long beyond its pause, in seconds, loses its lock: it hangs, and another may lead.
_SILENCE_SECONDS = 60
#: Results merged in a round after which the next few follow at once when there is something to do.
_BUSY = 50


def tick(engine: Engine, app: Celery, settings: Settings, pace: Pace) -> int:
    """Run one round; each step is one transaction, and any of them may be repeated after a crash.

    Returns how many results were merged.
    """
    begun = time.monotonic()
    with Session(engine, autoflush=False) as session, session.begin():
        hold_truth(session)
        reap(session, settings.max_attempts, settings.lease_seconds)
        start_clocks(session)
    merged, more = 0, True
    while more:
        with Session(engine, autoflush=False) as session, session.begin():
            hold_truth(session)
            here, more = merge_returned(session, pace)
            merged += here
    with Session(engine, autoflush=False) as session, session.begin():
        hold_truth(session)
        workers = live_workers(session, settings.lease_seconds)
        end_spent(session)
        plan_all(session, pace, max(workers, 1), settings.window)
        _finish_jobs(session)
    with Session(engine, autoflush=False) as session, session.begin():
        ids = choose(session, workers, settings.window, pace.shares)
    if ids:
        send(app, ids)
    log.debug("round", merged=merged, announced=len(ids), seconds=round(time.monotonic() - begun, 4))
    return merged


def _finish_jobs(session: Session) -> None:
    unfinished = exists().where(Video.job_id == Job.id, Video.finished_at.is_(None))
    session.execute(
        update(Job)
        .where(Job.status == JobStatus.RUNNING, ~unfinished)
        .values(status=JobStatus.DONE.value, finished_at=func.now())
        .execution_options(synchronize_session=False)
    )


def lead(engine: Engine, app: Celery, settings: Settings, stop: threading.Event) -> None:
    """Hold the leader lock and run rounds until ``stop`` is set; a database that goes away is waited for.

    Raises SchemaError when the database is set up for another version of the program meanwhile.
    """
    pace, program = Pace(settings.task_seconds), program_digest()
    while not stop.is_set():
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as lock:
                if _is_leader(lock):
                    log.info("leading")
                    _rounds(engine, app, settings, pace, lock, stop, program)
                    lock.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LEADER_LOCK})
        except (InterfaceError, OperationalError) as error:
            log.warning("database_unreachable", reason=first_line(error.orig))
        stop.wait(1.0)


def _is_leader(lock: Connection) -> bool:
    return bool(lock.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LEADER_LOCK}).scalar())


def _rounds(
    engine: Engine, app: Celery, settings: Settings, pace: Pace, lock: Connection, stop: threading.Event, program: str
) -> None:
    listen(lock)
    silence = f"{_SILENCE_SECONDS + settings.tick_seconds}s"
    lock.execute(text("SELECT set_config('idle_session_timeout', :silence, false)"), {"silence": silence})
    recent = 0
    while not stop.is_set():
        # The lock lives in this session: when the session is gone, another scheduler may lead already.
        if lock.execute(text("SELECT program FROM schema_objects")).scalar() != program:
            raise SchemaError("the database is set up for another version of the program; start that one")
        recent = max(tick(engine, app, settings, pace), recent // 2)
        # Where results come by the dozen, waiting for more of them would leave workers without tasks.
        await_work(lock, stop, settings.tick_seconds, breath=recent < _BUSY)


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set, so that a round in progress is finished."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
