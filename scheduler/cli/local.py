"""Decides how a job is worked on here: one scheduler, some workers, progress, and the results at the end."""

from __future__ import annotations

import os

from common.vocab import JobStatus
from scheduler.cli.output import note, results_console
from scheduler.cli.progress import follow
from scheduler.cli.servers import Servers
from scheduler.processes import SCHEDULER, WORKER, Family
from scheduler.report.rows import clip_rows, job_progress, progress_rows
from scheduler.report.tables import results_table


def default_workers() -> int:
    """Worker processes to start when the user does not say: more would share the memory bus of a small machine."""
    return min(2, os.cpu_count() or 1)


def work(servers: Servers, job_id: int, workers: int, *models: str) -> None:
    """Run a scheduler and workers until a job is done or cancelled; print its results.

    ``models`` are those that the user has asked for, whose factories these workers may import.
    Interrupted, it stops them and says how to go on. Raises ServerError when they do not stay alive.
    """
    if job_progress(servers.engine, job_id)["status"] == JobStatus.RUNNING:
        family = Family(servers.environment(*models), servers.log_dir, note)
        try:
            family.start("scheduler", SCHEDULER)
            for number in range(1, workers + 1):
                family.start(f"worker-{number}", WORKER)
            _say_what_else_runs(servers, job_id)
            note(f"job {job_id}: {workers} workers; their logs are in {servers.log_dir}")
            follow(servers, job_id, family.tend)
        except KeyboardInterrupt:
            note(f"stopping; what is proved of job {job_id} is kept: give the same command again to go on")
            raise
        finally:
            family.stop()
    results_console().print(results_table(clip_rows(servers.engine, job_id)))


def _say_what_else_runs(servers: Servers, job_id: int) -> None:
    """Name the other jobs that are not finished: they have a share of the workers, or come first."""
    rows = progress_rows(servers.engine)
    priority = next(row["priority"] for row in rows if row["job_id"] == job_id)
    for row in rows:
        other = row["job_id"]
        if other != job_id and row["status"] == JobStatus.RUNNING and row["priority"] >= priority:
            takes = "comes first" if row["priority"] > priority else "gets an equal share of the workers"
            note(f"job {other} is not finished either and {takes}; flowcert pause {other} holds it")
