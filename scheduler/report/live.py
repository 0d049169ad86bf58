"""Decides what is read of a job at each look while it runs: little, however many clips and tasks it has.

Tasks are read by the index of those under way, moves of bounds from the last look on, and clips by their ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import Connection, Engine, text

from scheduler.report.rows import Row, job_progress

#: Moves of bounds, of whatever job, that the first look reads.
_MOVES = 2_000
#: Clips that may have moved are kept in mind: more than any terminal has lines.
_KEPT = 500

_CREW = text("""
    WITH leased AS MATERIALIZED (
        SELECT id, kind, worker_id, video_id, job_id FROM tasks WHERE state = 'leased' AND finished_at IS NULL
    )
    SELECT w.id AS worker, w.info ->> 'device' AS device,
        extract(epoch FROM now() - w.seen_at)::double precision AS seconds_since_beat,
        l.id AS task, l.kind, l.job_id, l.video_id, v.path AS video
    FROM workers w LEFT JOIN leased l ON l.worker_id = w.id LEFT JOIN videos v ON v.id = l.video_id
    WHERE w.seen_at > now() - make_interval(secs => :silent) OR l.id IS NOT NULL
    ORDER BY w.id, l.id
""")
_LATEST_MOVE = text("SELECT coalesce(max(id), 0) FROM bound_events")
_MOVED = text("""
    SELECT e.video_id FROM bound_events e JOIN videos v ON v.id = e.video_id
    WHERE e.id > :since AND e.id <= :latest AND v.job_id = :job ORDER BY e.id DESC LIMIT :moves
""")
_FINISHED = text("""
    SELECT id FROM videos WHERE job_id = :job ORDER BY finished_at DESC NULLS LAST, id LIMIT :count
""")
_CLIPS = text("SELECT * FROM video_bounds WHERE job_id = :job AND video_id = ANY(:videos)")


@dataclass(frozen=True)
class Look:
    """A job as it stands."""

    job: Row  #: of ``job_progress``
    crew: Sequence[Row]  #: workers that beat lately or have a task: what they do, for this job or another
    clips: Sequence[Row]  #: of ``video_bounds``: those that are worked on, then those whose bounds moved last


class Watcher:
    """Looks at one job again and again; ``silent`` is for how many seconds a worker without a beat is still shown."""

    def __init__(self, engine: Engine, job_id: int, silent: float) -> None:
        self._engine, self._job, self._silent = engine, job_id, silent
        self._since: int | None = None
        #: Clips by their last move, the newest first.
        self._moved: dict[int, None] = {}

    def look(self, count: int) -> Look:
        """The job with up to ``count`` of its clips."""
        job = job_progress(self._engine, self._job)
        with self._engine.connect() as connection:
            crew = [dict(row) for row in connection.execute(_CREW, {"silent": self._silent}).mappings()]
            self._follow_moves(connection)
            at_work = sorted({row["video_id"] for row in crew if row["job_id"] == self._job})
            wanted = list(islice(dict.fromkeys((*at_work, *self._moved)), max(count, 0)))
            found = connection.execute(_CLIPS, {"job": self._job, "videos": wanted}).mappings()
            clips = {row["video_id"]: dict(row) for row in found}
        return Look(job, crew, [clips[video] for video in wanted if video in clips])

    def _follow_moves(self, connection: Connection) -> None:
        """Take note of the moves since the last look; at the first, of some time before it."""
        latest = int(connection.execute(_LATEST_MOVE).scalar_one())
        since = max(latest - _MOVES, 0) if self._since is None else self._since
        given = {"since": since, "latest": latest, "job": self._job, "moves": _MOVES}
        fresh = list(connection.execute(_MOVED, given).scalars())
        if self._since is None:
            fresh += connection.execute(_FINISHED, {"job": self._job, "count": _KEPT}).scalars()
        self._since = latest
        self._moved = dict.fromkeys(islice(dict.fromkeys((*fresh, *self._moved)), _KEPT))
