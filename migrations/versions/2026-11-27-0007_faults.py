"""Keep which version of the program may claim tasks, and find the tasks that a worker's host could not do."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_OUTCOMES = "returned, failed, expired or late"


def upgrade() -> None:
    # The upgrade that runs this revision writes the one row anew.
    op.execute("DELETE FROM schema_objects")
    op.add_column(
        "schema_objects",
        sa.Column(
            "program", sa.Text(), nullable=False, comment="common.program of the version whose workers may claim"
        ),
    )
    op.alter_column(
        "attempts",
        "outcome",
        existing_type=sa.Text(),
        existing_nullable=True,
        existing_comment=_OUTCOMES,
        comment="returned, failed, expired, late or refused",
    )
    op.create_index(
        "ix_attempts_refused",
        "attempts",
        ["worker_id", "task_id"],
        postgresql_where=sa.text("outcome = 'refused'"),
    )


def downgrade() -> None:
    op.drop_index("ix_attempts_refused", table_name="attempts")
    op.alter_column(
        "attempts",
        "outcome",
        existing_type=sa.Text(),
        existing_nullable=True,
        existing_comment="returned, failed, expired, late or refused",
        comment=_OUTCOMES,
    )
    op.drop_column("schema_objects", "program")
