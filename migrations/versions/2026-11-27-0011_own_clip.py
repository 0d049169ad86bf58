"""Find the announced tasks of one clip without passing those of all others: most claims ask for just them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_ANNOUNCED = sa.text("state = 'ready' AND announced_at IS NOT NULL")


def upgrade() -> None:
    op.drop_index("ix_tasks_announced", table_name="tasks")
    op.create_index("ix_tasks_announced", "tasks", ["video_id", "id"], postgresql_where=_ANNOUNCED)


def downgrade() -> None:
    op.drop_index("ix_tasks_announced", table_name="tasks")
    op.create_index("ix_tasks_announced", "tasks", ["id"], postgresql_where=_ANNOUNCED)
