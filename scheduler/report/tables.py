"""Decides how rows look on a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from rich.markup import escape
from rich.table import Table

from scheduler.intake.official import short_name
from scheduler.report.rows import Row

VERDICT_STYLES = {
    "solved": "bold blue",
    "robust": "bold green",
    "open": "yellow",
    "misclassified": "dim",
    "failed": "red",
}


def jobs_table(rows: Sequence[Row]) -> Table:
    """Jobs and how far they are."""
    game = ("dataset", "model", "features", "norm", ">tau", ">radius")
    table = columned("job", "status", ">priority", *game, ">clips", ">points", "budget")
    for row in rows:
        table.add_row(
            str(row["job_id"]), row["status"], str(row["priority"]), escape(row["dataset"]), escape(row["model"]),
            row["features"], row["norm"], f"{row['tau']:g}", f"{row['radius']:g}",
            f"{row['clips_finished']} of {row['clips']}",
            f"{explored_of_needed(row)}{so_far(row)}", _budgets(row),
        )  # fmt: skip
    return table


def explored_of_needed(row: Row) -> str:
    """How many points a job has explored, of those that decide every clip prepared so far."""
    return f"{int(row['points_explored']):,} of {int(row['points_needed']):,}"


def so_far(row: Row) -> str:
    """A remark behind a job's points while some clip is not prepared: there will be more."""
    return "" if row["clips_prepared"] + row["failed"] >= row["clips"] else " (so far)"


def duration(seconds: float) -> str:
    """A duration in its usual unit."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _budgets(row: Row) -> str:
    """What a job may cost: points and worker time a clip, and how long it may run."""
    parts = [f"{row['budget_points']:,}"]
    if row["budget_clip_seconds"] is not None:
        parts.append(f"{row['budget_clip_seconds']:g} s a clip")
    if row["budget_wall_seconds"] is not None:
        parts.append(f"{duration(row['wall_seconds'])} of {duration(row['budget_wall_seconds'])}")
    return ", ".join(parts)


def results_table(rows: Sequence[Row]) -> Table:
    """Bounds of a job's clips, distances in pixels."""
    norm = rows[0]["norm"] if rows else ""
    columns = (f">FMSR, px {norm}", "guarantee", ">MSR", "MSR guarantee", ">points", ">seconds")
    table = columned("clip", "label", "predicted", "verdict", *columns)
    for row in rows:
        table.add_row(
            clip_name(row), escape(row["label"]), escape(row["predicted"] or ""), _verdict(row), bounds(row),
            row["fmsr_lower_guarantee"] or "", msr_bounds(row), row["msr_lower_guarantee"] or "", points_text(row),
            f"{row['seconds']:.1f}",
        )  # fmt: skip
    reasons = [_reason(row) for row in rows if row["reason"]]
    if reasons:
        table.caption = "\n".join(reasons)
        table.caption_justify = "left"
    return table


def trace_table(rows: Sequence[Row]) -> Table:
    """Moves of bounds, in order of time."""
    table = columned(">seconds", "clip", ">FMSR, px", "guarantee")
    for row in rows:
        table.add_row(
            f"{row['seconds_since_submit']:.2f}", clip_name(row), bounds(row), row["fmsr_lower_guarantee"]
        )  # fmt: skip
    return table


def guarantees_table(rows: Sequence[Row]) -> Table:
    """Lower bounds, route by route."""
    norm = rows[0]["norm"] if rows else ""
    table = columned("clip", "measure", "route", "guarantee", f">at least, px {norm}", ">at most", "remark")
    for row in rows:
        table.add_row(
            clip_name(row), row["measure"], row["route"], row["guarantee"] or "", at_least(row["lower"]),
            at_most(row["upper"]), escape(row["remark"] or ""),
        )  # fmt: skip
    return table


def replay_table(rows: Sequence[Row]) -> Table:
    """Evidence and what became of it when it was checked again."""
    table = columned("clip", "label", "predicted", "kind", ">px", ">margin", ">points", "replay")
    for row in rows:
        table.add_row(
            clip_name(row), escape(row["label"]), escape(row["predicted"]), row["kind"], distance(row["distance"]),
            "" if row["margin_again"] is None else f"{row['margin_again']:.3g}", "" if row["points"] is None else
            f"{row['points']:,}", "confirmed" if row["problem"] is None else f"[red]{escape(row['problem'])}[/red]",
        )  # fmt: skip
    return table


def workers_table(rows: Sequence[Row]) -> Table:
    """Workers and what they do."""
    table = columned("worker", "device", ">last beat", "works on", ">done", ">busy seconds")
    for row in rows:
        table.add_row(
            escape(row["worker"]), escape(row["gpu"] or row["device"]), f"{row['seconds_since_beat']:.0f} s ago",
            works_on(row), f"{row['returned']} of {row['attempts']}", f"{row['busy_seconds']:.1f}",
        )  # fmt: skip
    return table


def works_on(row: Row) -> str:
    """What a worker is doing now."""
    return "idle" if row["task"] is None else f"{row['kind']} {clip_name(row)}"


def clip_name(row: Row) -> str:
    """A row's clip, safe to print: brackets in a file's name are no styles."""
    return escape(short_name(row["video"]))


def bounds(row: Row) -> str:
    """A clip's bounds in pixels: one number where they are equal, ``?`` for what is not known."""
    lower, upper = row["fmsr_lower"], row["fmsr_upper"]
    if lower is not None and lower == upper:
        return f"= {distance(lower)}"
    if lower is None and upper is None:
        return "?"
    return f"{at_least(lower)} .. {at_most(upper)}"


def msr_bounds(row: Row) -> str:
    """The same of its MSR."""
    lower, upper = row["msr_lower"], row["msr_upper"]
    if lower is None:
        return "?" if upper is None else f"≤ {at_most(upper)}"
    return f"{at_least(lower)} .. {at_most(upper)}"


def distance(pixels: float | None) -> str:
    """A distance with four significant digits."""
    if pixels is None:
        return "?"
    return "∞" if math.isinf(pixels) else f"{pixels:.4g}"


def at_least(pixels: float | None) -> str:
    """A lower bound with four significant digits, rounded down: a digit that rounding adds would be a claim."""
    return _rounded(pixels, ROUND_FLOOR)


def at_most(pixels: float | None) -> str:
    """An upper bound with four significant digits, rounded up."""
    return _rounded(pixels, ROUND_CEILING)


def _rounded(pixels: float | None, direction: str) -> str:
    if pixels is None or math.isinf(pixels) or pixels == 0:
        return distance(pixels)
    exact = Decimal(pixels)
    digits = Decimal((0, (1,), exact.adjusted() - 3))
    return distance(float(exact.quantize(digits, direction)))


def points_text(row: Row) -> str:
    """Points that were evaluated, of those within the radius where they were counted."""
    if row["points_total"] is None:
        return ""
    # As a decimal number: a game may have more points than a float can count.
    total = Decimal(row["points_total"])
    return f"{row['points_explored']:,} of {f'{total:,.0f}' if total < 10**12 else f'{total:.1e}'}"


def _reason(row: Row) -> str:
    # Most reasons name the file by its whole path; the table calls it by its short name, once.
    return f"{clip_name(row)}: {escape(row['reason'].removeprefix(row['video'] + ': '))}"


def _verdict(row: Row) -> str:
    if row["verdict"] == "open" and row["status"] not in ("done", "cancelled"):
        return f"[dim]{row['status']}[/dim]"
    return f"[{VERDICT_STYLES[row['verdict']]}]{row['verdict']}[/]"


def columned(*columns: str) -> Table:
    """An empty table of these columns; what is in one whose name begins with ``>`` stands on the right."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    return table
