"""Decides how results are written to files for other programs: CSV and Parquet with the columns of the view."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.errors import InputError
from scheduler.report.encode import plain
from scheduler.report.rows import Row

#: Columns that may be greater than any machine integer; Parquet keeps them as decimal text.
_EXACT = ("points_total", "points_needed")
_INTEGERS = ("job_id", "video_id", "points_explored", "lower_cost", "upper_cost")
_DOUBLES = (
    "tau", "radius", "fmsr_lower", "fmsr_upper", "msr_lower", "msr_upper", "seconds", "margin",
    "certified_radius", "lipschitz", "within_constant", "half_diagonal", "error_bound",
    "constant_lower",
)  # fmt: skip
_BOOLEANS = ("constant_refuted",)


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write results as CSV; unknown is empty, infinity is ``inf``. Raises InputError when that fails."""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows({key: plain(_flat(value)) for key, value in row.items()} for row in rows)
    except OSError as error:
        raise InputError("--csv", f"{path}: cannot be written ({error.strerror})") from error


def write_parquet(rows: Sequence[Row], path: Path) -> None:
    """Write results as Parquet; unknown is null, infinity is infinity. Raises InputError when that fails."""
    # Loaded late: these libraries take longer to load than most commands to run.
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, _arrow_type(pa, name)) for name in rows[0]])
    columns = {name: [_arrow_value(name, row[name]) for row in rows] for name in rows[0]}
    try:
        pq.write_table(pa.table(columns, schema=schema), path)
    except OSError as error:
        raise InputError("--parquet", f"{path}: cannot be written ({error.strerror or error})") from error


def _arrow_type(pa: Any, name: str) -> Any:
    if name in _INTEGERS:
        return pa.int64()
    if name in _BOOLEANS:
        return pa.bool_()
    return pa.float64() if name in _DOUBLES else pa.string()


def _arrow_value(name: str, value: Any) -> Any:
    return str(int(value)) if name in _EXACT and value is not None else _flat(value)


def _flat(value: Any) -> Any:
    """Points are written as JSON: neither file has lists."""
    return json.dumps(value) if isinstance(value, list) else value
