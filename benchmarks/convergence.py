"""Decides how the convergence of a job's bounds is drawn: a panel a clip, all on the same axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

Row = dict[str, Any]

_COLUMNS = 3
_COLOURS = {"lower": "tab:blue", "upper": "tab:red"}


def draw_convergence(trace: Sequence[Row], norm: str, path: Path) -> None:
    """Draw how the FMSR bounds of each clip moved into a PNG file, against the seconds since the job was submitted.

    ``trace`` has rows of ``bound_trace`` in order of time, at least one; distances are pixels of ``norm``.
    """
    figure = convergence_figure(trace, norm)
    FigureCanvasAgg(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=110)


def convergence_figure(trace: Sequence[Row], norm: str) -> Figure:
    """The figure alone."""
    clips: dict[str, list[Row]] = {}
    for row in trace:
        clips.setdefault(row["video"], []).append(row)
    rows = math.ceil(len(clips) / _COLUMNS)
    figure = Figure(figsize=(8, 0.6 + 1.9 * rows), layout="constrained")
    panels = figure.subplots(rows, _COLUMNS, sharex=True, sharey=True, squeeze=False).flatten().tolist()
    # A move at the very end is seen only if its bound is drawn on for a while.
    end = 1.05 * max(row["seconds_since_submit"] for row in trace)
    for axes, (video, moves) in zip(panels, sorted(clips.items()), strict=False):
        _draw(axes, moves, end)
        axes.set_title(Path(video).stem, fontsize=9)
    for axes in panels[len(clips) :]:
        axes.set_axis_off()
    # The panels without one below them say the seconds.
    for axes in panels[: len(clips)][-_COLUMNS:]:
        axes.tick_params(labelbottom=True)
    panels[0].set_xlim(0, end)
    # A lower bound of 0 has no place on a logarithmic axis: where it ends, the line comes up from below.
    panels[0].set_yscale("log", nonpositive="clip")
    panels[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panels[0].yaxis.set_major_formatter("{x:g}")
    # Room for what is written at the top and at the bottom.
    panels[0].margins(y=0.3)
    figure.supxlabel("seconds since the job was submitted", fontsize=10)
    figure.supylabel(f"FMSR bounds, px ({norm})", fontsize=10)
    return figure


def _draw(axes: Axes, moves: Sequence[Row], end: float) -> None:
    """Draw a clip's bounds as steps, each with what it is worth; the last ones hold until the ``end``, in seconds."""
    seconds = [*(row["seconds_since_submit"] for row in moves), end]
    last = moves[-1]
    worths = {"lower": last["fmsr_lower_guarantee"], "upper": "unknown" if last["fmsr_upper"] is None else "witness"}
    for side, worth in worths.items():
        values = [row[f"fmsr_{side}"] for row in (*moves, last)]
        drawn = [math.nan if value is None else float(value) for value in values]
        axes.step(seconds, drawn, where="post", color=_COLOURS[side])
        place: dict[str, Any] = {"y": 0.05, "va": "bottom"} if side == "lower" else {"y": 0.95, "va": "top"}
        place |= {"x": 0.03, "transform": axes.transAxes, "color": _COLOURS[side], "fontsize": 8}
        # A line that runs behind the words must not strike them out.
        axes.text(s=f"{side}: {worth}", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1}, **place)
    axes.grid(visible=True, color="0.9")
    axes.tick_params(labelsize=8)
