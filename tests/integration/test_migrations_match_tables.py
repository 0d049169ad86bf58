"""The revisions must build exactly the tables that common.store.tables declares, and go all the way back."""

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from common.store.tables import Base
from migrations.schema import alembic_config, object_files


def test_the_revisions_build_the_declared_tables(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_a_missing_column_would_be_noticed(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE witnesses DROP COLUMN predicted CASCADE"))
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    assert [(kind, table, column.name) for kind, _, table, column in differences] == [
        ("add_column", "witnesses", "predicted")
    ]


def test_the_database_enforces_every_declared_check(engine: sa.Engine) -> None:
    declared = {
        str(constraint.name)
        for table in Base.metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, sa.CheckConstraint)
    }
    with engine.connect() as connection:
        installed = set(connection.scalars(sa.text("SELECT conname FROM pg_constraint WHERE contype = 'c'")))
    assert declared
    assert declared <= installed


def test_the_revisions_can_be_undone(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        for file in reversed(object_files()):
            if file.parent.name == "views":
                connection.execute(sa.text(f"DROP VIEW {file.stem}"))
        command.downgrade(alembic_config(connection), "base")
        assert sa.inspect(connection).get_table_names() == ["alembic_version"]
