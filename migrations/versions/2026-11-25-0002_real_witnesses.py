"""Keep real changes as witnesses beside grid points, and say why a witness was not confirmed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "witnesses", sa.Column("reason", sa.Text(), nullable=True, comment="why its replay did not confirm it")
    )
    op.execute("UPDATE witnesses SET reason = 'its margin on replay is not below zero' WHERE NOT replayed")
    op.create_check_constraint(op.f("ck_witnesses_not_replayed_says_why"), "witnesses", "(replayed) = (reason IS NULL)")
    op.create_table(
        "real_witnesses",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("video_id", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False, comment="the task that found it"),
        sa.Column(
            "moves",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="non-zero coordinates as (coordinate, pixels)",
        ),
        sa.Column("distance", sa.Double(), nullable=False, comment="pixels of the job's norm, rounded up"),
        sa.Column("replayed", sa.Boolean(), nullable=False),
        sa.Column("margin", sa.Double(), nullable=False, comment="margin of the replay, in float64 logits"),
        sa.Column("predicted", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True, comment="why its replay did not confirm it"),
        sa.Column("found_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "margin > '-Infinity' AND margin < 'Infinity'", name=op.f("ck_real_witnesses_margin_finite")
        ),
        sa.CheckConstraint("NOT replayed OR margin < 0", name=op.f("ck_real_witnesses_replayed_is_adversarial")),
        sa.CheckConstraint("distance > 0 AND distance < 'Infinity'", name=op.f("ck_real_witnesses_distance_finite")),
        sa.CheckConstraint("(replayed) = (reason IS NULL)", name=op.f("ck_real_witnesses_not_replayed_says_why")),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_real_witnesses_task_id")),
        sa.ForeignKeyConstraint(["video_id"], ["videos.id"], name=op.f("fk_real_witnesses_video_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_real_witnesses")),
        sa.UniqueConstraint("task_id", name=op.f("uq_real_witnesses_task_id")),
    )
    op.create_index("ix_real_witnesses_video_id", "real_witnesses", ["video_id"])


def downgrade() -> None:
    op.drop_table("real_witnesses")
    op.drop_constraint(op.f("ck_witnesses_not_replayed_says_why"), "witnesses")
    op.drop_column("witnesses", "reason")
