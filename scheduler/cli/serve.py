"""The commands ``flowcert worker`` and ``flowcert scheduler``: processes on the servers of this environment."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from common.errors import InputError
from common.settings import read_settings
from scheduler.cli.output import note
from scheduler.cli.servers import Servers, open_servers
from scheduler.gpus import choose_gpus
from scheduler.processes import SCHEDULER, WORKER, Family, launch, stop_all

_TEND_SECONDS = 0.5

Gpus = Annotated[
    str | None,
    typer.Option(metavar="N,N|all", help="One worker for each of these GPUs, as nvidia-smi numbers them."),
]
Processes = Annotated[int | None, typer.Option(metavar="N", min=1, help="N workers, on a machine without GPUs.")]


def worker(gpus: Gpus = None, processes: Processes = None) -> None:
    """Run one worker, or one for each GPU, until it is stopped.

    Several are kept alive: one that ends is started again. Asked to stop, all hand in what they have proved.
    """
    if gpus is not None and processes is not None:
        raise InputError("--gpus, --processes", "give one of them: a GPU has one worker")
    if gpus is not None:
        _serve_several({f"worker-{name}": pinned for name, pinned in choose_gpus(gpus).items()})
    elif processes is not None:
        _serve_several({f"worker-{number}": {} for number in range(1, processes + 1)})
    else:
        _serve(WORKER)


def scheduler() -> None:
    """Run the scheduler until it is stopped; of several, one leads and the others stand by."""
    _serve(SCHEDULER)


def _serve(arguments: Sequence[str]) -> None:
    with open_servers(read_settings()) as servers:
        if servers.embedded:
            # The servers end with the process that started them, so this one has to stay.
            process = launch(arguments, servers.environment(), None)
            try:
                raise typer.Exit(process.wait())
            finally:
                stop_all([process])
        environment = servers.environment()
    os.execve(sys.executable, [sys.executable, *arguments], dict(environment))  # noqa: S606 - replacing this process is the point.


def _serve_several(workers: Mapping[str, Mapping[str, str]]) -> None:
    """Keep workers alive, each with its own part of the environment, until this process is told to stop."""
    with open_servers(read_settings()) as servers:
        family = Family(servers.environment(), None, note)
        try:
            for name, pinned in workers.items():
                family.start(name, WORKER, pinned)
            note(f"started {', '.join(workers)}")
            _tend(servers, family)
        except KeyboardInterrupt:
            note("stopping; the workers hand in what they have proved")
        finally:
            family.stop()


def _tend(servers: Servers, family: Family) -> None:
    # Connections are for statements, of which there are none while the workers work.
    servers.engine.dispose()
    while True:
        family.tend()
        time.sleep(_TEND_SECONDS)
