"""Keep the hash of each clip's file as it was prepared, so that results can be told apart when files change."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "videos",
        sa.Column("content_sha256", sa.Text(), nullable=True, comment="SHA-256 of the file as it was prepared"),
    )
    name = op.f("ck_videos_content_sha256_hex")
    op.create_check_constraint(name, "videos", "content_sha256 ~ '^[0-9a-f]{64}$'")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_videos_content_sha256_hex"), "videos")
    op.drop_column("videos", "content_sha256")
