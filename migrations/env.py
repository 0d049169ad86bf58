"""Runs Alembic on the connection handed over by migrations.schema, in one transaction a revision."""

from __future__ import annotations

from alembic import context

from common.store.tables import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
