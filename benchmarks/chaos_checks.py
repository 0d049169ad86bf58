"""Holds a campaign's database against the truth, in SQL, while it runs and at its end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from benchmarks.chaos_fleet import Fleet
from common.vocab import Verdict
from tests.oracle import Truth

#: A lower bound that fell or an upper one that rose, in the trace of any clip.
_WORSE = """
SELECT video_id, lower, upper FROM (
    SELECT video_id, lower, upper, lag(lower) OVER w AS low, lag(upper) OVER w AS high
    FROM bound_events WINDOW w AS (PARTITION BY video_id ORDER BY id)) AS moves
WHERE lower < low OR (high IS NOT NULL AND (upper IS NULL OR upper > high))
"""
#: Merged tasks without a result, results without their returned attempt, frontiers that hold the same points twice.
_DOUBLED = """
SELECT 'task ' || id FROM tasks t
    WHERE state = 'merged' AND (SELECT count(*) FROM results r WHERE r.task_id = t.id) <> 1
UNION ALL SELECT 'result of task ' || task_id FROM results r
    WHERE (SELECT count(*) FROM attempts a WHERE a.task_id = r.task_id AND a.outcome = 'returned') <> 1
UNION ALL SELECT 'frontier of clip ' || video_id FROM subtrees WHERE NOT split
    GROUP BY video_id, prefix, first, last, floor HAVING count(*) > 1
UNION ALL SELECT 'points of clip ' || v.id FROM videos v WHERE v.points_explored <> (
    SELECT coalesce(sum((r.payload ->> 'explored')::bigint), 0) FROM results r JOIN tasks t ON t.id = r.task_id
    WHERE t.video_id = v.id AND t.kind = 'explore' AND t.state = 'merged')
"""
#: Tasks announced or running now, and workers that were alive when any of them was announced.
_WINDOW = """
SELECT (SELECT count(*) FROM tasks WHERE state = 'leased' OR
            (state = 'ready' AND announced_at > now() - interval '20 s')) AS outstanding,
    (SELECT count(*) FROM tasks WHERE state = 'ready' AND attempt > 0) AS again,
    (SELECT count(*) FROM workers WHERE seen_at > now() - make_interval(secs => 20 + 2 * :lease)) AS workers
"""


@dataclass
class Watch:
    """What was found wrong so far, and how long killed tasks waited."""

    fleet: Fleet
    window: int
    lease_seconds: float
    truths: dict[int, Truth] = field(default_factory=dict)  #: by job; each job has one clip
    wrong: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    over_window: list[str] = field(default_factory=list)
    reissue_seconds: list[float] = field(default_factory=list)
    waiting: list[tuple[int, int, float]] = field(default_factory=list)  #: task, attempt, when its worker was killed

    def look(self) -> None:
        """Check what must hold at any time; one snapshot for each question."""
        self.wrong += [f"clip {row.video_id} moved to {row.lower}..{row.upper}" for row in self.fleet.rows(_WORSE)]
        bounds = "SELECT v.job_id, b.lower, b.upper FROM bounds b JOIN videos v ON v.id = b.video_id"
        self.wrong += [
            f"job {row.job_id}: {row.lower}..{row.upper}"
            for row in self.fleet.rows(bounds)
            if row.job_id in self.truths and not _holds(row.lower, row.upper, self.truths[row.job_id].fmsr)
        ]
        self.doubled += [str(row[0]) for row in self.fleet.rows(_DOUBLED)]
        (now,) = self.fleet.rows(_WINDOW, lease=self.lease_seconds)
        if now.outstanding > now.workers * self.window + now.again:
            self.over_window.append(f"{now.outstanding} tasks announced for {now.workers} workers")
        self.mind_orphans()

    def orphaned(self, pid: int | None) -> None:
        """Note that a child was killed just now: the task it had is to be re-issued."""
        query = (
            "SELECT t.id, t.attempt FROM tasks t JOIN workers w ON w.id = t.worker_id"
            " WHERE t.state = 'leased' AND (w.info ->> 'pid')::int = :pid"
        )
        if pid is not None:
            self.waiting += [(row.id, row.attempt, time.time()) for row in self.fleet.rows(query, pid=pid)]

    def mind_orphans(self) -> None:
        """Note which of the killed workers' tasks were announced again, or taken, returned or no longer wanted."""
        for orphan in list(self.waiting):
            task, attempt, killed = orphan
            (row,) = self.fleet.rows(
                "SELECT state, attempt, extract(epoch FROM announced_at)::float AS announced FROM tasks WHERE id = :id",
                id=task,
            )
            if row.state == "leased" and row.attempt == attempt:
                continue
            if row.announced is not None and row.announced > killed and row.state != "cancelled":
                self.reissue_seconds.append(row.announced - killed)
            elif row.state == "ready":
                continue
            self.waiting.remove(orphan)

    def lost(self) -> list[str]:
        """Jobs that did not end with their truth, and tasks that did not end."""
        rows = self.fleet.rows(
            "SELECT v.job_id, v.verdict, v.reason, b.lower, b.upper FROM videos v"
            " LEFT JOIN bounds b ON b.video_id = v.id"
        )
        ends = {row.job_id: row for row in rows}
        found = []
        for job, truth in self.truths.items():
            end = ends.get(job)
            solved = truth.fmsr is not None and end is not None and (end.lower, end.upper) == (truth.fmsr, truth.fmsr)
            robust = truth.fmsr is None and end is not None and end.verdict == Verdict.ROBUST
            if not (solved or robust):
                found.append(f"job {job}: {end}, the truth is {truth.fmsr}")
        unended = "SELECT id, state, reason FROM tasks WHERE state NOT IN ('merged', 'cancelled')"
        return found + [f"task {row.id}: {row.state} ({row.reason})" for row in self.fleet.rows(unended)]


def _holds(lower: int, upper: int | None, fmsr: int | None) -> bool:
    """Whether bounds enclose the truth; beyond the radius nothing is known, and no upper bound may be."""
    if fmsr is None:
        return upper is None
    return lower <= fmsr and (upper is None or fmsr <= upper)
