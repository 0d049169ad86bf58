"""Decides how a job's summary looks on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from scheduler.intake.official import short_name
from scheduler.report.rows import Row
from scheduler.report.summary import CONFIDENCE, RESAMPLES, SEED, VERDICTS, Estimate, Summary
from scheduler.report.tables import at_least, at_most, columned, distance

#: Failed clips that are named on a terminal; JSON names them all.
_NAMED = 20


def summary_tables(summary: Summary) -> Iterator[RenderableType]:
    """Counts, certified shares, medians by class and expected radii, a table each, with what each rests on."""
    job = summary.job
    known = "" if summary.entries is None else f", {summary.entries:,.0f} flow entries a clip"
    yield Text(
        f"job {job['job_id']} ({job['status']}): {job['model']}, {job['features']}, {job['norm']},"
        f" tau {job['tau']:g} px, radius {job['radius']:g} px{known}"
    )
    yield from (Text(), _counts(summary.whole), Text(), _shares(summary), Text(), _medians(summary), Text())
    if summary.expected:
        yield _expected(summary)
    yield from _failures(summary.failed)


def _counts(row: Row) -> Table:
    table, evaluated = columned("clips", ">"), row["evaluated"]
    table.add_row("submitted", f"{row['clips']:,}")
    table.add_row("failed, counted apart", f"{row['failed']:,}")
    table.add_row("not evaluated yet", f"{row['not_evaluated']:,}")
    table.add_row("evaluated", f"{evaluated:,}")
    table.add_row("correct (accuracy)", share_text(row["correct"], evaluated))
    for verdict in VERDICTS:
        table.add_row(verdict, share_text(row[verdict], evaluated))
    if evaluated:
        table.add_row("seconds a clip, mean", f"{row['seconds_mean']:.1f}")
        table.add_row("seconds a clip, median", f"{row['seconds_median']:.1f}")
    return table


def _shares(summary: Summary) -> Table:
    by_measure: dict[tuple[str, str], list[Row]] = {}
    for row in summary.shares:
        by_measure.setdefault((row["measure"], row["guarantee"]), []).append(row)
    beyond, of = summary.beyond
    columns = [
        f">≥ {row['displacement']:g} px\n{distance(row['distance'])} px {row['norm']}"
        + ("\nbeyond radius" if row["beyond_radius"] else "")
        for row in next(iter(by_measure.values()), [])
    ]  # fmt: skip
    table = columned("certified", "guarantee", *columns)
    for (measure, guarantee), rows in by_measure.items():
        cells = [f"{share_text(row['certified'], row['evaluated'])}\n{row['unknown']:,} unknown" for row in rows]
        table.add_row(measure, guarantee, *cells)
    return _captioned(
        table,
        "share of evaluated clips, misclassified ones included, whose lower bound reaches so many px per flow entry;"
        f" {beyond} of {of} displacements lie beyond the radius: nothing is certified there, a robust clip is unknown",
    )


def _medians(summary: Summary) -> Table:
    whole, norm = summary.whole, summary.job["norm"]
    lowers = [column for column in ("certified_radius_median", "constant_lower_median") if whole[column] is not None]
    named = [f">MSR ≥\n{summary.guarantee(column)}" for column in lowers]
    fmsr = f">FMSR, px {norm}\n{summary.guarantee('fmsr_lower_median')}"
    counts = (">clips", ">failed", ">correct", ">solved", ">robust")
    table = columned("medians", *counts, fmsr, *named, ">MSR ≤", ">FMSR upper / lower", ">seconds")
    for row in (whole, *summary.classes):
        name = "all classes" if row["label"] is None else escape(row["label"])
        bounds = [""] * (len(lowers) + 3)
        if row["correct"]:
            fmsr_bounds = f"{at_least(row['fmsr_lower_median'])} .. {at_most(row['fmsr_upper_median'])}"
            ratio = f"{distance(row['ratio_median'])} ({row['ratio_clips']:,})" if row["ratio_clips"] else "(0)"
            bounds = [
                fmsr_bounds,
                *(at_least(row[column]) for column in lowers),
                at_most(row["msr_upper_median"]),
                ratio,
            ]
        table.add_row(
            name, *(f"{row[key]:,}" for key in ("clips", "failed", "correct", "solved", "robust")), *bounds,
            f"{row['seconds_median']:.1f}" if row["evaluated"] else "",
        )  # fmt: skip
    left_out = whole["correct"] - whole["ratio_clips"]
    return _captioned(
        table,
        f"over correct clips; an upper bound that is not known counts as ∞; upper / lower leaves out {left_out:,} of"
        f" {whole['correct']:,} clips, with no upper bound within the radius or a lower bound of 0",
    )


def _expected(summary: Summary) -> Table:
    within = f"{100 * CONFIDENCE:g} % interval"
    table = columned(
        "expected", "guarantee", f">at least, px {summary.job['norm']}", f">{within}", ">at most", f">{within}"
    )
    for row in summary.expected:
        lower = ("?", "") if row.lower is None else (at_least(row.lower.mean), interval_text(row.lower))
        table.add_row(row.measure, row.guarantee or "", *lower, at_most(row.upper.mean), interval_text(row.upper))
    return _captioned(
        table,
        f"mean of min(bound, radius) over {summary.whole['evaluated']:,} evaluated clips, 0 for a misclassified one;"
        f" interval: percentile bootstrap over their {summary.groups:,} groups, {RESAMPLES:,} resamples, seed {SEED}",
    )


def _failures(failed: Sequence[Row]) -> Iterator[Text]:
    for row in failed[:_NAMED]:
        name = short_name(row["video"])
        yield Text(f"failed: {name}: {row['reason'].removeprefix(row['video'] + ': ')}")
    if len(failed) > _NAMED:
        yield Text(f"failed: {len(failed) - _NAMED:,} more; --json names them")


def share_text(count: int, of: int) -> str:
    """A share with what it is made of."""
    return f"{count:,} of {of:,} ({100 * count / of:.1f} %)" if of else "0 of 0"


def interval_text(estimate: Estimate) -> str:
    """The interval of an estimate; empty where one group alone says nothing of a spread."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{distance(estimate.low)} to {distance(estimate.high)}"


def _captioned(table: Table, caption: str) -> Table:
    table.caption, table.caption_justify = caption, "left"
    return table
