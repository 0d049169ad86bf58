"""Means over clips are restricted to the radius, and their bootstrap intervals are known where chance is."""

import math

import pytest

from scheduler.report import summary
from scheduler.report.summary import Estimate, Expected, bootstrap, expected, numbered_groups

CLIP = {
    "video": "/videos/a.avi", "label": "A", "predicted": "A", "radius": 8.0, "fmsr_lower": 3.0, "fmsr_upper": 5.0,
    "certified_radius": None, "constant_lower": None, "msr_upper": None,
}  # fmt: skip


def test_clips_that_are_all_alike_leave_no_doubt():
    assert bootstrap([[0.75] * 7, [2.5] * 7], range(7)) == [Estimate(0.75, 0.75, 0.75), Estimate(2.5, 2.5, 2.5)]


def test_two_clips_may_be_drawn_as_one():
    # Each of the two alone is drawn with a quarter's probability, far more than what is cut off.
    assert bootstrap([[0.0, 1.0]], [0, 1]) == [Estimate(0.5, 0.0, 1.0)]


def test_a_share_of_a_hundred_clips_has_the_quantiles_of_the_binomial_distribution():
    (estimate,) = bootstrap([[1.0] * 50 + [0.0] * 50], range(100))
    # Binomial(100, 1/2) is at most 40 with probability 0.028, at most 39 with 0.018.
    assert (estimate.mean, estimate.low, estimate.high) == (0.5, 0.4, 0.6)


def test_one_group_says_nothing_of_a_spread():
    assert bootstrap([[4.0, 6.0]], [0, 0]) == [Estimate(5.0, None, None)]


def test_clips_of_one_group_that_are_alike_count_as_the_group_and_not_as_so_many_clips():
    groups = [float(value * value) for value in range(12)]
    clips, numbers = [value for value in groups for _ in range(5)], [number for number in range(12) for _ in range(5)]
    (by_group,), (by_clip,) = bootstrap([clips], numbers), bootstrap([clips], range(60))
    assert by_group == bootstrap([groups], range(12))[0]
    # Sixty independent clips would have a spread that is smaller by the square root of five.
    assert by_group.high - by_group.low == pytest.approx(math.sqrt(5) * (by_clip.high - by_clip.low), rel=0.1)


def test_a_draw_of_groups_has_the_mean_of_their_clips_whatever_their_sizes():
    # Two groups are drawn as the one twice, the other twice, or as both: two, four or three clips.
    (estimate,) = bootstrap([[6.0, 0.0, 0.0]], [1, 0, 0])
    assert (estimate.mean, estimate.low, estimate.high) == (2.0, 0.0, 6.0)
    assert bootstrap([[1.0, 1.0, 1.0]], [1, 0, 0]) == [Estimate(1.0, 1.0, 1.0)]


def test_clips_are_of_one_group_by_class_and_name_and_one_of_another_name_is_alone():
    names = ["A/v_A_g01_c01.avi", "A/v_A_g01_c02.avi", "A/v_A_g02_c01.avi", "B/v_B_g01_c01.avi", "B/b1.avi", "B/b2.avi"]
    assert numbered_groups([{"video": f"/d/{name}", "label": name[0]} for name in names]) == [0, 0, 1, 2, 3, 4]


def test_the_seed_decides_the_draws():
    column = [float(value * value) for value in range(23)]
    (first,), (again,), (other,) = (bootstrap([column], range(23), **seed) for seed in ({}, {}, {"seed": 1}))
    assert first == again
    assert first.mean == other.mean == sum(column) / 23
    assert (first.low, first.high) != (other.low, other.high)
    # Means of 23 draws are nearly normal: 1.96 standard errors to each side.
    error = 1.96 * math.sqrt(sum((value - first.mean) ** 2 for value in column) / 23 / 23)
    assert first.low == pytest.approx(first.mean - error, abs=0.1 * error)
    assert first.high == pytest.approx(first.mean + error, abs=0.1 * error)


def test_columns_are_drawn_alike():
    lower = [0.0, 1.0, 2.0, 7.0, 3.0]
    first, second = bootstrap([lower, [value + 1 for value in lower]], range(5))
    assert (second.low, second.high) == pytest.approx((first.low + 1, first.high + 1))


def test_no_draw_is_left_out(monkeypatch):
    monkeypatch.setattr(summary, "RESAMPLES", 250)
    monkeypatch.setattr(summary, "_AT_ONCE", 125)
    assert bootstrap([[3.0, 3.0]], [0, 1]) == [Estimate(3.0, 3.0, 3.0)]


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
