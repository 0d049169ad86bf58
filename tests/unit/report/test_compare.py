"""One job is ahead of another on a clip only where no pair of true values allows anything else."""

import itertools
import math
import statistics
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.report.compare import statistics as counted
from scheduler.report.compare.pairs import Outcome, difference, known, match, outcome
from scheduler.report.compare.statistics import compared, median_intervals

CLIP = {
    "video_id": 1, "video": "/v/a.avi", "label": "A", "predicted": "A", "verdict": "open", "norm": "L1", "tau": 1.0,
    "radius": 8.0, "lower_cost": 0, "upper_cost": None, "fmsr_lower": 0.0, "fmsr_upper": None,
    "fmsr_lower_guarantee": "grid", "certified_radius": None, "msr_upper": None, "video_sha256": None,
}  # fmt: skip


def clip(lower=0, upper=None, *, norm="L1", tau=1.0, radius=8.0, **more):
    """A clip with these costs as the view has them."""
    pixels = [None if cost is None else tau * (math.sqrt(cost) if norm == "L2" else cost) for cost in (lower, upper)]
    verdict = "solved" if lower == upper else "open"
    costs = {"lower_cost": lower, "upper_cost": upper, "fmsr_lower": pixels[0], "fmsr_upper": pixels[1]}
    return {**CLIP, "norm": norm, "tau": tau, "radius": radius, "verdict": verdict, **costs, **more}


def robust(radius=8.0, **more):
    return {**clip(9, radius=radius), "verdict": "robust", "fmsr_lower": radius, "fmsr_upper": math.inf, **more}


def ahead(a, b, measure="FMSR"):
    there, back = outcome(known(a, measure), known(b, measure)), outcome(known(b, measure), known(a, measure))
    assert {there, back} in ({Outcome.A, Outcome.B}, {Outcome.EQUAL}, {Outcome.UNDECIDED})
    return there


def test_disjoint_bounds_decide_and_lower_bounds_alone_do_not():
    assert ahead(clip(5, 7), clip(1, 4)) == Outcome.A
    assert ahead(clip(5), clip(1, 4)) == Outcome.A
    # Bounds that touch: both may be 4.
    assert ahead(clip(4), clip(1, 4)) == Outcome.UNDECIDED
    # Nothing of B is known from above, however little was searched.
    assert ahead(clip(7), clip(1)) == Outcome.UNDECIDED
    assert ahead(clip(4, 4), clip(4, 4)) == Outcome.EQUAL


def test_a_robust_clip_is_beyond_the_radius_and_not_at_it():
    assert ahead(robust(), clip(2, 8)) == Outcome.A
    assert ahead(robust(), robust()) == Outcome.UNDECIDED
    # At another radius, a witness that is farther than all that was searched decides nothing.
    assert ahead(robust(), clip(2, 9, radius=10.0)) == Outcome.UNDECIDED


def test_a_misclassified_clip_has_nothing():
    wrong = {**CLIP, "predicted": "B", "verdict": "misclassified", "lower_cost": None, "fmsr_lower": None}
    assert ahead(clip(1), wrong) == Outcome.A
    assert ahead(clip(1), wrong, "MSR") == Outcome.UNDECIDED
    assert ahead({**clip(1), "certified_radius": 0.1}, wrong, "MSR") == Outcome.A
    assert ahead(wrong, wrong) == ahead(wrong, wrong, "MSR") == Outcome.EQUAL


def test_distances_of_different_steps_are_compared_exactly():
    # As doubles, 3 * 0.1 is more than 0.3.
    assert ahead(clip(3, 3, tau=0.1), clip(1, 1, tau=0.3)) == Outcome.EQUAL
    assert ahead(clip(3, tau=0.1), clip(0, 1, tau=0.3)) == Outcome.UNDECIDED
    assert ahead(clip(4, 4, tau=0.1, norm="L2"), clip(1, 1, tau=0.2, norm="L2")) == Outcome.EQUAL
    assert ahead(robust(0.3), clip(0, 3, tau=0.1, radius=0.3)) == Outcome.A


def test_what_rests_on_a_constant_decides_nothing():
    assert ahead(clip(5, fmsr_lower_guarantee="lipschitz:estimated"), clip(1, 4)) == Outcome.UNDECIDED
    assert ahead(robust(fmsr_lower_guarantee="lipschitz:assumed"), clip(1, 4)) == Outcome.UNDECIDED
    guided = known(clip(5, fmsr_lower_guarantee="lipschitz:estimated"), "FMSR")
    assert difference(guided, known(clip(1, 4), "FMSR"), 8.0) == (-4.0, 7.0)


def test_real_changes_are_compared_beyond_rounding():
    a, b = {**CLIP, "certified_radius": 0.3}, {**CLIP, "msr_upper": 3 * 0.1}
    assert ahead(a, b, "MSR") == Outcome.UNDECIDED
    assert ahead({**CLIP, "certified_radius": 0.30000000000000010}, b, "MSR") == Outcome.UNDECIDED
    assert ahead({**CLIP, "certified_radius": 0.3001}, b, "MSR") == Outcome.A


@st.composite
def clips(draw, norm):
    """A clip with true bounds of a true cost, at most the radius's; None of a clip that is robust."""
    tau, radius_cost = draw(st.sampled_from([0.1, 0.3, 1.0, 2.0])), draw(st.integers(1, 12))
    radius = float(Fraction(str(tau)) * radius_cost) if norm == "L1" else tau * math.sqrt(radius_cost)
    cost = draw(st.integers(1, 15))
    if norm == "L1" and cost > radius_cost and draw(st.booleans()):
        return robust(radius, norm=norm, tau=tau), None
    upper = draw(st.none() | st.integers(cost, max(cost, radius_cost)))
    return clip(draw(st.integers(0, cost)), upper, norm=norm, tau=tau, radius=radius), cost


@given(st.data(), st.sampled_from(["L1", "L2"]))
def test_no_true_value_contradicts_an_outcome(data, norm):
    (a, cost_a), (b, cost_b) = data.draw(clips(norm)), data.draw(clips(norm))
    power = 2 if norm == "L2" else 1
    # A robust clip's true value is anything beyond its radius; just beyond it is the hardest.
    true_a, true_b = (
        Fraction(str(row["radius"])) + Fraction(1, 10**6) if cost is None else Fraction(str(row["tau"])) ** power * cost
        for row, cost in ((a, cost_a), (b, cost_b))
    )
    found = ahead(a, b)
    assert found != Outcome.A or true_a > true_b
    assert found != Outcome.B or true_b > true_a
    assert found != Outcome.EQUAL or true_a == true_b
    radius = min(a["radius"], b["radius"])
    pixels = [min(float(true) ** (1 / power), radius) for true in (true_a, true_b)]
    least, most = difference(known(a, "FMSR"), known(b, "FMSR"), radius)
    assert least - 1e-9 <= pixels[0] - pixels[1] <= most + 1e-9


def named(number, path, sha=None, label="A"):
    return {**CLIP, "video_id": number, "video": path, "video_sha256": sha, "label": label}


def test_clips_are_matched_by_content_and_by_path_where_it_is_not_known():
    a = [named(1, "/v/a", "1"), named(2, "/v/b", "2"), named(3, "/v/c"), named(4, "/v/d", "4"), named(5, "/v/e", "5")]
    b = [named(11, "/w/a", "1"), named(12, "/v/b", "3"), named(13, "/v/c", "7"), named(14, "/v/d", "4", label="B")]
    found = match(a, b)
    # The same bytes elsewhere, and the same path of a clip that one job never read; not other bytes, nor another label.
    assert [(one["video_id"], other["video_id"]) for one, other in found.pairs] == [(1, 11), (3, 13)]
    assert (found.only_a, found.only_b, found.changed) == (3, 2, 1)


def test_copies_of_a_clip_are_matched_one_to_one_and_first_by_their_paths():
    a = [named(1, "/v/a", "1"), named(2, "/v/b", "1"), named(3, "/v/c", "1")]
    b = [named(11, "/v/b", "1"), named(12, "/w/x", "1"), named(13, "/w/y", "1")]
    assert [(one["video_id"], other["video_id"]) for one, other in match(a, b).pairs] == [(1, 12), (2, 11), (3, 13)]


def test_the_interval_of_a_median_is_that_of_the_medians_of_all_draws(monkeypatch):
    monkeypatch.setattr(counted, "RESAMPLES", 20_000)
    clips, groups = [5.0, 1.0, 9.0, 2.0, 2.5], [0, 0, 1, 2, 2]
    members = {0: [5.0, 1.0], 1: [9.0], 2: [2.0, 2.5]}
    every = [
        statistics.median([value for group in draw for value in members[group]])
        for draw in itertools.product(range(3), repeat=3)
    ]
    assert median_intervals([clips], groups) == [tuple(np.quantile(every, (0.025, 0.975), method="inverted_cdf"))]
    assert median_intervals([[1.0, 2.0]], [0, 0]) == [(None, None)]


def grouped(outcomes):
    """Pairs of clips, ``group:outcome`` each."""
    sides = {"a": (clip(5, 5), clip(3, 3)), "b": (clip(3, 3), clip(5, 5)), "=": (clip(4, 4),) * 2, "?": (clip(1),) * 2}
    return [
        tuple({**side, "video": f"/v/v_A_g{group}_c{number:02}.avi"} for side in sides[word])
        for number, (group, word) in enumerate(item.split(":") for item in outcomes.split())
    ]


def test_a_group_counts_once_in_a_test():
    # A is ahead in groups 1 to 6, however many clips they have; 7 is balanced, 8 equal and 9 undecided.
    pairs = grouped("1:a 1:a 1:b 2:a 3:a 4:a 4:? 5:a 6:a 7:a 7:b 8:= 9:?")
    found = compared(pairs, "FMSR")
    assert (found.clips, found.groups) == (13, 9)
    assert found.outcomes == {"a": 8, "b": 2, "equal": 1, "undecided": 2}
    sign, rank = found.tests
    assert (sign.clips, sign.a, sign.b, sign.even) == (11, 6, 0, 2)
    assert sign.p_value == pytest.approx(2 / 2**6)
    # Mean differences 2/3, 2, 2, 2, 2, 2, 0 and 0: the least that six of one sign can have.
    assert (rank.clips, rank.a, rank.b, rank.even) == (11, 6, 0, 2)
    assert rank.p_value == pytest.approx(2 / 2**6)


def test_nothing_is_tested_where_nothing_is_decided():
    found = compared(grouped("1:? 2:= 3:?"), "FMSR")
    assert [test.p_value for test in found.tests] == [None, None]
    assert [test.even for test in found.tests] == [1, 1]
    assert compared([], "FMSR").medians == []
    assert compared([], "FMSR").tests[0].p_value is None


def test_medians_of_the_difference_bound_it_from_both_sides():
    (least, most, lower, upper) = compared([(clip(5, 7), clip(1, 4))], "FMSR").medians
    assert [row.median for row in (least, most, lower, upper)] == [1.0, 6.0, 4.0, 3.0]
    # What is not known from above may be as much as the radius, and no more counts.
    (least, most, *_) = compared([(robust(), clip(1, radius=6.0))], "FMSR").medians
    assert (least.median, most.median) == (0.0, 5.0)
