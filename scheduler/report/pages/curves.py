"""Decides what a report draws: the share certified at each displacement, and how bounds came closer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from common.vocab import Guarantee
from scheduler.report.pages.chart import Chart, Line, Steps, draw
from scheduler.report.rows import Row
from scheduler.report.summary import Summary, evaluated, known_bounds, restricted

#: Steps that a curve may have. Of more clips, bounds are rounded to so many: lower ones down, upper ones up.
_STEPS = 400
#: Share of the time shown that is left after the last move of a bound.
_ROOM = 0.05
#: How far a drawing reaches above the greatest bound.
_ABOVE = 1.25


def share_chart(summary: Summary, clips: Sequence[Row]) -> Chart | None:
    """Share of evaluated clips that is certified at each displacement up to the radius, guarantee by guarantee.

    Beside each is the share that still could be: no clip that is misclassified, or has a witness at less. None while no
    clip is evaluated. ``clips`` are rows of ``video_bounds``.
    """
    spoken_of = [row for row in clips if evaluated(row)]
    asked = list(dict.fromkeys((row["measure"], row["guarantee"]) for row in summary.shares))
    if not spoken_of or not asked:
        return None
    first = summary.shares[0]
    per_entry = first["distance"] / first["displacement"]  # Pixels of the norm that make a displacement of 1 px.
    most = first["radius"] / per_entry
    lines = []
    for place, (measure, guarantee) in enumerate(asked):
        bounds = [known_bounds(row, measure, guarantee) for row in spoken_of]
        for side, name in ((0, f"{measure}: certified"), (1, f"{measure}: not excluded by a witness")):
            values = [restricted(row, pair[side]) / per_entry for row, pair in zip(spoken_of, bounds, strict=True)]
            label = guarantee if side == 0 else Guarantee.WITNESS.value
            style = f"c{place} {'solid' if side == 0 else 'dashed'}"
            lines.append(Line(name, label, style, survival(values, most, side)))
    title = "Share of evaluated clips that is certified, by displacement, one line a guarantee"
    return draw(title, ("displacement, px per flow entry", "share of clips"), lines, (0.0, most), 1.0, percent=True)


def survival(values: Sequence[float], most: float, side: int) -> Steps:
    """Share of values that reach x, for x from 0 to ``most``, as a step line; a value of 0 reaches nothing.

    Of many values, ``side`` says whether they are rounded down (0) or up (1).
    """
    if len(set(values)) > _STEPS:
        towards = math.floor if side == 0 else math.ceil
        values = [min(most, towards(value / most * _STEPS) * most / _STEPS) for value in values]
    left = sorted(value for value in values if value > 0)
    steps = [(0.0, len(left) / len(values))]
    for place, value in enumerate(left):
        if value < most and (place + 1 == len(left) or left[place + 1] > value):
            steps.append((value, (len(left) - place - 1) / len(values)))
    return [*steps, (most, steps[-1][1])]


def convergence_chart(clip: Row, trace: Sequence[Row]) -> Chart | None:
    """How a clip's bounds moved in time; None where none ever did. ``trace`` are its rows of ``bound_trace``."""
    if not trace:
        return None
    times = [row["seconds_since_submit"] for row in trace]
    room = _ROOM * (times[-1] - times[0]) or 1.0
    start, end = times[0], times[-1] + room
    lower = [(row["seconds_since_submit"], row["fmsr_lower"]) for row in trace]
    upper = [(row["seconds_since_submit"], row["fmsr_upper"]) for row in trace if row["fmsr_upper"] is not None]
    lines = [
        Line("FMSR at least", trace[-1]["fmsr_lower_guarantee"], "c0 solid", [*lower, (end, lower[-1][1])]),
        Line("FMSR at most", Guarantee.WITNESS.value, "c3 solid", [*upper, (end, upper[-1][1])] if upper else []),
        *_of_real_changes(clip, start, end),
    ]
    highest = max(y for line in lines for _, y in line.points)
    # Where an upper bound is known, what lies far above it is of no interest.
    bounded = upper or clip["msr_upper"] is not None
    most = 1.08 * clip["radius"]
    if bounded and highest > 0:
        most = max(highest, min(_ABOVE * highest, most))
    level = (clip["radius"], f"radius {clip['radius']:g} px") if clip["radius"] <= most else None
    title = f"Bounds of the clip in pixels ({clip['norm']}), from the first to the last time that one moved"
    names = ("seconds since the job was submitted", f"flow distance, px {clip['norm']}")
    return draw(title, names, lines, (start, end), most, level=level)


def _of_real_changes(clip: Row, start: float, end: float) -> Iterator[Line]:
    """Bounds on MSR as they ended: they are found once, and have no history."""
    if clip["msr_lower"] is not None:
        level = clip["msr_lower"]
        yield Line("MSR at least", clip["msr_lower_guarantee"], "c1 dashed", [(start, level), (end, level)])
    if clip["msr_upper"] is not None:
        level = clip["msr_upper"]
        yield Line("MSR at most", Guarantee.WITNESS.value, "c2 dashed", [(start, level), (end, level)])
