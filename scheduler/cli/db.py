"""The commands ``flowcert db``: bring the database to head, check it and the broker, give a role a login."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any

import sqlalchemy as sa
import typer
from psycopg2.extensions import encrypt_password

from common.errors import InputError
from common.settings import read_settings
from common.store.engine import WORKER_ROLE
from migrations.schema import upgrade as upgrade_schema
from scheduler.cli.output import note
from scheduler.cli.servers import open_servers


class Role(StrEnum):
    """What a login may do."""

    WORKER = "worker"
    DASHBOARD = "dashboard"


_ROLES = {Role.WORKER: WORKER_ROLE, Role.DASHBOARD: "flowcert_dashboard"}


def upgrade() -> None:
    """Bring the database to the schema of this program; embedded ones are upgraded unasked."""
    with open_servers(read_settings(), at_head=False) as servers:
        upgrade_schema(servers.engine)
    note("the database is at head")


def check() -> None:
    """Succeed when database and broker can be reached and are fit for use: a health check."""
    with open_servers(read_settings()):
        note("the database is at head, and the broker keeps its messages")


def login(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The login; made, or given a new password.")],
    role: Annotated[Role, typer.Argument(metavar="ROLE", help="worker: four functions; dashboard: reads views.")],
) -> None:
    """Let a login act as one role and nothing else; its password is read from standard input, one line."""
    password = sys.stdin.readline().strip()
    if not password:
        raise InputError("standard input", "has no password; say: printf '%s\\n' \"$PASSWORD\" | flowcert db login ...")
    with open_servers(read_settings()) as servers:
        give_login(servers.engine, name, _ROLES[role], password)
    note(f"{name} may log in and act as {_ROLES[role]}")


def give_login(engine: sa.Engine, name: str, role: str, password: str) -> None:
    """Make a login that is a member of ``role`` alone, or change the password of one that is.

    Raises InputError for a name that something else has: another role's password is not changed by mistake.
    """
    with engine.begin() as connection:
        roles = connection.scalar(
            sa.text(
                "SELECT array_agg(coalesce(m.roleid::regrole::text, '')) FROM pg_roles r"
                " LEFT JOIN pg_auth_members m ON m.member = r.oid WHERE r.rolname = :name"
            ),
            {"name": name},
        )
        if roles not in (None, [role]):
            raise InputError("NAME", f"{name} is another role of this database server; choose another name")
        driver: Any = connection.connection.dbapi_connection
        # Encrypted here, so that no log of the server can show it.
        secret = encrypt_password(password, name, scope=driver, algorithm="scram-sha-256")
        verb = "CREATE" if roles is None else "ALTER"
        for form in (f"{verb} ROLE %1$I LOGIN PASSWORD %3$L", "GRANT %2$I TO %1$I"):
            values = {"form": form, "name": name, "role": role, "secret": secret}
            # Names cannot be parameters of such statements: the server quotes them.
            statement = connection.scalar(sa.text("SELECT format(:form, :name, :role, :secret)"), values)
            connection.execution_options(no_parameters=True).exec_driver_sql(str(statement))
