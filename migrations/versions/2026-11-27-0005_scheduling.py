"""Let jobs have a priority, pauses, generations, and budgets of time; let tasks know their job."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_BEFORE = {
    ("jobs", "status_known"): "status IN ('running', 'done', 'cancelled')",
    ("jobs", "finished_when_finished"): "(status <> 'running') = (finished_at IS NOT NULL)",
    ("videos", "prepared_when_prepared"): (
        "(prepared_at IS NOT NULL) = (clip_digest IS NOT NULL) AND"
        " (prepared_at IS NOT NULL OR status IN ('pending', 'failed', 'cancelled'))"
    ),
}
_NOW = {
    ("jobs", "status_known"): "status IN ('running', 'paused', 'done', 'cancelled')",
    ("jobs", "finished_when_finished"): "(status IN ('done', 'cancelled')) = (finished_at IS NOT NULL)",
    ("videos", "prepared_when_prepared"): (
        "(prepared_at IS NOT NULL) = (clip_digest IS NOT NULL) AND"
        " (prepared_at IS NOT NULL OR status IN ('pending', 'failed', 'cancelled')"
        " OR (status = 'done' AND verdict = 'open'))"
    ),
}
_NEW = {
    "generation_positive": "generation > 0",
    "budget_clip_seconds_positive": "budget_clip_seconds > 0 AND budget_clip_seconds < 'Infinity'",
    "budget_wall_seconds_positive": "budget_wall_seconds > 0 AND budget_wall_seconds < 'Infinity'",
    "priority_in_range": "priority BETWEEN -1000 AND 1000",
    "ran_seconds_finite": "ran_seconds >= 0 AND ran_seconds < 'Infinity'",
    "clock_stands_unless_running": "clock_since IS NULL OR status = 'running'",
}


def upgrade() -> None:
    _add("generation", sa.BigInteger(), "1, and one more for each rerun of all clips", default="1")
    _add("priority", sa.BigInteger(), "a job of higher priority comes first", default="0")
    _add(
        "budget_clip_seconds",
        sa.Double(),
        "worker time a clip may cost before it is left open, in seconds; NULL: no such limit",
    )
    _add(
        "budget_wall_seconds",
        sa.Double(),
        "time the job may run before its clips are left open, in seconds; NULL: no such limit",
    )
    _add("ran_seconds", sa.Double(), "time it had run when its clock last stopped, in seconds", default="0")
    _add("clock_since", sa.DateTime(timezone=True), "since when its clock runs; NULL: it stands")
    _check(_NOW)
    for name, condition in _NEW.items():
        op.create_check_constraint(op.f(f"ck_jobs_{name}"), "jobs", condition)
    op.drop_constraint(op.f("uq_jobs_digest"), "jobs")
    op.create_unique_constraint(op.f("uq_jobs_digest_generation"), "jobs", ["digest", "generation"])
    op.alter_column(
        "jobs", "digest", comment="SHA-256 of the spec: a repeated submit finds its latest generation",
        existing_comment="SHA-256 of the spec: a repeated submit finds its job",
    )  # fmt: skip
    _know_the_job()
    op.create_index("ix_videos_exploring", "videos", ["job_id", "id"], postgresql_where=sa.text("status = 'exploring'"))


def _know_the_job() -> None:
    op.add_column(
        "tasks",
        sa.Column("job_id", sa.BigInteger(), nullable=True, comment="its clip's job; a trigger fills it in"),
    )
    op.execute("UPDATE tasks SET job_id = videos.job_id FROM videos WHERE videos.id = tasks.video_id")
    op.alter_column("tasks", "job_id", nullable=False)
    op.create_index("ix_tasks_ready", "tasks", ["job_id", "id"], postgresql_where=sa.text("state = 'ready'"))


def downgrade() -> None:
    # The functions of a newer age would look for columns that are gone.
    op.execute("DROP TRIGGER IF EXISTS task_of_job ON tasks")
    op.execute("DROP TRIGGER IF EXISTS stop_clock ON jobs")
    op.drop_index("ix_videos_exploring", "videos")
    op.drop_index("ix_tasks_ready", "tasks")
    op.drop_column("tasks", "job_id")
    op.alter_column(
        "jobs", "digest", comment="SHA-256 of the spec: a repeated submit finds its job",
        existing_comment="SHA-256 of the spec: a repeated submit finds its latest generation",
    )  # fmt: skip
    op.drop_constraint(op.f("uq_jobs_digest_generation"), "jobs")
    op.execute("UPDATE jobs SET digest = digest || '-' || generation WHERE generation > 1")
    op.create_unique_constraint(op.f("uq_jobs_digest"), "jobs", ["digest"])
    for name in _NEW:
        op.drop_constraint(op.f(f"ck_jobs_{name}"), "jobs")
    op.execute("UPDATE jobs SET status = 'running' WHERE status = 'paused'")
    op.execute("UPDATE videos SET status = 'cancelled' WHERE status = 'done' AND prepared_at IS NULL")
    _check(_BEFORE)
    for column in (
        "clock_since", "ran_seconds", "budget_wall_seconds", "budget_clip_seconds", "priority", "generation",
    ):  # fmt: skip
        op.drop_column("jobs", column)


def _add(name: str, kind: sa.types.TypeEngine[object], comment: str, *, default: str | None = None) -> None:
    column = sa.Column(name, kind, nullable=default is None, server_default=default, comment=comment)
    op.add_column("jobs", column)


def _check(rules: dict[tuple[str, str], str]) -> None:
    for (table, rule), condition in rules.items():
        name = op.f(f"ck_{table}_{rule}")
        op.drop_constraint(name, table)
        op.create_check_constraint(name, table, condition)
