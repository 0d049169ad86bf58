"""Make the role of dashboards: it may look at views, briefly and without changing anything."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Roles belong to the whole server: another database may have made it, and two may make it at once. What is set here
    # holds for sessions that log in as this role; members of a role do not inherit its settings.
    op.execute("""
        DO $$ BEGIN
            CREATE ROLE flowcert_dashboard NOLOGIN;
            ALTER ROLE flowcert_dashboard SET default_transaction_read_only = on;
            ALTER ROLE flowcert_dashboard SET statement_timeout = '5s';
            ALTER ROLE flowcert_dashboard SET idle_in_transaction_session_timeout = '30s';
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END $$
    """)


def downgrade() -> None:
    # Other databases of the server may use the role; it owns nothing here, and what was granted to it goes.
    op.execute("DROP OWNED BY flowcert_dashboard")
