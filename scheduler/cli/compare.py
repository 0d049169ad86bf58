"""The command ``flowcert compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group

from common.settings import read_settings
from scheduler.cli.formats import AsFormat, Out, chosen, deliver
from scheduler.cli.options import AsJson
from scheduler.cli.output import note
from scheduler.cli.servers import open_servers
from scheduler.report.compare.comparison import comparison_object, read_comparison
from scheduler.report.compare.plot import plot_comparison
from scheduler.report.compare.tables import comparison_tables
from scheduler.report.encode import object_json
from scheduler.report.rows import find_job

JobA = Annotated[str, typer.Argument(metavar="JOB_A", help="Number of a job, or latest.")]
JobB = Annotated[str, typer.Argument(metavar="JOB_B", help="Number of the job to hold against it.")]
Plot = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="Draw A against B into a PNG or SVG file instead.")
]


def compare(
    job_a: JobA, job_b: JobB, as_json: AsJson = False, shape: AsFormat = None, out: Out = None, plot: Plot = None
) -> None:
    """Hold two jobs against each other on the clips that both have: two models, or two settings.

    Says what differs between the two, lists the clips side by side, and counts those on which one job is certainly
    ahead: its lower bound is above the other's upper bound. Jobs of different norm, frames, flow or features are not
    compared. CSV and Parquet have a row a clip, JSON all of it.
    """
    wanted = chosen(shape, out, as_json=as_json)
    with open_servers(read_settings()) as servers:
        read = read_comparison(servers.engine, find_job(servers.engine, job_a), find_job(servers.engine, job_b))
    if plot is not None:
        plot_comparison(read, plot)
        note(f"written: {plot}")
    if plot is None or out is not None or as_json or shape is not None:
        deliver(
            wanted, out, read.rows, json=lambda: object_json(comparison_object(read)),
            table=lambda: Group(*comparison_tables(read)),
        )  # fmt: skip
