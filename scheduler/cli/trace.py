"""The command ``flowcert trace``."""

from __future__ import annotations

from common.settings import read_settings
from scheduler.cli.options import AsJson, Job
from scheduler.cli.output import listing
from scheduler.cli.servers import open_servers
from scheduler.report.rows import LATEST, find_job, trace_rows
from scheduler.report.tables import trace_table


def trace(job: Job = LATEST, as_json: AsJson = False) -> None:
    """List every move of the bounds of a job's clips, in order of time."""
    with open_servers(read_settings()) as servers:
        rows = trace_rows(servers.engine, find_job(servers.engine, job))
    listing(rows, trace_table(rows), as_json=as_json)
