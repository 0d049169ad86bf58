"""Make every hot query's cost independent of how many tasks and subtrees are done: partial indexes, room for updates.

Indexes are built CONCURRENTLY only where a table may be large already; the statements below hold a table for as long as
it takes to read it once, which a million rows take seconds for.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

#: Indexes of ``tasks`` by name: columns, and the rows they hold.
_TASKS = {
    "ix_tasks_live_video_id": (["video_id"], "finished_at IS NULL"),
    "ix_tasks_announced": (["id"], "state = 'ready' AND announced_at IS NOT NULL"),
    "ix_tasks_leased": (["worker_id"], "state = 'leased'"),
    "ix_tasks_failed": (["video_id"], "state = 'failed'"),
    "ix_tasks_before_exploration": (["video_id", "kind"], "kind <> 'explore'"),
}
#: Free space for updates that change no indexed column, and when dead rows are removed: a queue's come by the thousand.
_STORAGE = {
    "tasks": "fillfactor = 85, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 10000,"
    " autovacuum_vacuum_cost_delay = 0",
    "attempts": "fillfactor = 85",
    "videos": "fillfactor = 80",
    "bounds": "fillfactor = 80",
    "workers": "fillfactor = 50",
}


def upgrade() -> None:
    op.add_column("workers", sa.Column("video_id", sa.BigInteger(), nullable=True, comment="clip it explored last"))
    op.create_foreign_key(op.f("fk_workers_video_id"), "workers", "videos", ["video_id"], ["id"])
    op.drop_index("ix_tasks_video_id", "tasks")
    op.drop_index("ix_tasks_worker_id", "tasks")
    for name, (columns, rows) in _TASKS.items():
        op.create_index(name, "tasks", columns, unique=False, postgresql_where=sa.text(rows))
    op.drop_index("ix_subtrees_frontier", "subtrees")
    frontier = ["video_id", "floor", "lower", "undecided", "id"]
    op.create_index("ix_subtrees_frontier", "subtrees", frontier, unique=False, postgresql_where=sa.text("NOT split"))
    for table, options in _STORAGE.items():
        op.execute(f"ALTER TABLE {table} SET ({options})")


def downgrade() -> None:
    for table, options in _STORAGE.items():
        names = ", ".join(option.partition("=")[0].strip() for option in options.split(","))
        op.execute(f"ALTER TABLE {table} RESET ({names})")
    op.drop_index("ix_subtrees_frontier", "subtrees")
    frontier = ["video_id", "floor", "id"]
    op.create_index("ix_subtrees_frontier", "subtrees", frontier, unique=False, postgresql_where=sa.text("NOT split"))
    for name in _TASKS:
        op.drop_index(name, "tasks")
    op.create_index("ix_tasks_worker_id", "tasks", ["worker_id", "id"], unique=False)
    op.create_index("ix_tasks_video_id", "tasks", ["video_id"], unique=False)
    op.drop_constraint(op.f("fk_workers_video_id"), "workers")
    op.drop_column("workers", "video_id")
