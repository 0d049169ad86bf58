"""Decides how a clip goes on whose search is guided by a heuristic: the subtrees of the least lower bound come first.

The whole game is one level. A task explores its subtree best first for a limited number of points, and its result
raises the subtree's bound; a subtree that is not exhausted by then is split. The clip's lower bound is the least of its
frontier's, after every result.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from common.errors import IntegrityError
from common.game import PointCounter, bisect
from common.jobspec import JobSpec
from common.store.tables import SubtreeRow, Task, Video
from common.vocab import StopReason, TaskKind, Verdict, VideoStatus
from common.wire import Explored
from scheduler.bounds import Bounds, least
from scheduler.clips import bounds_of, finish, move_bounds
from scheduler.exploration import begin, finish_stuck, take_points
from scheduler.frontier import frontier_bound, live_tasks, open_subtrees, part_of, subtree_of
from scheduler.levels import LEAST_TASK_POINTS, Level, counter_of, next_level, settled_below


def explored_best_first(session: Session, video: Video, spec: JobSpec, task: Task, result: Explored) -> None:
    """Fold an explore result into its subtree, and the frontier's least bound into the clip's."""
    if task.subtree_id is None:
        raise IntegrityError(f"task {task.id} explored no subtree")
    counter = counter_of(video, spec)
    row = session.get_one(SubtreeRow, task.subtree_id)
    _check(counter, row, result, task)
    take_points(session, video, spec, task, result)
    lower = max(row.lower, min(result.reached, row.threshold if result.undecided is None else result.undecided))
    if result.stop is StopReason.EXHAUSTED:
        row.lower, row.undecided = lower, result.undecided is not None and result.undecided == lower
    elif result.explored:
        row.lower = lower
        split(session, counter, row)
    session.flush()
    move_bounds(session, video, Bounds(settled_below(counter, frontier_bound(session, video)[0])))


def _check(counter: PointCounter, row: SubtreeRow, result: Explored, task: Task) -> None:
    """Refuse a result that cannot be: what was left out rests on the heuristic, and cannot be counted."""
    claimed = [result.reached] + ([] if result.undecided is None else [result.undecided])
    if result.position is not None or not all(0 <= cost <= row.threshold for cost in claimed):
        raise IntegrityError(f"task {task.id} reports costs {claimed} outside its level, or a position")
    most = counter.between(subtree_of(row), 0, row.threshold)
    if result.explored > most:
        raise IntegrityError(f"task {task.id} reports {result.explored} points explored; its subtree has {most}")


def split(session: Session, counter: PointCounter, row: SubtreeRow) -> list[SubtreeRow]:
    """Replace a subtree by two halves of the points near its bound; returns those with points, itself if it is one."""
    subtree = subtree_of(row)
    # Points near the bound are those that are looked at next; where there are none, all of them count.
    near = min(row.lower + 1, row.threshold)
    high = near if counter.between(subtree, 0, near) > 1 else row.threshold
    halves = bisect(counter, subtree, 0, high)
    if halves is None:
        return [row]
    row.split = True
    # A half without a point below the threshold is proved by the count itself.
    lowers = [row.lower if counter.between(half, 0, row.threshold) else row.threshold for half in halves]
    parts = [part_of(row, half, lower=lower, undecided=False) for half, lower in zip(halves, lowers, strict=True)]
    session.add_all(parts)
    session.flush()
    return [part for part in parts if part.lower < part.threshold]


def plan_best_first(session: Session, video: Video, spec: JobSpec, *, budget: int, room: int, workers: int) -> int:
    """Create up to ``room`` explore tasks for a clip, or end it; returns the number of tasks created.

    ``budget`` is the number of points the clip may cost in all, ``workers`` the number of live workers.
    """
    counter = counter_of(video, spec)
    if video.threshold is None:
        begin(session, video, counter, Level(0, counter.limit + 1))
    target = least(counter.limit + 1, bounds_of(session, video).upper) or 0
    rows = list(session.scalars(open_subtrees(video, target, max(room, 1))))
    live = live_tasks(session, video)
    left = budget - video.points_explored
    if not rows or left <= 0:
        if not live:
            _end(session, video, counter, budget, exhausted=not rows)
        return 0
    rows = _enough(session, counter, rows, min(room, 2 * workers - live))
    # So few that the frontier's least subtrees are looked at again and again, and that the budget is kept.
    points = max(LEAST_TASK_POINTS, left // (16 * workers))
    for row in rows[:room]:
        session.add(Task(video_id=video.id, kind=TaskKind.EXPLORE.value, subtree_id=row.id, points=points))
    session.flush()
    return min(len(rows), room)


def _enough(session: Session, counter: PointCounter, rows: list[SubtreeRow], wanted: int) -> list[SubtreeRow]:
    """Split the first subtrees until there is one for everybody."""
    whole: list[SubtreeRow] = []
    while rows and len(rows) + len(whole) < wanted:
        parts = split(session, counter, rows[0])
        if parts == [rows[0]]:
            whole += parts
        rows = rows[1:] + (parts if parts != [rows[0]] else [])
    return whole + rows


def _end(session: Session, video: Video, counter: PointCounter, budget: int, *, exhausted: bool) -> None:
    """End a clip: decided, held up by a point that is too close to call, or out of budget."""
    lower, stuck = frontier_bound(session, video)
    bounds = bounds_of(session, video)
    if next_level(counter, bounds.lower, bounds.upper) is None:
        finish(session, video, VideoStatus.DONE, Verdict.ROBUST if bounds.upper is None else Verdict.SOLVED)
    elif exhausted and stuck:
        finish_stuck(session, video, lower)
    else:
        reason = f"{video.points_explored:,} points are explored; the budget is {budget:,}"
        finish(session, video, VideoStatus.DONE, Verdict.OPEN, reason)
