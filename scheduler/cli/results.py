"""The command ``flowcert results``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group

from common.settings import Settings
from scheduler.cli.options import AsJson, Job
from scheduler.cli.output import listing, note
from scheduler.cli.servers import open_servers
from scheduler.report.files import write_csv, write_parquet
from scheduler.report.plot import plot_bounds
from scheduler.report.rows import LATEST, clip_rows, find_job, witness_rows
from scheduler.report.strategy import strategy_lines, with_strategies
from scheduler.report.tables import results_table

Csv = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write a CSV file instead.")]
Parquet = Annotated[Path | None, typer.Option("--parquet", metavar="FILE", help="Write a Parquet file instead.")]
Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw the bounds into a PNG file instead.")]


def results(
    job: Job = LATEST, as_json: AsJson = False, csv: Csv = None, parquet: Parquet = None, plot: Plot = None
) -> None:
    """Show the bounds of a job's clips: flow distances in pixels of the job's norm.

    Below the table stands how each clip with a witness is changed: the first moves of the two players' strategy.
    """
    with open_servers(Settings()) as servers:
        job_id = find_job(servers.engine, job)
        witnesses = witness_rows(servers.engine, job_id)
        rows = with_strategies(clip_rows(servers.engine, job_id), witnesses)
    written = False
    for path, write in ((csv, write_csv), (parquet, write_parquet), (plot, plot_bounds)):
        if path is not None:
            write(rows, path)
            note(f"written: {path}")
            written = True
    if as_json or not written:
        listing(rows, Group(results_table(rows), *strategy_lines(witnesses)), as_json=as_json)
