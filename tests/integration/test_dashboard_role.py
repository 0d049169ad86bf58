"""Whoever logs in as flowcert_dashboard, as docs/security.md says, sees every view and reaches nothing else."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, InternalError, OperationalError, ProgrammingError

from common.store.tables import Base
from migrations.schema import object_files, upgrade
from tests.integration.test_database_refuses import LEGAL

SECURITY = Path(__file__).parents[2] / "docs" / "security.md"
VIEWS = sorted(path.stem for path in object_files() if path.parent.name == "views")
FUNCTIONS = sorted(path.stem for path in object_files() if path.parent.name == "functions" and path.stem != "grants")
#: What views call, and so whoever looks at them.
NEEDED = {"flow_distance", "median", "wall_seconds"}

#: What it tries, and what keeps it from that even when its transactions may write.
CHANGES = {
    "UPDATE worker_activity SET host = 'x'": "cannot update view",
    "DELETE FROM worker_activity": "cannot delete from view",
    "CREATE TABLE mine (a int)": "permission denied",
    "CREATE VIEW mine AS SELECT 1": "permission denied",
    "SET ROLE flowcert_worker": "permission denied",
    "SET ROLE flowcert": "permission denied",
    "COPY (SELECT 1) TO PROGRAM 'true'": "permission denied",
    "SELECT pg_read_file('/etc/passwd')": "permission denied",
}


@pytest.fixture
def dashboard(engine: sa.Engine, database_url: str) -> Iterator[sa.Engine]:
    """A session as the document's own statement lets it in, on a database with a row of everything."""
    (statement,) = re.findall(r"^ALTER ROLE flowcert_dashboard .*;$", SECURITY.read_text("utf-8"), re.MULTILINE)
    with engine.begin() as connection:
        connection.execute(sa.text(LEGAL))
        connection.execute(sa.text(statement))
    opened = sa.create_engine(sa.make_url(database_url).set(username="flowcert_dashboard"), poolclass=sa.NullPool)
    yield opened
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER ROLE flowcert_dashboard NOLOGIN PASSWORD NULL"))


def attempt(dashboard: sa.Engine, statement: str, mode: str = "off") -> None:
    """Execute a statement; reading only is the session's own choice, which it may revoke."""
    with dashboard.connect() as connection:
        connection.execute(sa.text(f"SET default_transaction_read_only = {mode}"))
        connection.commit()
        connection.execute(sa.text(statement))
        connection.commit()


def test_it_sees_every_view(dashboard: sa.Engine) -> None:
    with dashboard.connect() as connection:
        for view in VIEWS:
            assert connection.execute(sa.text(f"SELECT * FROM {view}")).keys()


def test_it_sees_them_again_after_an_upgrade(dashboard: sa.Engine, engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE schema_objects SET digest = 'older'"))
    upgrade(engine)
    with dashboard.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM video_bounds")).scalar() == 2


def test_it_reaches_no_table(dashboard: sa.Engine) -> None:
    for table in (*Base.metadata.tables, "alembic_version"):
        for statement in (f"SELECT * FROM {table}", f"DELETE FROM {table}", f"LOCK TABLE {table}"):
            with pytest.raises(ProgrammingError, match="permission denied"):
                attempt(dashboard, statement)


def test_it_calls_no_function_but_those_of_views(dashboard: sa.Engine) -> None:
    allowed = sa.text(
        "SELECT p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
        " WHERE n.nspname = 'public' AND has_function_privilege(p.oid, 'EXECUTE')"
    )
    with dashboard.connect() as connection:
        assert set(connection.scalars(allowed)) == NEEDED < set(FUNCTIONS)
        with pytest.raises(ProgrammingError, match="permission denied for function worker_beat"):
            connection.execute(sa.text("SELECT worker_beat('w', '{}', NULL, NULL, 60)"))


def test_it_changes_nothing_and_becomes_nobody_else(dashboard: sa.Engine) -> None:
    for statement, problem in CHANGES.items():
        with pytest.raises(DBAPIError, match=problem):
            attempt(dashboard, statement)
    for statement in list(CHANGES)[2:4]:
        with pytest.raises(InternalError, match="read-only transaction"):
            attempt(dashboard, statement, "on")


def test_its_transactions_read_only_and_are_cut_off(dashboard: sa.Engine) -> None:
    with dashboard.connect() as connection:
        assert connection.execute(sa.text("SHOW transaction_read_only")).scalar() == "on"
        assert connection.execute(sa.text("SHOW statement_timeout")).scalar() == "5s"
        with pytest.raises(OperationalError, match="canceling statement due to statement timeout"):
            connection.execute(sa.text("SELECT pg_sleep(60) FROM video_bounds"))


def test_nobody_logs_in_as_it_before_somebody_says_so(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        role = "SELECT rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls FROM pg_roles WHERE rolname = :r"
        assert tuple(connection.execute(sa.text(role), {"r": "flowcert_dashboard"}).one()) == (False,) * 5
