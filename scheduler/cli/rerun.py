"""The command ``flowcert rerun``."""

from __future__ import annotations

from typing import Annotated

import typer

from common.errors import InputError
from common.settings import read_settings
from scheduler.cli.options import Job
from scheduler.cli.output import note
from scheduler.cli.servers import open_servers
from scheduler.intake import rerun_all, rerun_failed, rerun_missing
from scheduler.report.rows import LATEST, find_job

Failed = Annotated[
    bool, typer.Option("--failed", help="Clips that a task failed go on, unless their results contradict each other.")
]
Missing = Annotated[
    bool, typer.Option("--missing", help="Clips whose file could not be used when they were submitted, and can be now.")
]
Everything = Annotated[
    bool, typer.Option("--all", help="Every clip from the beginning, as a new job; the old one and its bounds stay.")
]


def rerun(job: Job = LATEST, failed: Failed = False, missing: Missing = False, everything: Everything = False) -> None:
    """Work on clips of a job again; print the number of the job that does.

    Give exactly one of --failed, --missing and --all.
    """
    chosen = [
        function
        for function, wanted in ((rerun_failed, failed), (rerun_missing, missing), (rerun_all, everything))
        if wanted
    ]
    if len(chosen) != 1:
        raise InputError("flowcert rerun", "give exactly one of --failed, --missing and --all")
    with open_servers(read_settings()) as servers:
        old = find_job(servers.engine, job)
        done = chosen[0](servers.engine, old)
    new = f", a new one with what job {old} asks for" if done.job_id != old else ""
    note(f"job {done.job_id}{new}: {done.begun} clips are worked on again, {done.kept} stay failed")
    typer.echo(done.job_id)
