"""Decides where a command's words go: results to standard output, notes and progress to standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from common.printable import visible
from scheduler.report.encode import to_json
from scheduler.report.rows import Row

#: Columns of a table that is not shown on a terminal; nothing is cut off in a log.
WIDE = 200


class SafeConsole(Console):
    """Console on which nothing acts but its own colours: names may hold what a terminal would obey."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as a console does, with unprintable characters as escapes."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def results_console() -> Console:
    """Console on standard output."""
    return SafeConsole(width=None if sys.stdout.isatty() else WIDE)


def notes_console() -> Console:
    """Console on standard error."""
    return SafeConsole(stderr=True)


def note(text: str) -> None:
    """Tell the user something that is no result."""
    typer.echo(visible(text), err=True)


def say(text: str) -> None:
    """Write a result that is text; on a terminal, nothing in it acts."""
    typer.echo(visible(text) if sys.stdout.isatty() else text, nl=not text.endswith("\n"))


def listing(rows: Sequence[Row], table: RenderableType, *, as_json: bool) -> None:
    """Print rows as JSON or as a table."""
    if as_json:
        typer.echo(to_json(rows))
    else:
        results_console().print(table)
