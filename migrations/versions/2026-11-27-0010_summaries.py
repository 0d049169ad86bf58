"""Keep sums of what was merged, by worker and by minute, and find what failed: views then count no results."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_KINDS = "kind IN ('prepare', 'attack', 'estimate', 'bound', 'explore')"
_COUNTED = "tasks > 0 AND points >= 0 AND seconds >= 0 AND seconds < 'Infinity'"
#: What was merged before this revision, as its results say.
_MERGED = """
    SELECT t.job_id, r.worker_id, t.kind, t.finished_at, r.seconds, r.appended_at - make_interval(secs => r.seconds),
        CASE WHEN t.kind = 'explore' AND jsonb_typeof(r.payload -> 'explored') = 'number'
            THEN greatest((r.payload ->> 'explored')::numeric, 0)::bigint ELSE 0 END
    FROM tasks t JOIN results r ON r.task_id = t.id
    WHERE t.state = 'merged'
"""


def upgrade() -> None:
    op.create_table(
        "work_totals",
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("worker_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        *_sums(),
        sa.CheckConstraint(_KINDS, name=op.f("ck_work_totals_kind_known")),
        sa.CheckConstraint(_COUNTED, name=op.f("ck_work_totals_counted")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_work_totals_job_id")),
        sa.ForeignKeyConstraint(["worker_id"], ["workers.id"], name=op.f("fk_work_totals_worker_id")),
        sa.PrimaryKeyConstraint("job_id", "worker_id", "kind", name=op.f("pk_work_totals")),
    )
    op.create_table(
        "work_minutes",
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False, comment="in which the results were merged"),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False, comment="when the first of the tasks began"),
        *_sums(),
        sa.CheckConstraint(_COUNTED, name=op.f("ck_work_minutes_counted")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_work_minutes_job_id")),
        sa.PrimaryKeyConstraint("job_id", "minute", name=op.f("pk_work_minutes")),
    )
    op.create_index("ix_work_minutes_minute", "work_minutes", ["minute"], unique=False)
    for table in ("work_totals", "work_minutes"):
        op.execute(f"ALTER TABLE {table} SET (fillfactor = 50)")
    op.add_column(
        "workers",
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False, comment="tasks it has claimed"),
    )
    op.create_index(
        "ix_attempts_failed", "attempts", ["task_id"],
        postgresql_where=sa.text("outcome IN ('failed', 'expired', 'refused')"),
    )  # fmt: skip
    op.create_index("ix_tasks_merged", "tasks", ["video_id"], postgresql_where=sa.text("state = 'merged'"))
    op.create_index("ix_witnesses_video_id", "witnesses", ["video_id"], unique=False)
    _count_what_was_merged()


def _sums() -> list[sa.Column[object]]:
    return [
        sa.Column("tasks", sa.BigInteger(), nullable=False, comment="tasks whose results were merged"),
        sa.Column("points", sa.BigInteger(), nullable=False, comment="grid points explored by them"),
        sa.Column("seconds", sa.Double(), nullable=False, comment="worker time spent on them, in seconds"),
    ]


def _count_what_was_merged() -> None:
    merged = f"WITH merged (job_id, worker_id, kind, at, seconds, began_at, points) AS ({_MERGED})"
    op.execute(
        f"{merged} INSERT INTO work_totals (job_id, worker_id, kind, tasks, points, seconds)"
        " SELECT job_id, worker_id, kind, count(*), sum(points), sum(seconds) FROM merged GROUP BY 1, 2, 3"
    )
    op.execute(
        f"{merged} INSERT INTO work_minutes (job_id, minute, began_at, tasks, points, seconds)"
        " SELECT job_id, date_trunc('minute', at), min(began_at), count(*), sum(points), sum(seconds)"
        " FROM merged GROUP BY 1, 2"
    )
    op.execute(
        "UPDATE workers SET attempts = counted.attempts"
        " FROM (SELECT worker_id, count(*) AS attempts FROM attempts GROUP BY worker_id) counted"
        " WHERE counted.worker_id = workers.id"
    )


def downgrade() -> None:
    op.drop_index("ix_witnesses_video_id", table_name="witnesses")
    op.drop_index("ix_tasks_merged", table_name="tasks")
    op.drop_index("ix_attempts_failed", table_name="attempts")
    op.drop_column("workers", "attempts")
    op.drop_table("work_minutes")
    op.drop_table("work_totals")
