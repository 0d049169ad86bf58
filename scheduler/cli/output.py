"""Decides where a command's words go: results to standard output, notes and progress to standard error."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer
from rich.console import Console, RenderableType

from scheduler.report.encode import to_json
from scheduler.report.rows import Row

#: Columns of a table that is not shown on a terminal; nothing is cut off in a log.
WIDE = 200


def results_console() -> Console:
    """Console on standard output."""
    return Console(width=None if sys.stdout.isatty() else WIDE)


def notes_console() -> Console:
    """Console on standard error."""
    return Console(stderr=True)


def note(text: str) -> None:
    """Tell the user something that is no result."""
    typer.echo(text, err=True)


def listing(rows: Sequence[Row], table: RenderableType, *, as_json: bool) -> None:
    """Print rows as JSON or as a table."""
    if as_json:
        typer.echo(to_json(rows))
    else:
        results_console().print(table)
