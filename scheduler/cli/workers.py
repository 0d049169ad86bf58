"""The command ``flowcert workers``."""

from __future__ import annotations

from common.settings import read_settings
from scheduler.cli.options import AsJson
from scheduler.cli.output import listing
from scheduler.cli.servers import open_servers
from scheduler.report.rows import worker_rows
from scheduler.report.tables import workers_table


def workers(as_json: AsJson = False) -> None:
    """List the workers that ever showed themselves, those seen last first."""
    with open_servers(read_settings()) as servers:
        rows = worker_rows(servers.engine)
    listing(rows, workers_table(rows), as_json=as_json)
