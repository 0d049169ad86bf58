"""Decides that the rows of jobs and clips have one writer at a time: a round's step, a submit or a cancel."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.orm import Session

#: Key of the transaction's advisory lock; any constant does.
_WRITER_LOCK = 0x77726974


def hold_truth(session: Session) -> None:
    """Wait until no other transaction that holds the truth is open; released at this one's end.

    Without it, a submit could add clips to a job that a round is just finishing, and a cancel could end a clip whose
    result a round is just merging.
    """
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITER_LOCK})
