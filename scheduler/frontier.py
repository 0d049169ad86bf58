"""Decides what of a clip's level is open, in work or proved; each question costs what its answer has, not the level.

The index ``ix_subtrees_frontier`` holds a level's subtrees by their bound: what is open lies in front of all that is
done, and the least bound is the first.
"""

from __future__ import annotations

from sqlalchemy import Select, exists, func, select
from sqlalchemy.orm import Session

from common.game import Subtree
from common.store.tables import SubtreeRow, Task, Video
from common.wire import POINT
from scheduler.clips import LIVE


def subtree_of(row: SubtreeRow) -> Subtree:
    """The subtree a row describes."""
    return Subtree(POINT.validate_python(row.prefix), row.first, row.last)


def part_of(parent: SubtreeRow, part: Subtree, *, lower: int, undecided: bool) -> SubtreeRow:
    """A row for a part of another row's subtree, in the same level."""
    return SubtreeRow(
        video_id=parent.video_id, prefix=[list(move) for move in part.prefix], first=part.first, last=part.last,
        floor=parent.floor, threshold=parent.threshold, lower=lower, undecided=undecided,
    )  # fmt: skip


def live_tasks(session: Session, video: Video) -> int:
    """Number of a clip's tasks that are not finished."""
    live = select(func.count()).where(
        Task.video_id == video.id, Task.finished_at.is_(None), Task.state.in_(LIVE)
    )  # fmt: skip
    return session.scalar(live) or 0


def open_subtrees(video: Video, target: int, most: int) -> Select[SubtreeRow]:
    """Subtrees of the frontier, in no task, that may hold an adversarial point that costs less than ``target``.

    At most ``most`` of them, the least bound first and of one bound the oldest.
    """
    busy = exists().where(Task.subtree_id == SubtreeRow.id, Task.state.in_(LIVE))
    return (
        select(SubtreeRow)
        .where(
            SubtreeRow.video_id == video.id, SubtreeRow.floor == video.floor, ~SubtreeRow.split,
            SubtreeRow.lower < target, ~SubtreeRow.undecided, ~busy,
        )
        .order_by(SubtreeRow.lower, SubtreeRow.id)
        .limit(most)
    )  # fmt: skip


def frontier_bound(session: Session, video: Video) -> tuple[int, bool]:
    """Least lower bound of the frontier's subtrees, and whether a point that is too close to call holds it there.

    Raises ValueError when there is no subtree, for nothing reported is no bound.
    """
    level = (SubtreeRow.video_id == video.id, SubtreeRow.floor == video.floor, ~SubtreeRow.split)
    lower = session.scalar(select(func.min(SubtreeRow.lower)).where(*level))
    if lower is None:
        raise ValueError(f"video {video.id} has no frontier: nothing reported is no bound")
    stuck = session.scalar(select(exists().where(*level, SubtreeRow.lower == lower, SubtreeRow.undecided)))
    return lower, bool(stuck)
