"""Folds returned results into the truth: the only writer of bounds.

Results come in batches, in task order. Those that only raise their subtree's bound are folded together
(``scheduler.plain``); every other one is merged by itself, in a savepoint, after what came before it is written.
"""

from __future__ import annotations

from typing import assert_never

import structlog
from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.exc import DataError
from sqlalchemy.exc import IntegrityError as DatabaseIntegrityError
from sqlalchemy.orm import Session

from common.errors import FlowcertError, first_line
from common.jobspec import first_problem
from common.store.tables import Job, Result, Task, Video
from common.vocab import TaskKind, TaskState
from common.wire import RESULT_TYPES, Attacked, Bounded, Estimated, Explored, Prepared
from scheduler.best_first import explored_best_first
from scheduler.clips import fail, prepared, spec_of
from scheduler.exploration import explored
from scheduler.guarantees import attacked, bounded, estimated
from scheduler.pace import Pace
from scheduler.plain import PlainResults
from scheduler.tally import Tally

log = structlog.get_logger()
#: Results looked at in one transaction, and those of them that may be merged one at a time: either ends a batch.
BATCH, BATCH_SINGLE = 1000, 100
#: What a result may provoke that is well-formed and cannot be true: numbers that no column and no sum has room for.
_WRONG = (ArithmeticError, DatabaseIntegrityError, DataError)


def merge_returned(session: Session, pace: Pace) -> tuple[int, bool]:
    """Merge a batch of returned results, in task order; returns how many, and whether more may be left."""
    rows = session.execute(
        select(Task.id, Task.video_id, Task.kind, Task.subtree_id)
        .where(Task.state == TaskState.RETURNED, Task.finished_at.is_(None))
        .order_by(Task.id)
        .limit(BATCH)
        .with_for_update()
    ).all()
    tally = Tally()
    plain = PlainResults(session, pace, tally, rows)
    single = 0
    for place, row in enumerate(rows):
        if plain.take(row.id):
            continue
        if single == BATCH_SINGLE:
            plain.write()
            tally.write(session)
            return place, True
        single += 1
        plain.write()
        _merge_one(session, row.id, pace, tally)
        plain.forget(row.video_id)
    plain.write()
    tally.write(session)
    return len(rows), len(rows) == BATCH


def _merge_one(session: Session, task_id: int, pace: Pace, tally: Tally) -> None:
    """Merge one result; a result that contradicts what is known fails its clip and leaves every other alone."""
    task = session.get_one(Task, task_id, populate_existing=True)
    if task.state != TaskState.RETURNED:
        return  # Its clip was ended by a result before it in the batch, which withdrew it.
    result = session.get_one(Result, task_id)
    task.state, task.finished_at = TaskState.MERGED.value, session.scalar(select(func.now()))
    video = session.get_one(Video, task.video_id, populate_existing=True)
    video.seconds += result.seconds
    pace.shares.charge(video.job_id, result.seconds)
    session.flush()
    before = video.points_explored
    if video.finished_at is None:
        try:
            with session.begin_nested():
                _apply(session, task, video, result, pace)
        except (*_WRONG, FlowcertError, ValidationError) as error:
            reason = first_line(first_problem(error, "result") if isinstance(error, ValidationError) else error)
            log.warning("result_refused", task=task.id, video=video.path, reason=reason)
            session.refresh(video)
            fail(session, video, reason)
    tally.add(video.job_id, task.kind, result, video.points_explored - before)


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
