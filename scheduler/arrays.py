"""Writes lists of numbers as PostgreSQL reads them fastest: one literal, instead of an expression for each of them."""

from __future__ import annotations

from collections.abc import Iterable


def array(values: Iterable[float | None]) -> str:
    """Text of a PostgreSQL array of numbers or truth values, to be bound and cast; None is NULL."""
    return "{" + ",".join("NULL" if value is None else str(value) for value in values) + "}"
