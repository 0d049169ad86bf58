"""The command ``flowcert watch``."""

from __future__ import annotations

from common.settings import Settings
from scheduler.cli.options import Job
from scheduler.cli.output import note
from scheduler.cli.progress import follow
from scheduler.cli.servers import open_servers
from scheduler.report.rows import LATEST, find_job


def watch(job: Job = LATEST) -> None:
    """Show a job's progress until it is done or cancelled."""
    with open_servers(Settings()) as servers:
        row = follow(servers, find_job(servers.engine, job))
        note(f"job {row['job_id']} is {row['status']}; flowcert results {row['job_id']} shows its bounds")
