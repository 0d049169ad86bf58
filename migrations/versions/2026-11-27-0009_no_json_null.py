"""Make what is not known NULL: JSON's null, as it was stored until now, is a value to every question in SQL."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE real_witnesses SET safe_point = NULL WHERE jsonb_typeof(safe_point) = 'null'")
    op.execute("UPDATE videos SET closest_point = NULL WHERE jsonb_typeof(closest_point) = 'null'")
    op.execute("UPDATE videos SET region_sizes = NULL WHERE jsonb_typeof(region_sizes) = 'null'")


def downgrade() -> None:
    """NULL was allowed before, too."""
