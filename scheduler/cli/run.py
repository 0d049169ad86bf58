"""The command ``flowcert run``."""

from __future__ import annotations

from typing import Any

from common.settings import read_settings
from scheduler.cli.local import default_workers, work
from scheduler.cli.options import Workers, of_a_job
from scheduler.cli.orders import hand_in, take_request
from scheduler.cli.servers import open_servers


@of_a_job
def run(given: dict[str, Any], workers: Workers = None) -> None:
    """Submit a job and work on it here until it is done; print its results."""
    settings = read_settings()
    order = take_request(given, settings)
    with open_servers(settings) as servers:
        work(servers, hand_in(servers, order), workers or default_workers(), order.spec.model.name)
