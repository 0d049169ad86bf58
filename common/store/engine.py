"""Opens the database: one engine a process, created after any fork, with time-outs for each role."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr
from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError

from common.errors import InputError
from common.store.documents import read_document

WORKER_ROLE = "flowcert_worker"
_SECONDS = 1000
_VARIABLE = "FLOWCERT_DATABASE_URL"
_DRIVER = "postgresql+psycopg2"
#: A server that is silent for so long, or does not acknowledge what was sent, is away: the machine, or the network.
_KEEPALIVE: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30 * _SECONDS,
}


#: What messages may show of a URL's query: where the server is, never how one is let in.
_SHOWN = ("host", "port")


def parse_url(given: str | SecretStr) -> URL:
    """Read a database URL; raises InputError, which shows no part of it, when it is none of PostgreSQL."""
    try:
        url = make_url(given.get_secret_value() if isinstance(given, SecretStr) else given)
    except (ArgumentError, ValueError) as error:
        raise InputError(_VARIABLE, "is not an SQLAlchemy database URL") from error
    # Plain postgresql:// is what most people write; the driver is ours to choose.
    if url.drivername not in ("postgres", "postgresql", _DRIVER):
        raise InputError(_VARIABLE, "must be a PostgreSQL URL, such as postgresql://user@host/name")
    if "@" in (url.host or ""):
        # What follows the first @ would be looked up as a host's name, and shown in the message that there is none.
        raise InputError(_VARIABLE, "has an @ in its password; write it as %40")
    return url.set(drivername=_DRIVER)


def shown(url: URL) -> str:
    """A database URL as messages show it: without its password, wherever that stands."""
    query = {name: value for name, value in url.query.items() if name in _SHOWN}
    return url.set(query=query).render_as_string(hide_password=True)


def open_engine(url: str | SecretStr) -> Engine:
    """Open an engine for the scheduler and the command line."""
    return create_engine(
        parse_url(url),
        json_deserializer=read_document,
        pool_pre_ping=True,
        pool_size=2,
        connect_args={
            "application_name": "flowcert",
            "options": f"-c lock_timeout={10 * _SECONDS} -c idle_in_transaction_session_timeout={60 * _SECONDS}",
            **_KEEPALIVE,
        },
    )


def open_worker_engine(url: str | SecretStr) -> Engine:
    """Open an engine whose sessions act as the narrow worker role; it keeps one connection.

    A new connection for each statement costs as much as a short task's book-keeping: several milliseconds, and a
    server process. A beat that comes while the connection is in use opens a second one, for that moment only.
    """
    return create_engine(
        parse_url(url),
        json_deserializer=read_document,
        pool_pre_ping=True,
        pool_size=1,
        max_overflow=1,
        connect_args={
            "application_name": "flowcert-worker",
            "options": f"-c role={WORKER_ROLE} -c statement_timeout={30 * _SECONDS} -c lock_timeout={5 * _SECONDS}",
            **_KEEPALIVE,
        },
    )
