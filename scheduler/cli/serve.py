"""The commands ``flowcert worker`` and ``flowcert scheduler``: one process on the servers of this environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from common.settings import Settings
from scheduler.cli.servers import open_servers
from scheduler.processes import SCHEDULER, WORKER, launch, stop_all


def worker() -> None:
    """Run one worker until it is stopped."""
    _serve(WORKER)


def scheduler() -> None:
    """Run the scheduler until it is stopped; of several, one leads and the others stand by."""
    _serve(SCHEDULER)


def _serve(arguments: Sequence[str]) -> None:
    with open_servers(Settings()) as servers:
        if servers.embedded:
            # The servers end with the process that started them, so this one has to stay.
            process = launch(arguments, servers.environment(), None)
            try:
                raise typer.Exit(process.wait())
            finally:
                stop_all([process])
        environment = servers.environment()
    os.execve(sys.executable, [sys.executable, *arguments], dict(environment))  # noqa: S606 - replacing this process is the point.
