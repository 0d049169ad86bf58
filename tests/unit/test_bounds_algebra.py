"""Merging bounds is commutative, associative, idempotent and monotone, so order and repetition cannot matter."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.bounds import Bounds, combine, least, refine

costs = st.integers(0, 2**62)
uppers = st.none() | costs
bounds = st.builds(Bounds, costs, uppers)
parts = st.lists(bounds, min_size=1, max_size=6)
INFINITE = float("inf")


def upper(bound: Bounds) -> float:
    return INFINITE if bound.upper is None else bound.upper


def is_within(tight: Bounds, loose: Bounds) -> bool:
    """Whether ``tight`` says at least as much as ``loose``."""
    return tight.lower >= loose.lower and upper(tight) <= upper(loose)


@given(uppers, uppers)
def test_least_takes_none_for_infinity(first, second):
    values = [INFINITE if value is None else value for value in (first, second)]
    assert least(first, second) == (None if min(values) == INFINITE else min(values))


@given(bounds, bounds, bounds)
def test_refine_is_a_lattice_join(a, b, c):
    assert refine(a, b) == refine(b, a)
    assert refine(refine(a, b), c) == refine(a, refine(b, c))
    assert refine(a, a) == a
    assert is_within(refine(a, b), a)
    assert is_within(refine(a, b), b)


@given(bounds, bounds)
def test_refine_says_no_more_than_its_parts(a, b):
    joined = refine(a, b)
    assert joined.lower in (a.lower, b.lower)
    assert joined.upper in (a.upper, b.upper)


@given(st.lists(bounds, min_size=1, max_size=6), st.randoms())
def test_reports_may_come_in_any_order_and_any_number(reports, random):
    def fold(sequence):
        state = Bounds(0)
        trace = [state]
        for report in sequence:
            state = refine(state, report)
            trace.append(state)
        return trace

    again = [*reports, *random.choices(reports, k=4)]
    random.shuffle(again)
    assert fold(reports)[-1] == fold(again)[-1]
    assert all(is_within(later, earlier) for earlier, later in pairwise(fold(again)))


@given(parts, st.randoms())
def test_combine_ignores_order_grouping_and_repetition(given_parts, random):
    whole = combine(given_parts)
    shuffled = random.sample(given_parts, len(given_parts))
    assert combine(shuffled) == whole
    assert combine([*shuffled, *random.choices(given_parts, k=3)]) == whole
    cut = random.randint(1, len(given_parts))
    groups = [group for group in (shuffled[:cut], shuffled[cut:]) if group]
    assert combine(combine(group) for group in groups) == whole
    assert combine(iter(given_parts)) == whole


@given(parts, st.data())
def test_a_better_part_never_makes_the_whole_worse(given_parts, data):
    at = data.draw(st.integers(0, len(given_parts) - 1))
    better = list(given_parts)
    better[at] = refine(better[at], data.draw(bounds))
    assert is_within(combine(better), combine(given_parts))


@given(st.lists(st.tuples(costs, costs), min_size=1, max_size=5))
def test_true_reports_on_the_parts_give_a_true_report_on_the_whole(truths):
    """Bounds around the least adversarial cost of each part combine to bounds around the least of them all."""
    reports = [Bounds(max(0, truth - slack), truth + slack) for truth, slack in truths]
    value = min(truth for truth, _ in truths)
    whole = combine(reports)
    assert whole.lower <= value <= upper(whole)
    assert not whole.crossed


@given(bounds)
def test_bounds_cross_only_when_the_lower_is_above_the_upper(bound):
    assert bound.crossed == (bound.lower > upper(bound))


def test_nothing_reported_is_no_bound():
    with pytest.raises(ValueError, match="nothing reported"):
        combine([])
