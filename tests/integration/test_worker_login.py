"""A login that is only a member of flowcert_worker suffices for workers."""

import uuid
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from common.store.engine import WORKER_ROLE, open_engine, open_worker_engine
from migrations.schema import require_head
from scheduler.cli.db import give_login


@pytest.fixture
def login_url(engine: sa.Engine, database_url: str) -> Iterator[str]:
    """URL with a login such as `flowcert db login NAME worker` makes."""
    name = f"login_{uuid.uuid4().hex[:8]}"
    give_login(engine, name, WORKER_ROLE, "secret")
    yield sa.make_url(database_url).set(username=name).render_as_string(hide_password=False)
    with engine.begin() as connection:
        connection.execute(sa.text(f"DROP ROLE {name}"))


def test_the_login_may_do_what_workers_do(login_url: str) -> None:
    engine = open_worker_engine(login_url)
    require_head(engine)
    beat = sa.text("SELECT worker_beat('w', '{}', NULL, NULL, 60)")
    with engine.begin() as connection:
        assert connection.execute(beat).scalar() == {
            "wanted": True, "recalled": False, "upper": None, "waiting": None, "current": False,
        }  # fmt: skip


@pytest.mark.parametrize("statement", ["UPDATE bounds SET lower = 9", "SELECT * FROM jobs", "SELECT * FROM results"])
def test_the_login_reaches_no_table_even_without_its_role(login_url: str, statement: str) -> None:
    engine = open_engine(login_url)
    with engine.connect() as connection, pytest.raises(ProgrammingError, match="permission denied"):
        connection.execute(sa.text(f"RESET ROLE; {statement}"))
    engine.dispose()
