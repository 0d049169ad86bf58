"""The command ``flowcert status``."""

from __future__ import annotations

from typing import Annotated

import typer

from common.settings import read_settings
from scheduler.cli.options import AsJson
from scheduler.cli.output import listing
from scheduler.cli.servers import open_servers
from scheduler.report.rows import find_job, job_progress, progress_rows
from scheduler.report.tables import jobs_table

Job = Annotated[str | None, typer.Argument(metavar="[JOB]", help="Number of a job, or latest; all jobs when absent.")]


def status(job: Job = None, as_json: AsJson = False) -> None:
    """List jobs and how far they are."""
    with open_servers(read_settings()) as servers:
        engine = servers.engine
        rows = progress_rows(engine) if job is None else [job_progress(engine, find_job(engine, job))]
        listing(rows, jobs_table(rows), as_json=as_json)
