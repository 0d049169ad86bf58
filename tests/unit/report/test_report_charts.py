"""What a report draws: shares that never claim more than the bounds do, and bounds as steps in time."""

import math

import pytest

from scheduler.report.pages import curves
from scheduler.report.pages.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Line, draw, ticks
from scheduler.report.pages.curves import convergence_chart, survival


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 72, [0, 20, 40, 60]),
        (3.1, 3.35, [3.1, 3.15, 3.2, 3.25, 3.3, 3.35]),
        (0, 0.0006, [0, 0.0001, 0.0002, 0.0003, 0.0004, 0.0005, 0.0006]),
    ],
)
def test_ticks_are_round_and_within(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_a_share_falls_after_each_value():
    # Three of five reach 1, one reaches 2 and the end, and a value of 0 reaches nothing.
    steps = survival([0.0, 1.0, 1.0, 2.0, 4.0], 4.0, 0)
    assert steps == [(0.0, 0.8), (1.0, 0.4), (2.0, 0.2), (4.0, 0.2)]
    assert survival([0.0, 0.0], 4.0, 0) == [(0.0, 0.0), (4.0, 0.0)]


@pytest.mark.parametrize("side", [0, 1])
def test_rounding_many_clips_claims_nothing(side, monkeypatch):
    values = [number * 0.0137 % 4.0 for number in range(1000)]
    exact = survival(values, 4.0, side)
    monkeypatch.setattr(curves, "_STEPS", 20)
    rounded = survival(values, 4.0, side)
    assert len(rounded) <= 22

    def share(steps, x):
        """Share that reaches x: of the last step that begins below it."""
        return [y for start, y in steps if start < x][-1]

    for number in range(1, 400):
        x = number / 100
        truth, said = share(exact, x), share(rounded, x)
        assert (said <= truth) if side == 0 else (said >= truth)
        assert abs(said - truth) <= 0.06


def test_a_line_keeps_its_height_until_the_next_point():
    line = Line("a", "grid", "c0 solid", [(0, 0), (1, 0), (1, 5), (2, 5), (4, 10)])
    chart = draw("t", ("x", "y"), [line], (0.0, 4.0), 10.0, level=(10.0, "top"))
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    quarter = f"{LEFT + wide / 4:.1f}"
    assert chart.lines[0].path == (
        f"M{LEFT:.1f},{HEIGHT - BOTTOM:.1f}H{quarter}V{HEIGHT - BOTTOM - high / 2:.1f}H{WIDTH - RIGHT:.1f}V{TOP:.1f}"
    )
    assert (chart.level.at, chart.level.text) == (TOP, "top")


def test_bounds_converge_in_steps_with_their_guarantees():
    clip = {
        "radius": 8.0, "norm": "L2", "msr_lower": 1.5, "msr_lower_guarantee": "continuous", "msr_upper": math.sqrt(12)
    }  # fmt: skip
    events = [(1.0, 0.0, None), (3.0, 0.0, 5.0), (9.0, 4.0, 4.0)]
    trace = [
        {"seconds_since_submit": at, "fmsr_lower": lower, "fmsr_upper": upper, "fmsr_lower_guarantee": "grid"}
        for at, lower, upper in events
    ]
    chart = convergence_chart(clip, trace)
    assert [(line.name, line.guarantee) for line in chart.lines] == [
        ("FMSR at least", "grid"), ("FMSR at most", "witness"), ("MSR at least", "continuous"),
        ("MSR at most", "witness"),
    ]  # fmt: skip
    # The upper bound begins where it was found, and both end at one place.
    assert float(chart.lines[1].path[1:].split(",")[0]) > LEFT
    assert {line.path.rpartition("H")[2].partition("V")[0] for line in chart.lines} == {f"{WIDTH - RIGHT:.1f}"}
    assert convergence_chart(clip, []) is None
    nothing = {**clip, "msr_lower": None, "msr_upper": None}
    (alone,) = convergence_chart(nothing, trace[:1]).lines
    assert alone.guarantee == "grid"
