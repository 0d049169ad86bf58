"""Create every table.

Rules: never lock a large table for long (add columns NULL or with a constant default, build indexes CONCURRENTLY),
expand first and contract in a later release, and copy what you need here: a migration is frozen and imports neither
the tables nor the view files, which will go on changing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 of the spec: a repeated submit finds its job"),
        sa.Column("spec", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="common.jobspec.JobSpec"),
        sa.Column(
            "budget_points", sa.BigInteger(), nullable=False, comment="points a clip may cost before it is left open"
        ),
        sa.Column("status", sa.Text(), server_default="running", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(status <> 'running') = (finished_at IS NOT NULL)", name=op.f("ck_jobs_finished_when_finished")
        ),
        sa.CheckConstraint("status IN ('running', 'done', 'cancelled')", name=op.f("ck_jobs_status_known")),
        sa.CheckConstraint("budget_points > 0", name=op.f("ck_jobs_budget_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("digest", name=op.f("uq_jobs_digest")),
    )
    op.create_table(
        "schema_objects",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_schema_objects")),
    )
    op.create_table(
        "workers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("info", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="common.wire.WorkerInfo"),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    op.create_table(
        "videos",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("verdict", sa.Text(), server_default="open", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True, comment="why it failed, or why it was left open"),
        sa.Column("predicted", sa.Text(), nullable=True),
        sa.Column("margin", sa.Double(), nullable=True, comment="margin of the unchanged clip, in logits"),
        sa.Column("clip_digest", sa.Text(), nullable=True),
        sa.Column(
            "region_sizes",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="pixels per region and flow, run-length encoded",
        ),
        sa.Column("radius_cost", sa.BigInteger(), nullable=True, comment="greatest cost within the radius"),
        sa.Column("points_total", sa.Numeric(), nullable=True, comment="grid points within the radius, exact"),
        sa.Column("points_needed", sa.Numeric(), nullable=True, comment="grid points that decide the clip, exact"),
        sa.Column("seconds", sa.Double(), server_default="0", nullable=False, comment="worker time spent, in seconds"),
        sa.Column(
            "points_explored",
            sa.BigInteger(),
            server_default="0",
            nullable=False,
            comment="grid points evaluated by exploration",
        ),
        sa.Column("floor", sa.BigInteger(), nullable=True, comment="costs below it were proved by earlier levels"),
        sa.Column("threshold", sa.BigInteger(), nullable=True, comment="costs from it on belong to later levels"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("prepared_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(prepared_at IS NOT NULL) = (clip_digest IS NOT NULL)"
            " AND (prepared_at IS NOT NULL OR status IN ('pending', 'failed', 'cancelled'))",
            name=op.f("ck_videos_prepared_when_prepared"),
        ),
        sa.CheckConstraint(
            "(status = 'failed') = (verdict = 'failed' AND reason IS NOT NULL)", name=op.f("ck_videos_failed_says_why")
        ),
        sa.CheckConstraint(
            "(status IN ('done', 'failed', 'cancelled')) = (finished_at IS NOT NULL)",
            name=op.f("ck_videos_finished_when_finished"),
        ),
        sa.CheckConstraint("margin > '-Infinity' AND margin < 'Infinity'", name=op.f("ck_videos_margin_finite")),
        sa.CheckConstraint("seconds >= 0 AND seconds < 'Infinity'", name=op.f("ck_videos_seconds_finite")),
        sa.CheckConstraint(
            "status IN ('pending', 'prepared', 'exploring', 'done', 'failed', 'cancelled')",
            name=op.f("ck_videos_status_known"),
        ),
        sa.CheckConstraint("verdict <> 'misclassified' OR predicted <> label", name=op.f("ck_videos_misclassified_is")),
        sa.CheckConstraint(
            "verdict IN ('open', 'solved', 'robust', 'misclassified', 'failed')", name=op.f("ck_videos_verdict_known")
        ),
        sa.CheckConstraint("(floor IS NULL) = (threshold IS NULL)", name=op.f("ck_videos_level_has_threshold")),
        sa.CheckConstraint("0 <= floor AND floor < threshold", name=op.f("ck_videos_level_in_order")),
        sa.CheckConstraint(
            "0 <= points_explored AND 0 <= points_needed AND points_needed <= points_total",
            name=op.f("ck_videos_points"),
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_videos_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_videos")),
    )
    op.create_index(
        "ix_videos_unfinished",
        "videos",
        ["job_id", "id"],
        unique=False,
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_index("uq_videos_job_id_path", "videos", ["job_id", "path"], unique=True)
    op.create_table(
        "bound_events",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("video_id", sa.BigInteger(), nullable=False),
        sa.Column("lower", sa.BigInteger(), nullable=False),
        sa.Column("upper", sa.BigInteger(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(["video_id"], ["videos.id"], name=op.f("fk_bound_events_video_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bound_events")),
    )
    op.create_index("ix_bound_events_video_id", "bound_events", ["video_id", "id"], unique=False)
    op.create_table(
        "bounds",
        sa.Column("video_id", sa.BigInteger(), nullable=False),
        sa.Column("lower", sa.BigInteger(), nullable=False, comment="no adversarial grid point costs less"),
        sa.Column(
            "upper", sa.BigInteger(), nullable=True, comment="cost of the best replayed witness; NULL: none known"
        ),
        sa.Column("lower_guarantee", sa.Text(), server_default="grid", nullable=False),
        sa.CheckConstraint("lower_guarantee = 'grid'", name=op.f("ck_bounds_lower_guarantee_known")),
        sa.CheckConstraint("0 <= lower AND lower <= upper", name=op.f("ck_bounds_lower_at_most_upper")),
        sa.ForeignKeyConstraint(["video_id"], ["videos.id"], name=op.f("fk_bounds_video_id")),
        sa.PrimaryKeyConstraint("video_id", name=op.f("pk_bounds")),
    )
    op.create_table(
        "subtrees",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("video_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "prefix", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="the node's point, sparse"
        ),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("floor", sa.BigInteger(), nullable=False, comment="the level's floor: costs below are proved"),
        sa.Column("threshold", sa.BigInteger(), nullable=False, comment="the level's threshold"),
        sa.Column("lower", sa.BigInteger(), nullable=False, comment="no adversarial point of the subtree costs less"),
        sa.Column(
            "undecided",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="a point at lower is too close to call",
        ),
        sa.Column(
            "split", sa.Boolean(), server_default=sa.text("false"), nullable=False, comment="replaced by its parts"
        ),
        sa.CheckConstraint("0 <= first AND first < last", name=op.f("ck_subtrees_interval_not_empty")),
        sa.CheckConstraint("floor <= lower AND lower <= threshold", name=op.f("ck_subtrees_lower_within_level")),
        sa.ForeignKeyConstraint(["video_id"], ["videos.id"], name=op.f("fk_subtrees_video_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subtrees")),
    )
    op.create_index(
        "ix_subtrees_frontier",
        "subtrees",
        ["video_id", "floor", "id"],
        unique=False,
        postgresql_where=sa.text("NOT split"),
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("video_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subtree_id", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), server_default="ready", nullable=False),
        sa.Column("attempt", sa.BigInteger(), server_default="0", nullable=False, comment="attempts begun"),
        sa.Column("worker_id", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True, comment="why its last attempt failed"),
        sa.Column("announced_at", sa.DateTime(timezone=True), nullable=True, comment="when its message was last sent"),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(kind = 'explore') = (subtree_id IS NOT NULL)", name=op.f("ck_tasks_explore_has_subtree")),
        sa.CheckConstraint(
            "(state = 'leased') = (lease_until IS NOT NULL AND worker_id IS NOT NULL)",
            name=op.f("ck_tasks_leased_has_lease"),
        ),
        sa.CheckConstraint(
            "(state IN ('merged', 'failed', 'cancelled')) = (finished_at IS NOT NULL)",
            name=op.f("ck_tasks_finished_when_finished"),
        ),
        sa.CheckConstraint("kind IN ('prepare', 'attack', 'explore')", name=op.f("ck_tasks_kind_known")),
        sa.CheckConstraint("state <> 'failed' OR reason IS NOT NULL", name=op.f("ck_tasks_failed_says_why")),
        sa.CheckConstraint(
            "state IN ('ready', 'leased', 'returned', 'merged', 'failed', 'cancelled')",
            name=op.f("ck_tasks_state_known"),
        ),
        sa.ForeignKeyConstraint(["subtree_id"], ["subtrees.id"], name=op.f("fk_tasks_subtree_id")),
        sa.ForeignKeyConstraint(["video_id"], ["videos.id"], name=op.f("fk_tasks_video_id")),
        sa.ForeignKeyConstraint(["worker_id"], ["workers.id"], name=op.f("fk_tasks_worker_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
    )
    op.create_index(
        "ix_tasks_live", "tasks", ["state", "id"], unique=False, postgresql_where=sa.text("finished_at IS NULL")
    )
    op.create_index("ix_tasks_video_id", "tasks", ["video_id"], unique=False)
    op.create_index("ix_tasks_worker_id", "tasks", ["worker_id", "id"], unique=False)
    op.create_index(
        "uq_tasks_live_subtree",
        "tasks",
        ["subtree_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('ready', 'leased', 'returned')"),
    )
    op.create_index(
        "uq_tasks_live_video",
        "tasks",
        ["video_id"],
        unique=True,
        postgresql_where=sa.text("state IN ('ready', 'leased', 'returned') AND kind <> 'explore'"),
    )
    op.create_table(
        "attempts",
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("worker_id", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True, comment="returned, failed, expired or late"),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name=op.f("ck_attempts_ended_has_outcome")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_attempts_task_id")),
        sa.ForeignKeyConstraint(["worker_id"], ["workers.id"], name=op.f("fk_attempts_worker_id")),
        sa.PrimaryKeyConstraint("task_id", "attempt", name=op.f("pk_attempts")),
    )
    op.create_index("ix_attempts_worker_id", "attempts", ["worker_id"], unique=False)
    op.create_table(
        "results",
        sa.Column("task_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.BigInteger(), nullable=False),
        sa.Column("worker_id", sa.Text(), nullable=False),
        sa.Column(
            "payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="common.wire result document"
        ),
        sa.Column("seconds", sa.Double(), nullable=False, comment="worker time spent, in seconds"),
        sa.Column("appended_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("seconds >= 0 AND seconds < 'Infinity'", name=op.f("ck_results_seconds_finite")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_results_task_id")),
        sa.ForeignKeyConstraint(["worker_id"], ["workers.id"], name=op.f("fk_results_worker_id")),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_results")),
    )
    op.create_index("ix_results_appended_at", "results", ["appended_at"], unique=False)
    op.create_table(
        "witnesses",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("video_id", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False, comment="the task that found it"),
        sa.Column("point", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("replayed", sa.Boolean(), nullable=False),
        sa.Column("margin", sa.Double(), nullable=False, comment="margin of the replay, in float64 logits"),
        sa.Column("predicted", sa.Text(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("margin > '-Infinity' AND margin < 'Infinity'", name=op.f("ck_witnesses_margin_finite")),
        sa.CheckConstraint("NOT replayed OR margin < 0", name=op.f("ck_witnesses_replayed_is_adversarial")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_witnesses_task_id")),
        sa.ForeignKeyConstraint(["video_id"], ["videos.id"], name=op.f("fk_witnesses_video_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_witnesses")),
        sa.UniqueConstraint("task_id", name=op.f("uq_witnesses_task_id")),
    )


def downgrade() -> None:
    op.drop_table("witnesses")
    op.drop_index("ix_results_appended_at", table_name="results")
    op.drop_table("results")
    op.drop_index("ix_attempts_worker_id", table_name="attempts")
    op.drop_table("attempts")
    op.drop_index(
        "uq_tasks_live_video",
        table_name="tasks",
        postgresql_where=sa.text("state IN ('ready', 'leased', 'returned') AND kind <> 'explore'"),
    )
    op.drop_index(
        "uq_tasks_live_subtree",
        table_name="tasks",
        postgresql_where=sa.text("state IN ('ready', 'leased', 'returned')"),
    )
    op.drop_index("ix_tasks_worker_id", table_name="tasks")
    op.drop_index("ix_tasks_video_id", table_name="tasks")
    op.drop_index("ix_tasks_live", table_name="tasks", postgresql_where=sa.text("finished_at IS NULL"))
    op.drop_table("tasks")
    op.drop_index("ix_subtrees_frontier", table_name="subtrees", postgresql_where=sa.text("NOT split"))
    op.drop_table("subtrees")
    op.drop_table("bounds")
    op.drop_index("ix_bound_events_video_id", table_name="bound_events")
    op.drop_table("bound_events")
    op.drop_index("uq_videos_job_id_path", table_name="videos")
    op.drop_index("ix_videos_unfinished", table_name="videos", postgresql_where=sa.text("finished_at IS NULL"))
    op.drop_table("videos")
    op.drop_table("workers")
    op.drop_table("schema_objects")
    op.drop_table("jobs")
