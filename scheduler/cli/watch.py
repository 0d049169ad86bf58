"""The command ``flowcert watch``."""

from __future__ import annotations

from common.settings import read_settings
from scheduler.cli.options import Job
from scheduler.cli.output import note
from scheduler.cli.progress import follow
from scheduler.cli.servers import open_servers
from scheduler.report.rows import LATEST, find_job


def watch(job: Job = LATEST) -> None:
    """Show a job's progress until it is done or cancelled.

    On a terminal: its workers, and the bounds of the clips that are worked on or moved last, closing on an axis that
    all of them share. Elsewhere a line when something changed. Ctrl-C ends the showing only.
    """
    with open_servers(read_settings()) as servers:
        job_id = find_job(servers.engine, job)
        try:
            row = follow(servers, job_id)
        except KeyboardInterrupt:
            note(f"job {job_id} is left as it is; flowcert watch {job_id} shows it again")
            raise
        note(f"job {row['job_id']} is {row['status']}; flowcert results {row['job_id']} shows its bounds")
