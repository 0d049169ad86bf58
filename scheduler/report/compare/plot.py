"""Decides how two jobs are drawn against each other: a box a clip, from its lower to its upper bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.errors import InputError
from scheduler.report.compare.comparison import Comparison
from scheduler.report.compare.pairs import Known, Outcome, known, outcome
from scheduler.report.summary import evaluated

_COLOURS = {
    Outcome.A: "tab:blue",
    Outcome.B: "tab:purple",
    Outcome.EQUAL: "black",
    Outcome.UNDECIDED: "tab:orange",
}
_NAMES = {
    Outcome.A: "A certainly ahead",
    Outcome.B: "B certainly ahead",
    Outcome.EQUAL: "equal",
    Outcome.UNDECIDED: "undecided",
}
_FORMATS = (".png", ".svg")
#: Greatest over least positive bound from which on axes are logarithmic.
_WIDE = 20.0
#: Clips that can be told apart.
_FEW = 40


def plot_comparison(comparison: Comparison, path: Path) -> None:
    """Draw the clips that both jobs evaluated into a PNG or SVG file, a panel for each measure.

    A box spans what is still possible of a clip in both jobs, up to the radius where no upper bound is known. Raises
    InputError when the file cannot be written or is of another kind.
    """
    if path.suffix.lower() not in _FORMATS:
        raise InputError("--plot", f"{path}: must end in {' or '.join(_FORMATS)}")
    # Loaded late: drawing takes longer to load than most commands to run. Agg needs no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = len(comparison.measures)
    figure = Figure(figsize=(5 * count, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    pairs = [pair for pair in comparison.matched.pairs if all(map(evaluated, pair))]
    for place, measure in enumerate(comparison.measures, start=1):
        axes = figure.add_subplot(1, count, place)
        _panel(axes, comparison, [(known(a, measure.measure), known(b, measure.measure)) for a, b in pairs])
        axes.set_title(measure.measure)
    handles = [
        axes.plot([], [], "s", color=colour, label=f"{_NAMES[word]} ({_totals(comparison, word)})")[0]
        for word, colour in _COLOURS.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8)
    try:
        figure.savefig(path, format=path.suffix.lower()[1:])
    except OSError as error:
        raise InputError("--plot", f"{path}: cannot be written ({error.strerror or error})") from error


def _totals(comparison: Comparison, word: Outcome) -> str:
    return ", ".join(f"{measure.measure} {measure.outcomes[word]:,}" for measure in comparison.measures)


def _panel(axes: Any, comparison: Comparison, knowns: Sequence[tuple[Known, Known]]) -> None:
    radius = comparison.radius
    positive = [bound for both in knowns for side in both for bound in side.pixels if 0 < bound < math.inf]
    least = min(positive, default=radius)
    logarithmic = radius / least > _WIDE
    # On a logarithmic axis 0 is nowhere: what is 0 stands at the axis, a little below the least bound.
    start = least / 1.6 if logarithmic else 0.0
    _boxes(axes, knowns, start, radius)
    end = radius * (1.25 if logarithmic else 1.05)
    axes.plot([start, end], [start, end], color="gray", linewidth=0.8, linestyle="--")
    for line in (axes.axvline, axes.axhline):
        line(radius, color="gray", linewidth=0.8, linestyle=":")
    for axis, side, job in (("x", "A", comparison.a), ("y", "B", comparison.b)):
        getattr(axes, f"set_{axis}scale")("log" if logarithmic else "linear")
        getattr(axes, f"set_{axis}lim")(start, end)
        getattr(axes, f"{axis}axis").set_major_formatter("{x:g}")
        label = f"{side}: job {job['job_id']}, {job['model']}, px {job['norm']}"
        getattr(axes, f"set_{axis}label")(label, fontsize=9)
    axes.set_aspect("equal")


def _boxes(axes: Any, knowns: Sequence[tuple[Known, Known]], start: float, radius: float) -> None:
    """The clips; what is known exactly has no extent, and a dot shows it."""
    from matplotlib.collections import PolyCollection

    corners: dict[Outcome, list[list[tuple[float, float]]]] = {word: [] for word in Outcome}
    for a, b in knowns:
        (left, right), (bottom, top) = (
            tuple(min(max(bound, start), radius) for bound in known.pixels) for known in (a, b)
        )  # fmt: skip
        corners[outcome(a, b)].append([(left, bottom), (right, bottom), (right, top), (left, top)])
    # Of many boxes each is fainter, so that where they are dense shows.
    faint = min(1.0, _FEW / max(len(knowns), 1))
    for word, boxes in corners.items():
        colour = _COLOURS[word]
        axes.add_collection(PolyCollection(boxes, facecolors=colour, edgecolors="none", alpha=0.12 * faint))
        edges = PolyCollection(boxes, facecolors="none", edgecolors=colour, linewidths=0.9, alpha=max(0.15, faint))
        # No box leaves the panel; one that lies on an axis is to be seen all the same.
        edges.set(clip_on=False, zorder=3)
        axes.add_collection(edges)
        dots = [box[0] for box in boxes if box[0] == box[2]]
        if dots:
            axes.plot(*zip(*dots, strict=True), "o", color=colour, markersize=4, clip_on=False)
