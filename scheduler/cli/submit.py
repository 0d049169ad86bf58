"""The command ``flowcert submit``."""

from __future__ import annotations

from typing import Any

import typer

from common.settings import read_settings
from scheduler.cli.options import of_a_job
from scheduler.cli.orders import hand_in, take_request
from scheduler.cli.servers import open_servers


@of_a_job
def submit(given: dict[str, Any]) -> None:
    """Make a job, or resume the one with the same specification; print its number.

    Workers and a scheduler that run elsewhere do the work; flowcert run does it here.
    """
    settings = read_settings()
    order = take_request(given, settings, here=False)
    with open_servers(settings) as servers:
        typer.echo(hand_in(servers, order))
