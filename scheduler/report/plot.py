"""Decides how results are drawn: one horizontal bar a clip, from its lower to its upper bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.vocab import Verdict
from scheduler.intake.official import short_name
from scheduler.report.rows import Row

_COLOURS = {
    Verdict.SOLVED: "tab:blue",
    Verdict.ROBUST: "tab:green",
    Verdict.OPEN: "tab:orange",
    Verdict.MISCLASSIFIED: "tab:gray",
    Verdict.FAILED: "tab:red",
}


def plot_bounds(rows: Sequence[Row], path: Path) -> None:
    """Draw the bounds of a job's clips into a PNG file; raises InputError when it cannot be written.

    A bar spans what is still possible for the clip's FMSR. It reaches the radius where no upper bound is known,
    and ends in an arrow there where none exists within the radius.
    """
    # Loaded late: drawing takes longer to load than most commands to run. Agg needs no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.6 + 0.28 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    radius = max(row["radius"] for row in rows)
    for position, row in enumerate(rows):
        _draw(axes, position, row)
    axes.axvline(radius, color="black", linewidth=0.8, linestyle="--", label=f"radius {radius:g} px")
    for verdict, colour in _COLOURS.items():
        axes.plot([], [], color=colour, linewidth=4, label=str(verdict))
    axes.set_yticks(range(len(rows)), [short_name(row["video"]) for row in rows], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.08 * radius)
    axes.set_xlabel(f"FMSR bounds, flow distance in pixels ({rows[0]['norm']})")
    figure.legend(loc="outside lower center", ncols=6, fontsize=7)
    FigureCanvasAgg(figure)
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise InputError("--plot", f"{path}: cannot be written ({error.strerror or error})") from error


def _draw(axes: Any, position: int, row: Row) -> None:
    colour, lower, upper, radius = (
        _COLOURS[Verdict(row["verdict"])],
        row["fmsr_lower"],
        row["fmsr_upper"],
        row["radius"],
    )
    if lower is None:
        axes.text(0.01 * radius, position, row["verdict"], color=colour, va="center", fontsize=7)
        return
    end = radius if upper is None or math.isinf(upper) else upper
    # Where the bounds meet, the bar has no length: the dot shows it.
    axes.plot([lower, end], [position, position], color=colour, linewidth=4, solid_capstyle="butt")
    axes.plot(lower, position, marker="|", color=colour, markersize=9)
    axes.plot(end, position, marker=">" if upper is not None and math.isinf(upper) else "o", color=colour, markersize=4)
