"""Decides that the rows of jobs and clips have one writer at a time, and how the scheduler learns of new work."""

from __future__ import annotations

import select
import threading
import time

import psycopg2
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

#: Key of the transaction's advisory lock; any constant does.
_WRITER_LOCK = 0x77726974
#: Channel on which ``worker_append``, ``worker_beat`` and ``submit`` tell that there is something to do.
_CHANNEL = "work"
_RETURNED = text("SELECT EXISTS (SELECT FROM tasks WHERE state = 'returned' AND finished_at IS NULL)")
#: Pause before a round that was called for: what comes in meanwhile is dealt with in the same round.
_BREATH_SECONDS = 0.1
#: A wait looks this often whether it should stop.
_LOOK_SECONDS = 0.2


def hold_truth(session: Session) -> None:
    """Wait until no other transaction that holds the truth is open; released at this one's end.

    Without it, a submit could add clips to a job that a round is just finishing, and a cancel could end a clip whose
    result a round is just merging.
    """
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITER_LOCK})


def wake_leader(session: Session) -> None:
    """Have the scheduler begin a round when this transaction is committed."""
    session.execute(text("SELECT pg_notify(:channel, NULL)"), {"channel": _CHANNEL})


def listen(connection: Connection) -> None:
    """Have a connection in autocommit mode hear of new work from now on."""
    connection.execute(text(f"LISTEN {_CHANNEL}"))


def await_work(connection: Connection, stop: threading.Event, seconds: float, *, breath: bool) -> None:
    """Wait until the listening connection hears of new work, at most so many seconds, or until ``stop`` is set.

    With ``breath`` a moment longer, for what else comes in. A result that was appended while an earlier one waited to
    be merged was not told of, so that is asked first; one whose transaction is open still is found after ``seconds``.
    """
    waiting = connection.execute(_RETURNED).scalar()
    driver = connection.connection.driver_connection
    limit = time.monotonic() + seconds
    while driver is not None and not waiting and not driver.notifies and not stop.is_set():
        left = limit - time.monotonic()
        if left <= 0:
            return
        select.select([driver], [], [], min(left, _LOOK_SECONDS))
        try:
            driver.poll()
        except psycopg2.Error:
            return  # The connection is gone, as the next statement on it will say.
    if driver is not None:
        driver.notifies.clear()
    if breath:
        stop.wait(_BREATH_SECONDS)
