"""Keeps sums of what was merged, by worker and by minute, so that views need not count results."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from sqlalchemy import text
from sqlalchemy.orm import Session

_WRITE_TOTALS = text(
    "INSERT INTO work_totals AS w (job_id, worker_id, kind, tasks, points, seconds)"
    " SELECT * FROM unnest(CAST(:jobs AS bigint[]), CAST(:workers AS text[]), CAST(:kinds AS text[]),"
    " CAST(:tasks AS bigint[]), CAST(:points AS bigint[]), CAST(:seconds AS double precision[]))"
    " ON CONFLICT (job_id, worker_id, kind) DO UPDATE SET tasks = w.tasks + excluded.tasks,"
    " points = w.points + excluded.points, seconds = w.seconds + excluded.seconds"
)
_WRITE_MINUTES = text(
    "INSERT INTO work_minutes AS w (job_id, minute, began_at, tasks, points, seconds)"
    " SELECT u.job_id, date_trunc('minute', now()), u.began_at, u.tasks, u.points, u.seconds"
    " FROM unnest(CAST(:jobs AS bigint[]), CAST(:began AS timestamptz[]), CAST(:tasks AS bigint[]),"
    " CAST(:points AS bigint[]), CAST(:seconds AS double precision[])) AS u (job_id, began_at, tasks, points, seconds)"
    " ON CONFLICT (job_id, minute) DO UPDATE SET began_at = least(w.began_at, excluded.began_at),"
    " tasks = w.tasks + excluded.tasks, points = w.points + excluded.points, seconds = w.seconds + excluded.seconds"
)


class Merged(Protocol):
    """What is asked of a result: a row of ``results`` has it."""

    @property
    def worker_id(self) -> str:
        """Name of the worker that it is of."""

    @property
    def seconds(self) -> float:
        """Worker time spent, in seconds."""

    @property
    def appended_at(self) -> datetime:
        """When the worker appended it."""


@dataclass
class _Sum:
    """Of some tasks: their number, the points they explored, their worker time, and when the first of them began."""

    tasks: int = 0
    points: int = 0
    seconds: float = 0.0
    began: datetime | None = None


@dataclass
class Tally:
    """What one transaction has merged; written once, before it is committed."""

    _totals: dict[tuple[int, str, str], _Sum] = field(default_factory=dict)
    _minutes: dict[int, _Sum] = field(default_factory=dict)

    def add(self, job_id: int, kind: str, result: Merged, points: int) -> None:
        """Count a merged result, and the points that its clip has got by it."""
        began = result.appended_at - timedelta(seconds=result.seconds)
        for total in (
            self._totals.setdefault((job_id, result.worker_id, kind), _Sum()),
            self._minutes.setdefault(job_id, _Sum()),
        ):
            total.tasks += 1
            total.points += points
            total.seconds += result.seconds
            total.began = began if total.began is None else min(total.began, began)

    def write(self, session: Session) -> None:
        """Add what was counted to the sums that are kept."""
        if not self._totals:
            return
        keys = sorted(self._totals)
        jobs, workers, kinds = (list(column) for column in zip(*keys, strict=True))
        totals = _columns([self._totals[key] for key in keys])
        session.execute(_WRITE_TOTALS, {"jobs": jobs, "workers": workers, "kinds": kinds, **totals})
        minutes = [self._minutes[job_id] for job_id in sorted(self._minutes)]
        began = [total.began for total in minutes]
        session.execute(_WRITE_MINUTES, {"jobs": sorted(self._minutes), "began": began, **_columns(minutes)})
        self._totals, self._minutes = {}, {}


def _columns(sums: list[_Sum]) -> dict[str, list[int] | list[float]]:
    return {
        "tasks": [total.tasks for total in sums],
        "points": [total.points for total in sums],
        "seconds": [total.seconds for total in sums],
    }
