"""Decides how a job's progress is put in words: counts with what they are out of, pace, and time left."""

from __future__ import annotations

from common.vocab import Verdict
from scheduler.report.rows import Row
from scheduler.report.tables import duration, explored_of_needed, so_far

_VERDICTS = (Verdict.SOLVED, Verdict.ROBUST, Verdict.OPEN, Verdict.MISCLASSIFIED, Verdict.FAILED)


def verdicts(row: Row) -> str:
    """How many clips have which verdict; ``row`` is of ``job_progress``, here and below."""
    return ", ".join(f"{row[word]:,} {word}" for word in _VERDICTS if row[word])


def clips_finished(row: Row) -> str:
    """How many clips are finished."""
    return f"{row['clips_finished']:,} of {row['clips']:,} clips finished"


def bounded(row: Row) -> str:
    """How many clips have all their tasks before exploration behind them."""
    return f"{row['clips_bounded']:,} attacked and bounded"


def points(row: Row) -> str:
    """How many points are explored, of those that decide every clip that is counted."""
    return f"{explored_of_needed(row)} points{so_far(row)}"


def pace(row: Row) -> str:
    """How fast it goes, and how long it will take."""
    rate, eta = row["points_per_second"], row["eta_seconds"]
    said = "" if rate is None else f", {float(rate):,.0f}/s"
    return said if eta is None else f"{said}, {duration(eta)} left"
