"""The command ``flowcert results``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group

from common.settings import read_settings
from scheduler.cli.formats import AsFormat, Out, chosen, deliver
from scheduler.cli.options import AsJson, Job
from scheduler.cli.output import note
from scheduler.cli.servers import open_servers
from scheduler.report.answers import with_answers
from scheduler.report.encode import to_json
from scheduler.report.plot import plot_bounds
from scheduler.report.rows import LATEST, clip_rows, find_job, witness_rows
from scheduler.report.strategy import strategy_lines, with_strategies
from scheduler.report.tables import results_table

Plot = Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw the bounds into a PNG file instead.")]


def results(
    job: Job = LATEST, as_json: AsJson = False, shape: AsFormat = None, out: Out = None, plot: Plot = None
) -> None:
    """Show the bounds of a job's clips: flow distances in pixels of the job's norm.

    Below the table stands how each clip with a witness is changed: the first moves of the two players' strategy. The
    other formats have a row a clip with every column, among them VNN-COMP's words at the job's radius: vnncomp_grid
    for the finite game, vnncomp_real for all real changes.
    """
    wanted = chosen(shape, out, as_json=as_json)
    with open_servers(read_settings()) as servers:
        job_id = find_job(servers.engine, job)
        witnesses = witness_rows(servers.engine, job_id)
        rows = with_answers(with_strategies(clip_rows(servers.engine, job_id), witnesses))
    if plot is not None:
        plot_bounds(rows, plot)
        note(f"written: {plot}")
    if plot is None or out is not None or as_json or shape is not None:
        deliver(
            wanted, out, rows, json=lambda: to_json(rows),
            table=lambda: Group(results_table(rows), *strategy_lines(witnesses)),
        )  # fmt: skip
