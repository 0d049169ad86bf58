"""Means over clips are restricted to the radius, and their bootstrap intervals are known where chance is."""

import math

import pytest

from scheduler.report import summary
from scheduler.report.summary import Estimate, Expected, bootstrap, expected

CLIP = {
    "label": "A", "predicted": "A", "radius": 8.0, "fmsr_lower": 3.0, "fmsr_upper": 5.0, "certified_radius": None,
    "constant_lower": None, "msr_upper": None,
}  # fmt: skip


def test_clips_that_are_all_alike_leave_no_doubt():
    assert bootstrap([[0.75] * 7, [2.5] * 7]) == [Estimate(0.75, 0.75, 0.75), Estimate(2.5, 2.5, 2.5)]


def test_two_clips_may_be_drawn_as_one():
    # Each of the two alone is drawn with a quarter's probability, far more than what is cut off.
    assert bootstrap([[0.0, 1.0]]) == [Estimate(0.5, 0.0, 1.0)]


def test_a_share_of_a_hundred_clips_has_the_quantiles_of_the_binomial_distribution():
    (estimate,) = bootstrap([[1.0] * 50 + [0.0] * 50])
    # Binomial(100, 1/2) is at most 40 with probability 0.028, at most 39 with 0.018.
    assert (estimate.mean, estimate.low, estimate.high) == (0.5, 0.4, 0.6)


def test_one_clip_says_nothing_of_a_spread():
    assert bootstrap([[4.0]]) == [Estimate(4.0, None, None)]


def test_the_seed_decides_the_draws():
    column = [float(value * value) for value in range(23)]
    (first,), (again,), (other,) = bootstrap([column]), bootstrap([column]), bootstrap([column], seed=1)
    assert first == again
    assert first.mean == other.mean == sum(column) / 23
    assert (first.low, first.high) != (other.low, other.high)
    # Means of 23 draws are nearly normal: 1.96 standard errors to each side.
    error = 1.96 * math.sqrt(sum((value - first.mean) ** 2 for value in column) / 23 / 23)
    assert first.low == pytest.approx(first.mean - error, abs=0.1 * error)
    assert first.high == pytest.approx(first.mean + error, abs=0.1 * error)


def test_columns_are_drawn_alike():
    lower = [0.0, 1.0, 2.0, 7.0, 3.0]
    first, second = bootstrap([lower, [value + 1 for value in lower]])
    assert (second.low, second.high) == pytest.approx((first.low + 1, first.high + 1))


def test_no_draw_is_left_out(monkeypatch):
    monkeypatch.setattr(summary, "RESAMPLES", 250)
    monkeypatch.setattr(summary, "_AT_ONCE", 125)
    assert bootstrap([[3.0, 3.0]]) == [Estimate(3.0, 3.0, 3.0)]


def test_bounds_are_restricted_to_the_radius_and_a_wrong_clip_counts_nothing():
    clips = [
        CLIP,
        {**CLIP, "fmsr_lower": 8.0, "fmsr_upper": math.inf, "certified_radius": 2.0, "constant_lower": 6.0},
        {**CLIP, "fmsr_lower": 1.0, "fmsr_upper": None, "msr_upper": 4.0, "constant_lower": 1.0},
        {**CLIP, "predicted": "B", "fmsr_lower": None, "fmsr_upper": None},
    ]
    asked = [("FMSR", "grid"), ("MSR", "continuous"), ("MSR", "lipschitz:assumed")]
    means = [(found.measure, found.guarantee, found.lower.mean, found.upper.mean) for found in expected(clips, asked)]
    assert means == [
        ("FMSR", "grid", (3 + 8 + 1 + 0) / 4, (5 + 8 + 8 + 0) / 4),
        ("MSR", "continuous", 2 / 4, (8 + 8 + 4 + 0) / 4),
        ("MSR", "lipschitz:assumed", (6 + 1) / 4, (8 + 8 + 4 + 0) / 4),
    ]


def test_msr_has_an_upper_bound_without_having_been_asked_for():
    found = list(expected([CLIP], [("FMSR", "grid")]))
    assert found[1] == Expected("MSR", None, None, Estimate(8.0, None, None))


def test_nothing_is_expected_of_no_clip():
    assert list(expected([], [("FMSR", "grid")])) == []
