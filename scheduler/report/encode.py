"""Decides how a row's values are written in strict JSON and in CSV: infinity by name, unknown as nothing, never NaN."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from common.errors import NumericalError
from scheduler.report.rows import Row


def plain(value: Any) -> Any:
    """Write a value of a view as JSON has it: numeric as integer, time as ISO 8601, infinity as ``"inf"``.

    Raises NumericalError for NaN, which no view may give.
    """
    match value:
        case float():
            if math.isnan(value):
                raise NumericalError("a report has NaN where a number was needed")
            return value if math.isfinite(value) else "inf" if value > 0 else "-inf"
        case Decimal():
            whole = int(value)
            return whole if whole == value else float(value)
        case datetime():
            return value.isoformat()
        case dict():
            return {key: plain(inner) for key, inner in value.items()}
        case list():
            return [plain(inner) for inner in value]
        case _:
            return value


def to_json(rows: Sequence[Row]) -> str:
    """Write rows as a JSON list, one object a row."""
    return json.dumps([plain(row) for row in rows], indent=2, allow_nan=False)


def object_json(row: Row) -> str:
    """Write one row, whose values may be rows and lists of them, as a JSON object."""
    return json.dumps(plain(row), indent=2, allow_nan=False)
