"""The command ``flowcert summary``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group

from common.settings import read_settings
from scheduler.cli.options import AsJson, Job
from scheduler.cli.output import note, results_console
from scheduler.cli.servers import open_servers
from scheduler.report.encode import object_json
from scheduler.report.files import write_csv
from scheduler.report.rows import LATEST, find_job
from scheduler.report.summary import read_summary
from scheduler.report.summary_files import summary_object, summary_rows
from scheduler.report.summary_table import summary_tables

Csv = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write a CSV file, one number a row, instead.")]


def summary(job: Job = LATEST, as_json: AsJson = False, csv: Csv = None) -> None:
    """Show what a job says as a whole: accuracy, certified shares, medians by class, expected safe radii.

    A certified share is the share of all evaluated clips, misclassified ones included, whose lower bound reaches a
    displacement of so many pixels per flow entry, under one guarantee. Failed clips are counted apart.
    """
    with open_servers(read_settings()) as servers:
        read = read_summary(servers.engine, find_job(servers.engine, job))
    if csv is not None:
        write_csv(summary_rows(read), csv)
        note(f"written: {csv}")
    if as_json:
        typer.echo(object_json(summary_object(read)))
    elif csv is None:
        results_console().print(Group(*summary_tables(read)))
