"""The commands ``flowcert cancel``, ``pause``, ``resume`` and ``priority``: one word about one job."""

from __future__ import annotations

from typing import Annotated

import typer

from common.settings import read_settings
from scheduler.cli.options import Job
from scheduler.cli.output import note
from scheduler.cli.servers import open_servers
from scheduler.intake import cancel as cancel_job
from scheduler.intake import pause as pause_job
from scheduler.intake import prioritise
from scheduler.intake import resume as resume_job
from scheduler.intake.config import LAST_PRIORITY
from scheduler.report.rows import LATEST, find_job

Which = Annotated[str, typer.Argument(metavar="JOB", help="Number of the job, or latest.")]
Number = Annotated[
    int,
    typer.Argument(
        metavar="N", min=-LAST_PRIORITY, max=LAST_PRIORITY, help="Its priority, from -1000 to 1000; new jobs have 0."
    ),
]


def cancel(job: Job = LATEST) -> None:
    """Stop a job that is running or paused; what is proved stays, and submitting it again goes on from there."""
    with open_servers(read_settings()) as servers:
        job_id = find_job(servers.engine, job)
        clips = cancel_job(servers.engine, job_id)
    note(f"job {job_id} is cancelled; {clips} clips were not finished")


def pause(job: Job = LATEST) -> None:
    """Hold a running job: its workers hand in what they have within seconds, and turn to other jobs."""
    with open_servers(read_settings()) as servers:
        job_id = find_job(servers.engine, job)
        tasks = pause_job(servers.engine, job_id)
    note(f"job {job_id} is paused, {tasks} tasks are being handed in; flowcert resume {job_id} goes on")


def resume(job: Job = LATEST) -> None:
    """Let a paused job go on."""
    with open_servers(read_settings()) as servers:
        job_id = find_job(servers.engine, job)
        clips = resume_job(servers.engine, job_id)
    note(f"job {job_id} goes on; {clips} clips are not finished")


def priority(job: Which, number: Number) -> None:
    """Give a job another priority: workers take tasks of a job only when none of a higher priority has any."""
    with open_servers(read_settings()) as servers:
        job_id = find_job(servers.engine, job)
        before = prioritise(servers.engine, job_id, number)
    note(f"job {job_id} has priority {number}; it had {before}")
