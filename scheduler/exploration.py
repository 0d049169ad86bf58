"""Decides how an exploring clip goes on: folds in what tasks proved, carves the frontier, raises the threshold."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from common.errors import IntegrityError
from common.game import Point, PointCounter, Subtree, bisect, cut, whole
from common.jobspec import JobSpec
from common.store.tables import SubtreeRow, Task, Video
from common.vocab import TaskKind, Verdict, VideoStatus
from common.wire import POINT, Explored
from scheduler.bounds import Bounds, combine, least
from scheduler.clips import LIVE, add_witness, bounds_of, check_point, finish, move_bounds
from scheduler.levels import LEAST_TASK_POINTS, Level, counter_of, next_level, settled_below


def explored(session: Session, video: Video, spec: JobSpec, task: Task, result: Explored) -> None:
    """Fold an explore result into its subtree: done parts get their bound, what was left becomes new subtrees."""
    if task.subtree_id is None:
        raise IntegrityError(f"task {task.id} explored no subtree")
    counter = counter_of(video, spec)
    row = session.get_one(SubtreeRow, task.subtree_id)
    subtree = subtree_of(row)
    done, rest = _done_and_left(counter, subtree, result.position, task)
    _check(counter, row, done, result, task)
    take_points(session, video, spec, task, result)
    lower = result.reached if result.undecided is None else min(result.reached, result.undecided)
    undecided = result.undecided is not None and result.undecided == lower
    if not rest:
        row.lower, row.undecided = lower, undecided
    else:
        row.split = True
        session.add_all(part_of(row, part, lower=lower, undecided=undecided) for part in done)
        session.add_all(part_of(row, part, lower=row.floor, undecided=False) for part in rest)
    session.flush()


def take_points(session: Session, video: Video, spec: JobSpec, task: Task, result: Explored) -> None:
    """Take in what stands out among the points explored: their number, a witness, and the safe one of least margin."""
    video.points_explored += result.explored
    if result.witness is not None:
        add_witness(session, video, spec, task, result.witness)
    closest = result.closest
    if closest is not None and (video.closest_margin is None or closest.margin < video.closest_margin):
        check_point(counter_of(video, spec), task, closest.point)
        video.closest_point, video.closest_margin = [list(move) for move in closest.point], closest.margin


def subtree_of(row: SubtreeRow) -> Subtree:
    """The subtree a row describes."""
    return Subtree(POINT.validate_python(row.prefix), row.first, row.last)


def _done_and_left(
    counter: PointCounter, subtree: Subtree, position: Point | None, task: Task
) -> tuple[list[Subtree], list[Subtree]]:
    """Parts of the subtree up to the position and after it; all of it is done when there is no position."""
    if position is None:
        return [subtree], []
    check_point(counter, task, position)
    try:
        return cut(counter.game, subtree, position)
    except ValueError as error:
        raise IntegrityError(f"task {task.id} stopped outside its subtree: {error}") from error


def _check(counter: PointCounter, row: SubtreeRow, done: list[Subtree], result: Explored, task: Task) -> None:
    """Hold a result against the exact counts: a worker that skipped or invented points is found out here."""
    claimed = [result.reached] + ([] if result.undecided is None else [result.undecided])
    if not all(row.floor <= cost <= row.threshold for cost in claimed):
        raise IntegrityError(f"task {task.id} reports costs {claimed} outside its level {row.floor}..{row.threshold}")
    fewest = sum(counter.between(part, row.floor, result.reached) for part in done)
    most = sum(counter.between(part, row.floor, row.threshold) for part in done)
    if not fewest <= result.explored <= most:
        raise IntegrityError(
            f"task {task.id} reports {result.explored} points explored; its subtree has between {fewest} and {most}"
        )


def part_of(parent: SubtreeRow, part: Subtree, *, lower: int, undecided: bool) -> SubtreeRow:
    """A row for a part of another row's subtree, in the same level."""
    return SubtreeRow(
        video_id=parent.video_id, prefix=[list(move) for move in part.prefix], first=part.first, last=part.last,
        floor=parent.floor, threshold=parent.threshold, lower=lower, undecided=undecided,
    )  # fmt: skip


def plan(
    session: Session,
    video: Video,
    spec: JobSpec,
    *,
    budget: int,
    task_points: int,
    room: int,
    workers: int,
    behind: int = 0,
) -> int:
    """Create up to ``room`` explore tasks for a clip, raising its level or ending it when nothing is left to explore.

    Returns the number of tasks created. ``task_points`` is the size a task should have while there is enough for all
    ``workers``, in this clip and the ones ``behind`` it (their number); ``budget`` the number of points the clip may
    cost in all, held against the exact size of a level before the level is begun.
    """
    counter = counter_of(video, spec)
    created = 0
    while video.finished_at is None and created < room:
        if video.threshold is None:
            _raise_level(session, video, counter, budget)
            continue
        made = _carve(
            session, video, counter, room - created,
            # The clips behind are taken to be as large as this one.
            lambda left: _most_points(left * (1 + behind), task_points, workers),
        )  # fmt: skip
        created += made
        if made == 0:
            if live_tasks(session, video):
                break
            _complete_level(session, video, counter, budget)
    return created


def _most_points(left: int, task_points: int, workers: int) -> int:
    """Points of the next task when ``left`` are not in a task yet: the last tasks must end together.

    Guided self-scheduling (C. Polychronopoulos and D. Kuck, IEEE Trans. Computers 1987): a fixed part of what is left.
    """
    return min(task_points, max(LEAST_TASK_POINTS, task_points // 16, left // (2 * workers)))


def live_tasks(session: Session, video: Video) -> int:
    """Number of a clip's tasks that are not finished."""
    return session.scalar(select(func.count()).where(Task.video_id == video.id, Task.state.in_(LIVE))) or 0


def _carve(session: Session, video: Video, counter: PointCounter, room: int, most_points: Callable[[int], int]) -> int:
    """Turn open subtrees of the frontier into tasks, splitting those with too many points, oldest first.

    ``most_points`` gives the greatest size of a task, from the points of the frontier not in one yet.
    """
    if video.threshold is None:
        raise ValueError(f"video {video.id} has no level")
    target = least(video.threshold, bounds_of(session, video).upper) or 0
    stack = list(session.scalars(open_subtrees(video, target).order_by(SubtreeRow.id.desc())))
    created = 0
    left = sum(counter.between(subtree_of(row), row.floor, target) for row in stack)
    while stack and created < room:
        row = stack.pop()
        points = counter.between(subtree_of(row), row.floor, target)
        most = most_points(left)
        halves = bisect(counter, subtree_of(row), row.floor, target) if points > most else None
        if points == 0:
            # No point of the subtree costs floor ≤ c < target: the count itself proves the bound.
            row.lower = target
        elif halves is not None:
            row.split = True
            parts = [part_of(row, half, lower=row.floor, undecided=False) for half in halves]
            session.add_all(parts)
            session.flush()
            stack += reversed(parts)
        else:
            session.add(Task(video_id=video.id, kind=TaskKind.EXPLORE.value, subtree_id=row.id))
            created += 1
            left -= points
    session.flush()
    return created


def open_subtrees(video: Video, target: int) -> Select[SubtreeRow]:
    """Subtrees of the frontier, in no task, that may hold an adversarial point that costs less than ``target``."""
    busy = select(Task.subtree_id).where(Task.video_id == video.id, Task.state.in_(LIVE), Task.subtree_id.is_not(None))
    return select(SubtreeRow).where(
        SubtreeRow.video_id == video.id, SubtreeRow.floor == video.floor, ~SubtreeRow.split,
        SubtreeRow.lower < target, ~SubtreeRow.undecided, SubtreeRow.id.not_in(busy),
    )  # fmt: skip


def frontier_bound(session: Session, video: Video) -> tuple[int, bool]:
    """Least lower bound of the frontier's subtrees, and whether a point that is too close to call holds it there."""
    rows = session.execute(
        select(SubtreeRow.lower, SubtreeRow.undecided).where(
            SubtreeRow.video_id == video.id, SubtreeRow.floor == video.floor, ~SubtreeRow.split
        )
    ).all()
    level = combine(Bounds(lower) for lower, _ in rows)
    return level.lower, any(undecided and lower == level.lower for lower, undecided in rows)


def _complete_level(session: Session, video: Video, counter: PointCounter, budget: int) -> None:
    """Fold a complete level into the clip's lower bound, then begin the next one or end the clip."""
    lower, stuck = frontier_bound(session, video)
    move_bounds(session, video, Bounds(lower if stuck else settled_below(counter, lower)))
    bounds = bounds_of(session, video)
    if stuck and next_level(counter, bounds.lower, bounds.upper) is not None:
        finish_stuck(session, video, lower)
        return
    _raise_level(session, video, counter, budget)


def finish_stuck(session: Session, video: Video, cost: int) -> None:
    """Leave a clip open whose bounds a point that is too close to call keeps apart."""
    reason = f"a point of cost {cost} has a margin too close to zero to decide"
    finish(session, video, VideoStatus.DONE, Verdict.OPEN, reason)


def _raise_level(session: Session, video: Video, counter: PointCounter, budget: int) -> None:
    """Begin the level above the clip's lower bound, or end the clip: nothing is left, or the budget forbids it."""
    bounds = bounds_of(session, video)
    following = next_level(counter, bounds.lower, bounds.upper)
    if following is None:
        finish(session, video, VideoStatus.DONE, Verdict.ROBUST if bounds.upper is None else Verdict.SOLVED)
        return
    size = counter.between(whole(counter.game), following.floor, following.threshold)
    if video.points_explored + size > budget:
        reason = f"the next level has {size:,} points; {video.points_explored:,} of {budget:,} are spent"
        finish(session, video, VideoStatus.DONE, Verdict.OPEN, reason)
        return
    begin(session, video, counter, following)


def begin(session: Session, video: Video, counter: PointCounter, level: Level) -> None:
    """Begin a level with the whole game as its only subtree: everything below the floor is proved for all of it."""
    video.floor, video.threshold = level.floor, level.threshold
    tree = whole(counter.game)
    session.add(
        SubtreeRow(
            video_id=video.id, prefix=[], first=tree.first, last=tree.last,
            floor=level.floor, threshold=level.threshold, lower=level.floor,
        )
    )  # fmt: skip
    session.flush()
