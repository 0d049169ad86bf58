"""Decides how a job's summary is written for other programs: as one object, and as rows of one number each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from common.vocab import Guarantee
from scheduler.report.rows import Row
from scheduler.report.summary import CONFIDENCE, JOB, RESAMPLES, SEED, VERDICTS, Summary, share

_MEDIANS = (
    ("median lower", "FMSR", "fmsr_lower_median"),
    ("median upper", "FMSR", "fmsr_upper_median"),
    ("median lower", "MSR", "certified_radius_median"),
    ("median lower", "MSR", "constant_lower_median"),
    ("median upper", "MSR", "msr_upper_median"),
)


def summary_object(summary: Summary) -> Row:
    """The whole summary as one object."""
    whole, beyond = summary.whole, summary.beyond
    return {
        **{key: summary.job[key] for key in JOB},
        "entries": summary.entries,
        **{key: value for key, value in whole.items() if key not in ("job_id", "label")},
        "accuracy": share(whole["correct"], whole["evaluated"]),
        **{f"{verdict}_share": share(whole[verdict], whole["evaluated"]) for verdict in VERDICTS},
        "ratio_left_out": whole["correct"] - whole["ratio_clips"],
        "failed_clips": [{"video": row["video"], "reason": row["reason"]} for row in summary.failed],
        "displacements_beyond_radius": beyond[0],
        "certified_share": list(summary.shares),
        "classes": list(summary.classes),
        "expected": [asdict(expected) for expected in summary.expected],
        "bootstrap": {"groups": summary.groups, "resamples": RESAMPLES, "seed": SEED, "confidence": CONFIDENCE},
    }  # fmt: skip


def summary_rows(summary: Summary) -> list[Row]:
    """The same as rows of one number each, with what it is made of: ``count`` of ``of`` clips, and their ``groups``."""
    rows = [row for counted in (summary.whole, *summary.classes) for row in _class_numbers(counted, summary)]
    rows += [
        _number(
            "certified share", row["share"], measure=row["measure"], guarantee=row["guarantee"],
            displacement=row["displacement"], count=row["certified"], of=row["evaluated"],
        )
        for row in summary.shares
    ]  # fmt: skip
    for expected in summary.expected:
        for side, estimate in (("lower", expected.lower), ("upper", expected.upper)):
            if estimate is not None:
                rows.append(
                    _number(
                        f"expected {side}", estimate.mean, measure=expected.measure,
                        guarantee=expected.guarantee if side == "lower" else Guarantee.WITNESS.value, low=estimate.low,
                        high=estimate.high, of=summary.whole["evaluated"], groups=summary.groups,
                    )
                )  # fmt: skip
    return rows


def _class_numbers(row: Row, summary: Summary) -> Iterator[Row]:
    label, evaluated = row["label"], row["evaluated"]
    for name in ("clips", "failed", "not_evaluated"):
        yield _number(name.replace("_", " "), row[name], label=label)
    yield _number("accuracy", share(row["correct"], evaluated), label=label, count=row["correct"], of=evaluated)
    for verdict in VERDICTS:
        yield _number(f"{verdict} share", share(row[verdict], evaluated), label=label, count=row[verdict], of=evaluated)
    for name, measure, column in _MEDIANS:
        if row[column] is not None:
            guarantee = Guarantee.WITNESS.value if name == "median upper" else summary.guarantee(column)
            yield _number(name, row[column], label=label, measure=measure, guarantee=guarantee, of=row["correct"])
    ratio = {"count": row["ratio_clips"], "of": row["correct"]}
    yield _number("median ratio", row["ratio_median"], label=label, measure="FMSR", **ratio)
    for name in ("mean", "median"):
        yield _number(f"{name} seconds", row[f"seconds_{name}"], label=label, of=evaluated)


def _number(quantity: str, value: float | None, *, label: str | None = None, **more: Any) -> Row:
    blank = dict.fromkeys(("measure", "guarantee", "displacement", "value", "count", "of", "low", "high", "groups"))
    return {"quantity": quantity, "class": label, **blank, "value": value, **more}
