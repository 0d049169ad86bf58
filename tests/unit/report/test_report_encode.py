"""Reports are strict JSON: infinity by name, unknown as null, exact integers, and never NaN."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from common.errors import NumericalError
from scheduler.report.encode import to_json


def test_every_kind_of_value():
    row = {
        "a": float("inf"), "b": float("-inf"), "c": None, "d": Decimal(f"1{0:039}1"), "e": 0.1, "f": Decimal("26.5"),
        "g": datetime(2026, 11, 22, tzinfo=UTC), "h": "text", "i": 3,
    }  # fmt: skip
    assert json.loads(to_json([row])) == [
        {
            "a": "inf", "b": "-inf", "c": None, "d": 10**40 + 1, "e": 0.1, "f": 26.5,
            "g": "2026-11-22T00:00:00+00:00", "h": "text", "i": 3,
        }
    ]  # fmt: skip


def test_nan_is_an_error():
    with pytest.raises(NumericalError):
        to_json([{"x": float("nan")}])
