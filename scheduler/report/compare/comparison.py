"""Decides what a comparison of two jobs consists of, and how it is written as one object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import Engine

from common.errors import InputError
from common.jobspec import JobSpec
from scheduler.report.compare.pairs import Matched, match, paired_row
from scheduler.report.compare.settings import differences, remarks, require_comparable
from scheduler.report.compare.statistics import RESAMPLES, Compared, compared
from scheduler.report.rows import Row, clip_rows, job_progress, job_row
from scheduler.report.summary import CONFIDENCE, JOB, SEED, correct, evaluated


@dataclass(frozen=True)
class Comparison:
    """Two jobs beside each other."""

    a: Row  #: of ``job_progress``
    b: Row
    differences: Sequence[Row]
    remarks: Sequence[str]
    matched: Matched
    rows: Sequence[Row]  #: one for each clip of both
    measures: Sequence[Compared]  #: over the clips that both evaluated

    @property
    def correct(self) -> Row:
        """On how many of the clips that both evaluated both, one or none of the models are right."""
        rights = [(correct(a), correct(b)) for a, b in self.matched.pairs if evaluated(a) and evaluated(b)]
        cases = {"both": (True, True), "only_a": (True, False), "only_b": (False, True), "neither": (False, False)}
        return {name: rights.count(case) for name, case in cases.items()}

    @property
    def radius(self) -> float:
        """The lesser of the two radii, in pixels: beyond it nothing is compared."""
        return float(min(self.a["radius"], self.b["radius"]))


def read_comparison(engine: Engine, job_a: int, job_b: int) -> Comparison:
    """Compare two jobs as they stand; raises InputError when they cannot be, or have no clip in common."""
    if job_a == job_b:
        raise InputError("JOB_B", f"is job {job_a} too; name another one")
    a, b = job_row(engine, job_a), job_row(engine, job_b)
    require_comparable(a, b)
    matched = match(clip_rows(engine, job_a), clip_rows(engine, job_b))
    if not matched.pairs:
        changed = f"; {matched.changed} have the same path, but other bytes" if matched.changed else ""
        raise InputError("JOB_B", f"jobs {job_a} and {job_b} have no clip in common{changed}")
    # MSR has upper bounds in every job; a lower one that is proved only where it was asked for.
    asked = any(JobSpec.model_validate(job["spec"]).continuous for job in (a, b))
    measures = ("FMSR", "MSR") if asked else ("FMSR",)
    both = [pair for pair in matched.pairs if all(map(evaluated, pair))]
    return Comparison(
        a=job_progress(engine, job_a), b=job_progress(engine, job_b), differences=differences(a, b),
        remarks=remarks(a, b), matched=matched, rows=[paired_row(*pair, measures) for pair in matched.pairs],
        measures=[compared(both, measure) for measure in measures],
    )  # fmt: skip


def comparison_object(comparison: Comparison) -> Row:
    """The whole comparison as one object."""
    matched = comparison.matched
    return {
        "job_a": {key: comparison.a[key] for key in JOB},
        "job_b": {key: comparison.b[key] for key in JOB},
        "differences": list(comparison.differences),
        "remarks": list(comparison.remarks),
        "clips": {
            "both": len(matched.pairs), "only_a": matched.only_a, "only_b": matched.only_b, "changed": matched.changed,
            "evaluated_by_both": sum(comparison.correct.values()),
        },
        "correct": comparison.correct,
        "radius": comparison.radius,
        "measures": [asdict(measure) for measure in comparison.measures],
        "bootstrap": {"resamples": RESAMPLES, "seed": SEED, "confidence": CONFIDENCE},
        "rows": list(comparison.rows),
    }  # fmt: skip
