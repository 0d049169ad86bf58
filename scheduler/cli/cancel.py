"""The command ``flowcert cancel``."""

from __future__ import annotations

from common.settings import Settings
from scheduler.cli.options import Job
from scheduler.cli.output import note
from scheduler.cli.servers import open_servers
from scheduler.intake import cancel as cancel_job
from scheduler.report.rows import LATEST, find_job


def cancel(job: Job = LATEST) -> None:
    """Stop a running job; what is proved stays, and submitting it again goes on from there."""
    with open_servers(Settings()) as servers:
        job_id = find_job(servers.engine, job)
        clips = cancel_job(servers.engine, job_id)
    note(f"job {job_id} is cancelled; {clips} clips were not finished")
