"""Decides which clips of two jobs are the same, and on which of them one job's bounds are certainly the greater.

A job is certainly ahead on a clip only where its lower bound is above the other's upper bound. Two lower bounds say
how far two searches got; which safe radius is greater they do not say. Lower bounds that rest on a Lipschitz constant
decide nothing, and count as 0 here.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from common.vocab import Guarantee, Norm, Verdict
from scheduler.report.rows import Row
from scheduler.report.summary import correct, evaluated

#: Columns of ``video_bounds`` that a paired row has of each job.
_OF_EACH = (
    "predicted", "verdict", "fmsr_lower", "fmsr_lower_guarantee", "fmsr_upper", "msr_lower", "msr_lower_guarantee",
    "msr_upper",
)  # fmt: skip
#: Distances of grid points are rounded to doubles: an upper bound on MSR may be this much more than it says.
_ROUNDED = Fraction(1, 10**9)


class Outcome(StrEnum):
    """Which of two jobs a clip's measure is certainly greater in."""

    A = "a"
    B = "b"
    EQUAL = "equal"  #: both are known exactly, and are the same
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Known:
    """What is proved of a clip's measure: exact numbers of one unit to compare, and pixels to subtract."""

    lower: Fraction
    upper: Fraction | None  #: None: none is known
    beyond: bool  #: whether the measure is more than ``lower``, and not only at least that
    pixels: tuple[float, float]  #: the same bounds, infinite where none is known

    @property
    def exact(self) -> bool:
        """Whether the measure is known exactly."""
        return self.lower == self.upper


@dataclass(frozen=True)
class Matched:
    """Clips of two jobs: those that are the same, as pairs of rows of ``video_bounds``, and how many are not."""

    pairs: Sequence[tuple[Row, Row]]
    only_a: int
    only_b: int
    changed: int  #: clips of the same label and path whose file was another one; they are among the others


def match(a: Sequence[Row], b: Sequence[Row]) -> Matched:
    """Match clips by label and content hash, and by label and path where a hash is not known; in A's order."""
    theirs = {(row["label"], row["video"]): row for row in b}
    found: dict[int, Row] = {}
    changed = 0
    for row in a:
        other = theirs.get((row["label"], row["video"]))
        if other is None:
            continue
        hashes = {row["video_sha256"], other["video_sha256"]} - {None}
        if len(hashes) == 2:
            changed += 1
        else:
            found[row["video_id"]] = other
    taken = {row["video_id"] for row in found.values()}
    by_content: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in reversed(b):
        if row["video_id"] not in taken and row["video_sha256"] is not None:
            by_content[row["label"], row["video_sha256"]].append(row)
    for row in a:
        same = by_content.get((row["label"], row["video_sha256"] or ""))
        if row["video_id"] not in found and same:
            found[row["video_id"]] = same.pop()
    pairs = [(row, found[row["video_id"]]) for row in a if row["video_id"] in found]
    return Matched(pairs, len(a) - len(pairs), len(b) - len(pairs), changed)


def known(row: Row, measure: str) -> Known:
    """What is proved of an evaluated clip's ``measure``, FMSR or MSR; both are 0 for a misclassified one."""
    if not correct(row):
        return Known(Fraction(0), Fraction(0), beyond=False, pixels=(0.0, 0.0))
    return _fmsr(row) if measure == "FMSR" else _msr(row)


def outcome(a: Known, b: Known) -> Outcome:
    """Which of two clips' measures is certainly the greater."""
    if _above(a, b):
        return Outcome.A
    if _above(b, a):
        return Outcome.B
    return Outcome.EQUAL if a.exact and b.exact else Outcome.UNDECIDED


def difference(a: Known, b: Known, radius: float) -> tuple[float, float]:
    """Least and greatest that A's measure less B's can be, in pixels, each taken as at most the ``radius``."""
    (a_lower, a_upper), (b_lower, b_upper) = (
        tuple(min(bound, radius) for bound in known.pixels) for known in (a, b)
    )  # fmt: skip
    return a_lower - b_upper, a_upper - b_lower


def paired_row(a: Row, b: Row, measures: Sequence[str]) -> Row:
    """One row for a clip of both jobs: the bounds of each, and what they decide; None where one was not evaluated."""
    row = {
        "video": a["video"], "video_b": b["video"], "label": a["label"],
        "video_sha256": a["video_sha256"] or b["video_sha256"],
        **{f"{name}_{side}": of[name] for side, of in (("a", a), ("b", b)) for name in _OF_EACH},
    }  # fmt: skip
    both, radius = evaluated(a) and evaluated(b), min(a["radius"], b["radius"])
    for measure in measures:
        name = measure.lower()
        ours, theirs = (known(a, measure), known(b, measure)) if both else (None, None)
        least, most = (None, None) if ours is None or theirs is None else difference(ours, theirs, radius)
        row[f"{name}_outcome"] = None if ours is None or theirs is None else outcome(ours, theirs)
        row |= {f"{name}_difference_at_least": least, f"{name}_difference_at_most": most}
    return row


def _above(one: Known, other: Known) -> bool:
    if other.upper is None:
        return False
    return one.lower > other.upper or (one.beyond and one.lower >= other.upper)


def _fmsr(row: Row) -> Known:
    proved = row["fmsr_lower_guarantee"] == Guarantee.GRID
    power = 2 if row["norm"] == Norm.L2 else 1
    # A double's shortest form is the decimal that was given.
    tau, radius = (Fraction(Decimal(repr(row[name]))) ** power for name in ("tau", "radius"))
    robust = proved and row["verdict"] == Verdict.ROBUST
    lower = radius if robust else tau * row["lower_cost"] if proved and row["lower_cost"] is not None else Fraction(0)
    upper = None if row["upper_cost"] is None else tau * row["upper_cost"]
    pixels = (row["fmsr_lower"] or 0.0 if proved else 0.0, math.inf if upper is None else row["fmsr_upper"])
    return Known(lower, upper, beyond=robust, pixels=pixels)


def _msr(row: Row) -> Known:
    lower, upper = row["certified_radius"] or 0.0, row["msr_upper"]
    most = None if upper is None else Fraction(upper) * (1 + _ROUNDED)
    return Known(Fraction(lower), most, beyond=False, pixels=(lower, math.inf if upper is None else upper))
