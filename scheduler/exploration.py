"""Decides how an exploring clip goes on: folds in what tasks proved, carves the frontier, raises the threshold."""

from __future__ import annotations

from sqlalchemy.orm import Session

from common.errors import IntegrityError
from common.game import Point, PointCounter, Subtree, cut, whole
from common.jobspec import JobSpec
from common.store.tables import SubtreeRow, Task, Video
from common.vocab import Verdict, VideoStatus
from common.wire import Explored
from scheduler.bounds import Bounds
from scheduler.carving import carve
from scheduler.clips import add_witness, bounds_of, check_point, finish, move_bounds
from scheduler.frontier import frontier_bound, live_tasks, part_of, subtree_of
from scheduler.levels import LEAST_TASK_POINTS, Level, counter_of, next_level, settled_below


def explored(session: Session, video: Video, spec: JobSpec, task: Task, result: Explored) -> None:
    """Fold an explore result into its subtree: done parts get their bound, what was left becomes new subtrees."""
    if task.subtree_id is None:
        raise IntegrityError(f"task {task.id} explored no subtree")
    counter = counter_of(video, spec)
    row = session.get_one(SubtreeRow, task.subtree_id)
    subtree = subtree_of(row)
    done, rest = _done_and_left(counter, subtree, result.position, task)
    hold_against_counts(counter, Level(row.floor, row.threshold), done, result, task.id)
    take_points(session, video, spec, task, result)
    lower, undecided = proved(result)
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
        check_point(counter_of(video, spec), task.id, closest.point)
        video.closest_point, video.closest_margin = [list(move) for move in closest.point], closest.margin


def _done_and_left(
    counter: PointCounter, subtree: Subtree, position: Point | None, task: Task
) -> tuple[list[Subtree], list[Subtree]]:
    """Parts of the subtree up to the position and after it; all of it is done when there is no position."""
    if position is None:
        return [subtree], []
    check_point(counter, task.id, position)
    try:
        return cut(counter.game, subtree, position)
    except ValueError as error:
        raise IntegrityError(f"task {task.id} stopped outside its subtree: {error}") from error


def proved(result: Explored) -> tuple[int, bool]:
    """Bound of the points explored, and whether a point that is too close to call holds it there."""
    lower = result.reached if result.undecided is None else min(result.reached, result.undecided)
    return lower, result.undecided is not None and result.undecided == lower


def hold_against_counts(
    counter: PointCounter, level: Level, done: list[Subtree], result: Explored, task_id: int
) -> None:
    """Hold a result against the exact counts: a worker that skipped or invented points is found out here.

    ``done`` are the parts of its subtree that it says are explored. Raises IntegrityError when it cannot be true.
    """
    claimed = [result.reached] + ([] if result.undecided is None else [result.undecided])
    if not all(level.floor <= cost <= level.threshold for cost in claimed):
        raise IntegrityError(
            f"task {task_id} reports costs {claimed} outside its level {level.floor}..{level.threshold}"
        )
    most = sum(counter.between(part, level.floor, level.threshold) for part in done)
    fewest = most
    if result.reached < level.threshold:
        fewest = sum(counter.between(part, level.floor, result.reached) for part in done)
    if not fewest <= result.explored <= most:
        raise IntegrityError(
            f"task {task_id} reports {result.explored} points explored; its subtree has between {fewest} and {most}"
        )


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
        made = carve(
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
