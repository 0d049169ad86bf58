"""`flowcert db check` says whether a process could work here; `db login` makes logins that may do one thing."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import ProgrammingError

from common.store.engine import open_engine
from scheduler.cli.db import give_login

PASSWORD = "it's %s :x 7"


@pytest.fixture
def names(engine: sa.Engine) -> Iterator[list[str]]:
    """Names of two logins that nobody has; dropped at the end. The read-only role is there in any case."""
    made = [f"login_{uuid.uuid4().hex[:8]}" for _ in range(2)]
    with engine.begin() as connection:
        if not connection.scalar(sa.text("SELECT 1 FROM pg_roles WHERE rolname = 'flowcert_dashboard'")):
            connection.execute(sa.text("CREATE ROLE flowcert_dashboard NOLOGIN"))
    yield made
    with engine.begin() as connection:
        for name in made:
            connection.execute(sa.text(f"DROP ROLE IF EXISTS {name}"))


def secret(engine: sa.Engine, name: str) -> str:
    with engine.connect() as connection:
        return connection.scalar(sa.text("SELECT rolpassword FROM pg_authid WHERE rolname = :name"), {"name": name})


def test_check_succeeds_where_a_process_could_work(flowcert: Callable[..., Any], engine: sa.Engine) -> None:
    assert flowcert("db", "check")[0] == 0
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE schema_objects SET digest = 'older'"))
    status, _, notes = flowcert("db", "check")
    assert status == 2
    assert "run: flowcert db upgrade" in notes


def test_check_fails_without_a_server(flowcert: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWCERT_BROKER_URL", "redis://127.0.0.1:1/0")
    assert flowcert("db", "check")[0] == 2


@pytest.mark.parametrize(("role", "member"), [("worker", "flowcert_worker"), ("dashboard", "flowcert_dashboard")])
def test_a_login_is_made_and_given_a_new_password(
    flowcert: Callable[..., Any], engine: sa.Engine, database_url: str, names: list[str],
    monkeypatch: pytest.MonkeyPatch, role: str, member: str,
) -> None:  # fmt: skip
    secrets = []
    for password in (PASSWORD, "another"):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
        status, _, notes = flowcert("db", "login", names[0], role)
        assert (status, notes.strip()) == (0, f"{names[0]} may log in and act as {member}")
        secrets.append(secret(engine, names[0]))
    assert all(found.startswith("SCRAM-SHA-256$") for found in secrets)
    assert secrets[0] != secrets[1]
    other = open_engine(sa.make_url(database_url).set(username=names[0]).render_as_string(hide_password=False))
    with other.connect() as connection:
        assert connection.scalar(sa.text("SELECT pg_has_role(:member, 'member')"), {"member": member})
        with pytest.raises(ProgrammingError, match="permission denied"):
            connection.execute(sa.text("UPDATE bounds SET lower = 9"))
    other.dispose()


def test_another_roles_password_is_not_changed(
    flowcert: Callable[..., Any], engine: sa.Engine, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    give_login(engine, names[0], "flowcert_worker", PASSWORD)
    before = secret(engine, names[0])
    for name in (names[0], str(engine.url.username)):
        monkeypatch.setattr("sys.stdin", io.StringIO("mine\n"))
        status, _, notes = flowcert("db", "login", name, "dashboard")
        assert status == 2
        assert f"NAME: {name} is another role of this database server" in notes
    assert secret(engine, names[0]) == before


def test_a_login_without_a_password_is_refused(
    flowcert: Callable[..., Any], names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    status, _, notes = flowcert("db", "login", names[0], "worker")
    assert status == 2
    assert "standard input: has no password" in notes
