"""Views say what they are, column by column; sums that they show are those of the rows they stand for."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from migrations.schema import object_files
from tests.dashboards.conftest import Seen

VIEWS = sorted(path.stem for path in object_files() if path.parent.name == "views")
#: Words for the unit of a number; a number without one is a count or says so by its name.
UNITS = {
    "seconds": "second", "radius": "pixels", "distance": "pixels", "lower": "pixels", "upper": "pixels",
    "tau": "pixels", "margin": "logits", "cost": "units",
}  # fmt: skip

COMMENTS = """
SELECT c.relname AS view, a.attname AS name, col_description(c.oid, a.attnum) AS comment,
    format_type(a.atttypid, a.atttypmod) AS type
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relkind = 'v' AND c.relnamespace = 'public'::regnamespace
"""


def test_every_view_and_every_column_says_what_it_is(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        rows = connection.execute(sa.text(COMMENTS)).all()
        described = connection.execute(
            sa.text("SELECT relname, obj_description(oid, 'pg_class') FROM pg_class WHERE relkind = 'v'")
        )
        views = {name: comment for name, comment in described if name in VIEWS}
    assert sorted(views) == VIEWS == sorted({row.view for row in rows})
    assert all(comment and comment.endswith(".") for comment in views.values())
    for row in rows:
        assert row.comment, f"{row.view}.{row.name}"
        if row.type == "double precision":
            wanted = next((unit for word, unit in UNITS.items() if word in row.name), None)
            assert wanted is None or wanted in row.comment, (row.view, row.name, row.comment)


def test_columns_of_one_name_mean_the_same(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        rows = connection.execute(sa.text(COMMENTS)).all()
    types: dict[str, set[str]] = {}
    for row in rows:
        types.setdefault(row.name, set()).add(row.type)
    apart = {name for name, found in types.items() if len(found) > 1}
    # Sums of a job's clips are exact whatever their size.
    assert apart <= {"points_explored"}


SUMS = {
    "work_totals": (
        "SELECT job_id, worker_id, kind, tasks, round(seconds::numeric, 6) FROM work_totals ORDER BY 1, 2, 3",
        (
            "SELECT t.job_id, r.worker_id, t.kind, count(*), round(sum(r.seconds)::numeric, 6)"
            " FROM tasks t JOIN results r ON r.task_id = t.id WHERE t.state = 'merged'"
            " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        ),
    ),
    "points of totals": (
        "SELECT job_id, sum(points)::bigint FROM work_totals GROUP BY 1 ORDER BY 1",
        (
            "SELECT job_id, sum(points_explored)::bigint FROM videos WHERE prepared_at IS NOT NULL"
            " OR finished_at IS NOT NULL GROUP BY 1 ORDER BY 1"
        ),
    ),
    "work_minutes": (
        "SELECT job_id, minute, tasks, round(seconds::numeric, 6), began_at FROM work_minutes ORDER BY 1, 2",
        (
            "SELECT t.job_id, date_trunc('minute', t.finished_at), count(*), round(sum(r.seconds)::numeric, 6),"
            " min(r.appended_at - make_interval(secs => r.seconds))"
            " FROM tasks t JOIN results r ON r.task_id = t.id WHERE t.state = 'merged' GROUP BY 1, 2 ORDER BY 1, 2"
        ),
    ),
    "points of minutes": (
        "SELECT job_id, sum(points)::bigint FROM work_minutes GROUP BY 1 ORDER BY 1",
        "SELECT job_id, sum(points)::bigint FROM work_totals GROUP BY 1 ORDER BY 1",
    ),
    "attempts": (
        "SELECT id, attempts FROM workers ORDER BY 1",
        "SELECT worker_id, count(*) FROM attempts GROUP BY 1 ORDER BY 1",
    ),
    "failed attempts": (
        "SELECT sum(times)::bigint FROM failures WHERE what = 'attempt'",
        "SELECT count(*) FROM attempts WHERE outcome IN ('failed', 'expired', 'refused')",
    ),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_are_those_of_what_was_merged(seen: Seen, name: str) -> None:
    kept, counted = SUMS[name]
    with seen.engine.connect() as connection:
        rows = connection.execute(sa.text(kept)).all()
        assert rows == connection.execute(sa.text(counted)).all()
    assert rows


def test_the_job_that_is_looked_at_has_everything(seen: Seen) -> None:
    with seen.engine.connect() as connection:
        kinds = connection.scalars(sa.text(f"SELECT DISTINCT kind FROM tasks WHERE job_id = {seen.first}"))
        assert set(kinds) == {"prepare", "attack", "estimate", "bound", "explore"}
    for view in VIEWS:
        assert seen.ask(f"SELECT * FROM {view}"), view
    (job,) = seen.ask(f"SELECT * FROM job_progress WHERE job_id = {seen.first}")
    assert (job["clips"], job["failed"], job["misclassified"], job["status"]) == (4, 1, 1, "done")
    assert job["points_explored"] <= job["points_needed"] <= job["points_total"]
    whats = {(row["what"], row["outcome"]) for row in seen.ask(f"SELECT * FROM failures WHERE job_id = {seen.first}")}
    assert {("clip", "failed"), ("attempt", "failed"), ("attempt", "expired")} <= whats
