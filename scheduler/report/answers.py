"""Decides which of VNN-COMP's words a clip's verdict is: once for the grid, and once for all real changes.

The question is the same as there: is there an adversarial change within the radius? A clip that is wrong as it is
answers it at distance 0. ``holds`` is only said of what is proved: a Lipschitz constant proves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from common.vocab import Guarantee, Verdict
from scheduler.budgets import out_of_time
from scheduler.report.rows import Row


class Answer(StrEnum):
    """What is known about adversarial changes within a job's radius."""

    HOLDS = "holds"  #: there is none
    VIOLATED = "violated"  #: there is one: a replayed witness, or the unchanged clip itself
    UNKNOWN = "unknown"  #: neither is known, or not yet
    TIMEOUT = "timeout"  #: neither is known, and a budget of time is spent
    ERROR = "error"  #: the clip failed


def with_answers(rows: Sequence[Row]) -> list[Row]:
    """Add to each row of ``video_bounds`` its answers, ``vnncomp_grid`` and ``vnncomp_real``."""
    return [{**row, "vnncomp_grid": on_the_grid(row), "vnncomp_real": for_real_changes(row)} for row in rows]


def on_the_grid(row: Row) -> Answer:
    """The answer for the finite game: grid points within the radius."""
    # No grid witness is beyond the radius: those that a search may report cost less than it.
    proved = row["verdict"] == Verdict.ROBUST and row["fmsr_lower_guarantee"] == Guarantee.GRID
    return _answer(row, holds=proved, violated=row["upper_cost"] is not None)


def for_real_changes(row: Row) -> Answer:
    """The answer for every real change in the span of the features, of at most the radius."""
    certified, nearest = row["certified_radius"], row["msr_upper"]
    violated = row["upper_cost"] is not None or (nearest is not None and nearest <= row["radius"])
    return _answer(row, holds=certified is not None and certified >= row["radius"], violated=violated)


def _answer(row: Row, *, holds: bool, violated: bool) -> Answer:
    if row["verdict"] == Verdict.FAILED:
        return Answer.ERROR
    if row["verdict"] == Verdict.MISCLASSIFIED or violated:
        return Answer.VIOLATED
    if holds:
        return Answer.HOLDS
    return Answer.TIMEOUT if out_of_time(row["reason"]) else Answer.UNKNOWN
