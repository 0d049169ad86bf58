"""Decides how rows are written to files for other programs: CSV and Parquet, a column for each of a row's keys."""

from __future__ import annotations

import csv
import io
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
    "constant_lower", "fmsr_difference_at_least", "fmsr_difference_at_most", "msr_difference_at_least",
    "msr_difference_at_most",
)  # fmt: skip
_BOOLEANS = ("constant_refuted",)


def csv_text(rows: Sequence[Row]) -> str:
    """Write rows as CSV; unknown is empty, infinity is ``inf``."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows({key: plain(_flat(value)) for key, value in row.items()} for row in rows)
    return text.getvalue()


def write_csv(rows: Sequence[Row], path: Path, option: str = "--csv") -> None:
    """Write rows into a CSV file; raises InputError at the ``option`` that named it when that fails."""
    write_text(csv_text(rows), path, option)


def write_text(content: str, path: Path, option: str) -> None:
    """Write text as it is into a file; raises InputError at the ``option`` that named it when that fails."""
    try:
        path.write_text(content, encoding="utf-8", newline="")
    except OSError as error:
        raise InputError(option, f"{path}: cannot be written ({error.strerror})") from error


def write_parquet(rows: Sequence[Row], path: Path, option: str) -> None:
    """Write rows as Parquet; unknown is null, infinity is infinity. Raises InputError at ``option`` when that fails."""
    # Loaded late: these libraries take longer to load than most commands to run.
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, _arrow_type(pa, name)) for name in rows[0]])
    columns = {name: [_arrow_value(name, row[name]) for row in rows] for name in rows[0]}
    try:
        pq.write_table(pa.table(columns, schema=schema), path)
    except OSError as error:
        raise InputError(option, f"{path}: cannot be written ({error.strerror or error})") from error


def _arrow_type(pa: Any, name: str) -> Any:
    # A comparison has the same columns twice, one of each job.
    known = name.removesuffix("_a").removesuffix("_b")
    if known in _INTEGERS:
        return pa.int64()
    if known in _BOOLEANS:
        return pa.bool_()
    return pa.float64() if known in _DOUBLES else pa.string()


def _arrow_value(name: str, value: Any) -> Any:
    return str(int(value)) if name in _EXACT and value is not None else _flat(value)


def _flat(value: Any) -> Any:
    """Points are written as JSON: neither file has lists."""
    return json.dumps(value) if isinstance(value, list) else value
