"""Decides how the open part of a level becomes tasks: subtrees with too many points are split, the oldest first.

Only what is open is read, a page at a time, and only what a round leaves is written: halves that are split further in
the same round never become rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.orm import Session

from common.game import PointCounter, Subtree, bisect
from common.store.tables import Video
from scheduler.bounds import least
from scheduler.clips import bounds_of
from scheduler.frontier import open_subtrees, subtree_of

#: Open subtrees that are read at once, if no more tasks than half of it are wanted.
PAGE = 100

_NEW_IDS = text(
    "SELECT nextval(pg_get_serial_sequence('subtrees', 'id')) FROM generate_series(1, CAST(:count AS bigint))"
)
_INSERT_SUBTREES = text(
    "INSERT INTO subtrees (id, video_id, prefix, first, last, floor, threshold, lower)"
    " SELECT u.id, :video, u.prefix, u.first, u.last, :floor, :threshold, u.lower"
    " FROM unnest(CAST(:ids AS bigint[]), CAST(:prefixes AS jsonb[]), CAST(:firsts AS bigint[]),"
    " CAST(:lasts AS bigint[]), CAST(:lowers AS bigint[])) AS u (id, prefix, first, last, lower)"
)
_INSERT_TASKS = text(
    "INSERT INTO tasks (video_id, kind, subtree_id) SELECT :video, 'explore', u.id"
    " FROM unnest(CAST(:ids AS bigint[])) WITH ORDINALITY AS u (id, place) ORDER BY u.place"
)
_SPLIT = text("UPDATE subtrees SET split = true WHERE id = ANY (CAST(:ids AS bigint[]))")
_PROVED = text("UPDATE subtrees SET lower = :lower WHERE id = ANY (CAST(:ids AS bigint[]))")


@dataclass
class _Part:
    """A subtree that is open; ``id`` is None until it has a row."""

    id: int | None
    subtree: Subtree
    points: int


@dataclass
class _Page:
    """What becomes of a page of open subtrees."""

    tasks: list[_Part] = field(default_factory=list)
    proved: list[_Part] = field(default_factory=list)
    left: list[_Part] = field(default_factory=list)  #: open still, in order
    split: list[int] = field(default_factory=list)


def carve(session: Session, video: Video, counter: PointCounter, room: int, most_points: Callable[[int], int]) -> int:
    """Turn open subtrees of the frontier into at most ``room`` tasks; returns how many, and fewer only at the end.

    ``most_points`` gives the greatest size of a task, from the points of the open subtrees at hand.
    """
    if video.threshold is None or video.floor is None:
        raise ValueError(f"video {video.id} has no level")
    floor = video.floor
    target = least(video.threshold, bounds_of(session, video).upper) or 0
    created = 0
    while created < room:
        wanted = room - created
        parts = []
        for row in session.scalars(open_subtrees(video, target, max(PAGE, 2 * wanted))):
            subtree = subtree_of(row)
            parts.append(_Part(row.id, subtree, counter.between(subtree, floor, target)))
        if not parts:
            break
        page = _cut_up(counter, parts, (floor, target), wanted, most_points)
        _write(session, video, page, target)
        created += len(page.tasks)
    return created


def _cut_up(
    counter: PointCounter, parts: list[_Part], costs: tuple[int, int], room: int, most_points: Callable[[int], int]
) -> _Page:
    """Go through open subtrees in order until there are ``room`` tasks; ``costs`` are the level's floor and target."""
    page = _Page()
    stack = parts[::-1]
    left = sum(part.points for part in parts)
    while stack and len(page.tasks) < room:
        part = stack.pop()
        if part.points == 0:
            page.proved.append(part)
            continue
        halves = bisect(counter, part.subtree, *costs) if part.points > most_points(left) else None
        if halves is None:
            page.tasks.append(part)
            left -= part.points
            continue
        if part.id is not None:
            page.split.append(part.id)
        points = counter.between(halves[0], *costs)
        stack += [_Part(None, halves[1], part.points - points), _Part(None, halves[0], points)]
    page.left = stack[::-1]
    return page


def _write(session: Session, video: Video, page: _Page, target: int) -> None:
    """Write what became of a page, in a few statements."""
    # No point of a proved subtree costs floor ≤ c < target: the count itself proves the bound.
    known = [part.id for part in page.proved if part.id is not None]
    new = [part for parts in (page.proved, page.tasks, page.left) for part in parts if part.id is None]
    proved = {id(part) for part in page.proved}
    lowers = [target if id(part) in proved else video.floor for part in new]
    if new:
        ids = session.scalars(_NEW_IDS, {"count": len(new)}).all()
        for part, given in zip(new, ids, strict=True):
            part.id = given
        rows = {
            "ids": ids,
            "prefixes": [json.dumps(part.subtree.prefix) for part in new],
            "firsts": [part.subtree.first for part in new],
            "lasts": [part.subtree.last for part in new],
            "lowers": lowers,
        }
        level = {"video": video.id, "floor": video.floor, "threshold": video.threshold}
        session.execute(_INSERT_SUBTREES, {**rows, **level})
    if known:
        session.execute(_PROVED, {"ids": known, "lower": target})
    if page.split:
        session.execute(_SPLIT, {"ids": page.split})
    if page.tasks:
        session.execute(_INSERT_TASKS, {"video": video.id, "ids": [part.id for part in page.tasks]})
