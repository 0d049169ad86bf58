"""Distances are shown with four digits, and no digit claims more than is known."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.report.tables import at_least, at_most, bounds, distance, msr_bounds, results_table


@given(st.floats(1e-6, 1e9))
def test_a_lower_bound_is_rounded_down_and_an_upper_bound_up(pixels):
    assert Decimal(at_least(pixels)) <= Decimal(pixels) <= Decimal(at_most(pixels))
    assert float(at_least(pixels)) == pytest.approx(pixels, rel=1.1e-3)
    assert float(at_most(pixels)) == pytest.approx(pixels, rel=1.1e-3)


def test_what_four_digits_hold_is_not_changed():
    for pixels, text in ((64.0, "64"), (45.25, "45.25"), (0.0, "0"), (1234.0, "1234"), (0.5, "0.5")):
        assert at_least(pixels) == at_most(pixels) == distance(pixels) == text


def test_what_is_not_known_or_does_not_exist():
    assert at_least(None) == at_most(None) == "?"
    assert at_most(float("inf")) == "∞"
    assert bounds({"fmsr_lower": 64.0, "fmsr_upper": 64.0}) == "= 64"
    assert msr_bounds({"msr_lower": None, "msr_upper": None}) == "?"
    assert msr_bounds({"msr_lower": None, "msr_upper": 3.14159}) == "≤ 3.142"
    assert msr_bounds({"msr_lower": 2.71899, "msr_upper": None}) == "2.718 .. ?"


def test_no_two_columns_of_the_results_have_one_name():
    headers = [column.header for column in results_table([]).columns]
    assert headers.index("MSR guarantee") == headers.index("MSR") + 1
    assert len(set(headers)) == len(headers)
