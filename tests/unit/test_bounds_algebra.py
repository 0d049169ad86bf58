"""Merging bounds is commutative, associative, idempotent and monotone, so order and repetition cannot matter."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from scheduler.bounds import Bounds, least, refine

costs = st.integers(0, 2**62)
uppers = st.none() | costs
bounds = st.builds(Bounds, costs, uppers)
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


@given(bounds)
def test_bounds_cross_only_when_the_lower_is_above_the_upper(bound):
    assert bound.crossed == (bound.lower > upper(bound))
