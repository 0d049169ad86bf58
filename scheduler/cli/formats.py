"""Decides in which format a command writes its rows, and where to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType

from common.errors import InputError
from scheduler.cli.output import WIDE, SafeConsole, note, results_console, say
from scheduler.report.files import csv_text, write_parquet, write_text
from scheduler.report.rows import Row


class Format(StrEnum):
    """How rows are written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


AsFormat = Annotated[
    Format | None,
    typer.Option("--format", metavar="table|json|csv|parquet", help="How to write it [as FILE's name ends, or table]."),
]
Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write a file instead.")]


def chosen(named: Format | None, out: Path | None, *, as_json: bool) -> Format:
    """The format that is asked for, in one way or another; raises InputError when two ways disagree."""
    if as_json:
        if named not in (None, Format.JSON):
            raise InputError("--json", f"is short for --format json; leave out --format {named}")
        return Format.JSON
    if named is None:
        endings = {f".{word}": word for word in Format}
        named = Format.TABLE if out is None else endings.get(out.suffix.lower(), Format.TABLE)
    if named == Format.PARQUET and out is None:
        raise InputError("--format", "parquet is no text; name a file with --out FILE")
    return named


def deliver(
    shape: Format, out: Path | None, rows: Sequence[Row], json: Callable[[], str], table: Callable[[], RenderableType]
) -> None:
    """Write rows in a format, to standard output or to the file ``out``; raises InputError when that fails."""
    if shape == Format.PARQUET and out is not None:
        write_parquet(rows, out, "--out")
    elif shape == Format.TABLE and out is None:
        results_console().print(table())
    else:
        text = csv_text(rows) if shape == Format.CSV else json() + "\n" if shape == Format.JSON else _drawn(table())
        if out is None:
            say(text)
        else:
            write_text(text, out, "--out")
    if out is not None:
        note(f"written: {out}")


def _drawn(table: RenderableType) -> str:
    console = SafeConsole(width=WIDE, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get()
