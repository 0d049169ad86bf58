"""Opens the database: one engine a process, created after any fork, with time-outs for each role."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError

from common.errors import InputError

WORKER_ROLE = "flowcert_worker"
_SECONDS = 1000
#: A server that is silent for so long, or does not acknowledge what was sent, is away: the machine, or the network.
_KEEPALIVE: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30 * _SECONDS,
}


def _url(text: str) -> URL:
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise InputError("FLOWCERT_DATABASE_URL", "is not an SQLAlchemy database URL") from error
    # Plain postgresql:// is what most people write; the driver is ours to choose.
    return url.set(drivername="postgresql+psycopg2") if url.drivername in ("postgres", "postgresql") else url


def open_engine(url: str) -> Engine:
    """Open an engine for the scheduler and the command line."""
    return create_engine(
        _url(url),
        pool_pre_ping=True,
        pool_size=2,
        connect_args={
            "application_name": "flowcert",
            "options": f"-c lock_timeout={10 * _SECONDS} -c idle_in_transaction_session_timeout={60 * _SECONDS}",
            **_KEEPALIVE,
        },
    )


def open_worker_engine(url: str) -> Engine:
    """Open an engine whose sessions act as the narrow worker role; it keeps one connection.

    A new connection for each statement costs as much as a short task's book-keeping: several milliseconds, and a
    server process. A beat that comes while the connection is in use opens a second one, for that moment only.
    """
    return create_engine(
        _url(url),
        pool_pre_ping=True,
        pool_size=1,
        max_overflow=1,
        connect_args={
            "application_name": "flowcert-worker",
            "options": f"-c role={WORKER_ROLE} -c statement_timeout={30 * _SECONDS} -c lock_timeout={5 * _SECONDS}",
            **_KEEPALIVE,
        },
    )
