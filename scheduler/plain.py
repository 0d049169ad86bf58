"""Folds many explore results at once: those that only raise their subtree's bound, and say nothing else of their clip.

Such a result has no witness and no position, and holds against the exact counts. Most results are like this, and what
they change is a few numbers of a few rows, written by one statement for each table. Everything is computed in task
order from the values as they stood, so that the rows are those that merging one by one would leave, to the last bit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from pydantic import ValidationError
from sqlalchemy import Row, Text, cast, func, select, text
from sqlalchemy.orm import Session

from common.errors import IntegrityError
from common.game import PointCounter, Subtree
from common.jobspec import JobSpec
from common.store.tables import Job, Result, SubtreeRow, Video
from common.vocab import TaskKind, VideoStatus
from common.wire import POINT, Explored
from scheduler.arrays import array
from scheduler.clips import check_point, spec_of
from scheduler.exploration import hold_against_counts, proved
from scheduler.levels import Level, counter_of
from scheduler.pace import Pace
from scheduler.tally import Tally

log = structlog.get_logger()
#: Characters of a plain result; longer ones are read one at a time, for a batch of them could fill the memory.
_PLAIN_LENGTH = 2**16

_WRITE_TASKS = text(
    "UPDATE tasks SET state = 'merged', finished_at = now() WHERE id = ANY (CAST(:ids AS bigint[]))"
)  # fmt: skip
_WRITE_SUBTREES = text(
    "UPDATE subtrees s SET lower = u.lower, undecided = u.undecided"
    " FROM unnest(CAST(:ids AS bigint[]), CAST(:lowers AS bigint[]), CAST(:undecided AS boolean[]))"
    " AS u (id, lower, undecided) WHERE s.id = u.id"
)
_WRITE_VIDEOS = text(
    "UPDATE videos v SET seconds = u.seconds, points_explored = u.points, closest_point = u.closest,"
    " closest_margin = u.margin"
    " FROM unnest(CAST(:ids AS bigint[]), CAST(:seconds AS double precision[]), CAST(:points AS bigint[]),"
    " CAST(:closest AS jsonb[]), CAST(:margins AS double precision[])) AS u (id, seconds, points, closest, margin)"
    " WHERE v.id = u.id"
)
#: One array, so that the statement is the same for any number of ids.
_AMONG = text("ANY (CAST(:ids AS bigint[]))")


@dataclass
class _Clip:
    """A clip as the batch has left it so far."""

    job_id: int
    spec: JobSpec
    counter: PointCounter | None  #: None when it is not explored, or is guided: nothing of it is plain
    seconds: float
    points: int
    closest: list[Any] | None
    margin: float | None


class PlainResults:
    """The plain results of one batch of returned tasks; a clip that changes otherwise must be forgotten.

    ``tasks`` are rows of (id, video_id, kind, subtree_id).
    """

    def __init__(
        self, session: Session, pace: Pace, tally: Tally, tasks: Sequence[Row[int, int, str, int | None]]
    ) -> None:
        self._session, self._pace, self._tally = session, pace, tally
        explores = {row.id: row for row in tasks if row.kind == TaskKind.EXPLORE}
        self._tasks = explores
        self._results = self._rows(
            select(Result.task_id, Result.payload, Result.seconds, Result.worker_id, Result.appended_at).where(
                func.length(cast(Result.payload, Text)) <= _PLAIN_LENGTH
            ),
            Result.task_id,
            explores,
        )
        subtrees = {row.subtree_id for row in explores.values()}
        self._subtrees = self._rows(
            select(
                SubtreeRow.id, SubtreeRow.prefix, SubtreeRow.first, SubtreeRow.last, SubtreeRow.floor,
                SubtreeRow.threshold,
            ),
            SubtreeRow.id,
            subtrees,
        )  # fmt: skip
        self._videos: dict[int, Video] = {}
        if explores:
            videos = array(sorted({row.video_id for row in explores.values()}))
            query = select(Video).where(Video.id == _AMONG).execution_options(populate_existing=True)
            self._videos = {video.id: video for video in session.scalars(query, {"ids": videos})}
        self._specs: dict[int, JobSpec] = {}
        self._clips: dict[int, _Clip] = {}
        self._merged: list[int] = []
        self._raised: dict[int, tuple[int, bool]] = {}
        self._touched: set[int] = set()

    def _rows(self, query: Any, key: Any, ids: Any) -> dict[int, Row[Any]]:
        """Rows by id."""
        if not ids:
            return {}
        found = self._session.execute(query.where(key == _AMONG), {"ids": array(sorted(ids))})
        return {row[0]: row for row in found}

    def take(self, task_id: int) -> bool:
        """Fold a task's result in, if it is plain; otherwise change nothing and return False."""
        task = self._tasks.get(task_id)
        if task is None:
            return False
        result = self._results.get(task_id)
        if result is None:
            return False
        payload = result.payload
        if not isinstance(payload, dict) or any(payload.get(more) is not None for more in ("witness", "position")):
            return False
        clip = self._clips.get(task.video_id) or self._look_at(task.video_id)
        if clip.counter is None:
            return False
        row = self._subtrees[task.subtree_id]
        try:
            document = Explored.model_validate(payload)
            subtree = Subtree(POINT.validate_python(row.prefix), row.first, row.last)
            hold_against_counts(clip.counter, Level(row.floor, row.threshold), [subtree], document, task_id)
            self._note_closest(clip, document, task_id)
        except (IntegrityError, ValidationError):
            return False  # Merged by itself, it fails its clip and says why.
        clip.seconds += result.seconds
        clip.points += document.explored
        self._pace.observe(clip.job_id, document.explored, result.seconds)
        self._pace.shares.charge(clip.job_id, result.seconds)
        self._tally.add(clip.job_id, TaskKind.EXPLORE.value, result, document.explored)
        self._raised[task.subtree_id] = proved(document)
        self._merged.append(task_id)
        self._touched.add(task.video_id)
        return True

    @staticmethod
    def _note_closest(clip: _Clip, document: Explored, task_id: int) -> None:
        closest = document.closest
        if closest is not None and (clip.margin is None or closest.margin < clip.margin):
            if clip.counter is not None:
                check_point(clip.counter, task_id, closest.point)
            clip.closest, clip.margin = [list(move) for move in closest.point], closest.margin

    def write(self) -> None:
        """Write what was taken since the last time."""
        if not self._merged:
            return
        self._session.execute(_WRITE_TASKS, {"ids": array(self._merged)})
        raised = sorted(self._raised)
        values = [self._raised[subtree] for subtree in raised]
        lowers, undecided = array(lower for lower, _ in values), array(flag for _, flag in values)
        self._session.execute(_WRITE_SUBTREES, {"ids": array(raised), "lowers": lowers, "undecided": undecided})
        touched = sorted(self._touched)
        clips = [self._clips[video] for video in touched]
        self._session.execute(
            _WRITE_VIDEOS,
            {
                "ids": array(touched),
                "seconds": array(clip.seconds for clip in clips),
                "points": array(clip.points for clip in clips),
                "closest": [None if clip.closest is None else json.dumps(clip.closest) for clip in clips],
                "margins": array(clip.margin for clip in clips),
            },
        )
        log.info("results_merged", results=len(self._merged), clips=len(touched))
        self._merged, self._raised, self._touched = [], {}, set()

    def forget(self, video_id: int) -> None:
        """Have a clip that was changed otherwise read anew; what was taken of it must have been written."""
        self._clips.pop(video_id, None)
        self._videos.pop(video_id, None)

    def _look_at(self, video_id: int) -> _Clip:
        video = self._videos.pop(video_id, None) or self._session.get_one(Video, video_id, populate_existing=True)
        spec = self._specs.get(video.job_id)
        if spec is None:
            spec = self._specs[video.job_id] = spec_of(self._session.get_one(Job, video.job_id))
        exploring = video.status == VideoStatus.EXPLORING and not spec.heuristic
        clip = _Clip(
            job_id=video.job_id, spec=spec, counter=counter_of(video, spec) if exploring else None,
            seconds=video.seconds, points=video.points_explored, closest=video.closest_point,
            margin=video.closest_margin,
        )  # fmt: skip
        self._clips[video_id] = clip
        return clip
