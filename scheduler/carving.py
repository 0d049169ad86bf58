"""Decides how the open part of a level becomes tasks: subtrees with too many points are split, the oldest first.

Only what is open is read, a page at a time, and only what a round leaves is written: halves that are split further in
the same round never become rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from sqlalchemy import text
from sqlalchemy.orm import Session

from common.game import PointCounter, Subtree, bisect, whole
from common.store.tables import Video
from scheduler.arrays import array
from scheduler.bounds import least
from scheduler.clips import bounds_of
from scheduler.frontier import open_subtrees, subtree_of

#: Open subtrees that are read at once, beyond the number of tasks wanted.
_MORE = 16

#: Writes a page: new parts get rows, those and old ones that are to be tasks become them in order of place.
_WRITE = text("""
WITH part AS MATERIALIZED (
    SELECT nextval(pg_get_serial_sequence('subtrees', 'id')) AS id, u.*
    FROM unnest(CAST(:prefixes AS jsonb[]), CAST(:firsts AS bigint[]), CAST(:lasts AS bigint[]),
                CAST(:lowers AS bigint[]), CAST(:places AS bigint[])) AS u (prefix, first, last, lower, place)
), made AS (
    INSERT INTO subtrees (id, video_id, prefix, first, last, floor, threshold, lower)
    SELECT id, :video, prefix, first, last, :floor, :threshold, lower FROM part
), split AS (
    UPDATE subtrees SET split = true WHERE id = ANY (CAST(:split AS bigint[]))
), proved AS (
    UPDATE subtrees SET lower = :target WHERE id = ANY (CAST(:proved AS bigint[]))
)
INSERT INTO tasks (video_id, kind, subtree_id)
SELECT :video, 'explore', x.id
FROM (SELECT id, place FROM part UNION ALL SELECT * FROM unnest(CAST(:old AS bigint[]), CAST(:old_places AS bigint[])))
    AS x (id, place)
WHERE x.place IS NOT NULL
ORDER BY x.place
""")


@dataclass
class _Part:
    """A subtree that is open; ``id`` is None while it has no row, ``points`` while they are not counted."""

    id: int | None
    subtree: Subtree
    points: int | None = None


@dataclass
class _Page:
    """What becomes of a page of open subtrees."""

    tasks: list[_Part] = field(default_factory=list)
    proved: list[_Part] = field(default_factory=list)
    left: list[_Part] = field(default_factory=list)  #: open still, in order
    split: list[int] = field(default_factory=list)


def carve(session: Session, video: Video, counter: PointCounter, room: int, most_points: Callable[[int], int]) -> int:
    """Turn open subtrees of the frontier into at most ``room`` tasks; returns how many, and fewer only at the end.

    ``most_points`` gives the greatest size of a task, from the number of points that are in none yet.
    """
    if video.threshold is None or video.floor is None:
        raise ValueError(f"video {video.id} has no level")
    target = least(video.threshold, bounds_of(session, video).upper) or 0
    costs = (video.floor, target)
    created = 0
    while created < room:
        most = room - created + _MORE
        rows = session.scalars(open_subtrees(video, target, most)).all()
        if not rows:
            break
        parts = [_Part(row.id, subtree_of(row)) for row in rows]
        if len(rows) < most:
            left = sum(_count(counter, part, costs) for part in parts)
        else:
            # There are more: near enough, while so many are left, is what nobody has explored.
            left = counter.between(whole(counter.game), 0, target) - video.points_explored
        page = _cut_up(counter, parts, costs, left, room - created, most_points)
        _write(session, video, page, target)
        created += len(page.tasks)
    return created


def _count(counter: PointCounter, part: _Part, costs: tuple[int, int]) -> int:
    if part.points is None:
        part.points = counter.between(part.subtree, *costs)
    return part.points


def _cut_up(
    counter: PointCounter,
    parts: list[_Part],
    costs: tuple[int, int],
    left: int,
    room: int,
    most_points: Callable[[int], int],
) -> _Page:
    """Go through open subtrees in order until there are ``room`` tasks; ``costs`` are the level's floor and target."""
    page = _Page()
    stack = parts[::-1]
    while stack and len(page.tasks) < room:
        part = stack.pop()
        points = _count(counter, part, costs)
        if points == 0:
            page.proved.append(part)
            continue
        halves = bisect(counter, part.subtree, *costs) if points > most_points(left) else None
        if halves is None:
            page.tasks.append(part)
            left -= points
            continue
        if part.id is not None:
            page.split.append(part.id)
        first = counter.between(halves[0], *costs)
        stack += [_Part(None, halves[1], points - first), _Part(None, halves[0], first)]
    page.left = stack[::-1]
    return page


def _write(session: Session, video: Video, page: _Page, target: int) -> None:
    """Write what became of a page, in one statement; a new part is in no task while its place is None."""
    place = count()
    tasks = [(part, next(place)) for part in page.tasks]
    # No point of a proved subtree costs floor ≤ c < target: the count itself proves the bound.
    new: list[tuple[_Part, int | None, int | None]]
    new = [(part, target, None) for part in page.proved if part.id is None]
    new += [(part, video.floor, at) for part, at in tasks if part.id is None]
    new += [(part, video.floor, None) for part in page.left if part.id is None]
    old = [(part.id, at) for part, at in tasks if part.id is not None]
    session.execute(
        _WRITE,
        {
            "video": video.id, "floor": video.floor, "threshold": video.threshold, "target": target,
            "prefixes": [json.dumps(part.subtree.prefix) for part, _, _ in new],
            "firsts": array(part.subtree.first for part, _, _ in new),
            "lasts": array(part.subtree.last for part, _, _ in new),
            "lowers": array(lower for _, lower, _ in new),
            "places": array(at for _, _, at in new),
            "split": array(page.split),
            "proved": array(part.id for part in page.proved if part.id is not None),
            "old": array(subtree for subtree, _ in old),
            "old_places": array(at for _, at in old),
        },
    )  # fmt: skip
