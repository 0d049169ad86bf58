"""The command ``flowcert guarantees``."""

from __future__ import annotations

from common.settings import read_settings
from scheduler.cli.options import AsJson, Job
from scheduler.cli.output import listing
from scheduler.cli.servers import open_servers
from scheduler.report.rows import LATEST, find_job, guarantee_rows
from scheduler.report.tables import guarantees_table


def guarantees(job: Job = LATEST, as_json: AsJson = False) -> None:
    """List every lower bound of a job's clips, route by route, with what it speaks of and what it rests on."""
    with open_servers(read_settings()) as servers:
        rows = guarantee_rows(servers.engine, find_job(servers.engine, job))
    listing(rows, guarantees_table(rows), as_json=as_json)
