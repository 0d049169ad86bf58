"""Folds returned results into the truth, each in its own savepoint: the only writer of bounds."""

from __future__ import annotations

from typing import assert_never

import structlog
from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError as DatabaseIntegrityError
from sqlalchemy.orm import Session

from common.errors import FlowcertError
from common.store.tables import Job, Result, Task, Video
from common.vocab import TaskKind, TaskState
from common.wire import RESULT_TYPES, Attacked, Bounded, Estimated, Explored, Prepared
from scheduler.best_first import explored_best_first
from scheduler.clips import fail, prepared, spec_of
from scheduler.exploration import explored
from scheduler.guarantees import attacked, bounded, estimated
from scheduler.pace import Pace

log = structlog.get_logger()
#: Results folded in one transaction.
BATCH = 100


def merge_returned(session: Session, pace: Pace) -> int:
    """Merge up to one batch of returned results, in task order; returns how many there were."""
    rows = session.execute(
        select(Task, Result)
        .join(Result, Result.task_id == Task.id)
        .where(Task.state == TaskState.RETURNED)
        .order_by(Task.id)
        .limit(BATCH)
    ).all()
    for task, result in rows:
        _merge_one(session, task, result, pace)
    return len(rows)


def _merge_one(session: Session, task: Task, result: Result, pace: Pace) -> None:
    """Merge one result; a result that contradicts what is known fails its clip and leaves every other alone."""
    task.state, task.finished_at = TaskState.MERGED.value, session.scalar(select(func.now()))
    video = session.get_one(Video, task.video_id)
    video.seconds += result.seconds
    pace.shares.charge(video.job_id, result.seconds)
    session.flush()
    if video.finished_at is not None:
        return
    try:
        with session.begin_nested():
            _apply(session, task, video, result, pace)
    except (FlowcertError, ValidationError, DatabaseIntegrityError) as error:
        reason = str(error).splitlines()[0]
        log.warning("result_refused", task=task.id, video=video.path, reason=reason)
        session.refresh(video)
        fail(session, video, reason)


def _apply(session: Session, task: Task, video: Video, result: Result, pace: Pace) -> None:
    spec = spec_of(session.get_one(Job, video.job_id))
    document = RESULT_TYPES[TaskKind(task.kind)].model_validate(result.payload)
    match document:
        case Prepared():
            prepared(session, video, spec, document)
        case Attacked():
            attacked(session, video, spec, task, document)
        case Estimated():
            estimated(session, video, spec, task, document)
        case Bounded():
            bounded(session, video, spec, task, document)
        case Explored():
            fold = explored_best_first if spec.heuristic else explored
            fold(session, video, spec, task, document)
            pace.observe(video.job_id, document.explored, result.seconds)
        case _:
            assert_never(document)
    session.flush()
    log.info("result_merged", task=task.id, kind=task.kind, video=video.path)
