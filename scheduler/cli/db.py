"""The command ``flowcert db upgrade``."""

from __future__ import annotations

from common.settings import Settings
from migrations.schema import upgrade as upgrade_schema
from scheduler.cli.output import note
from scheduler.cli.servers import open_servers


def upgrade() -> None:
    """Bring the database to the schema of this program; embedded ones are upgraded unasked."""
    with open_servers(Settings(), at_head=False) as servers:
        upgrade_schema(servers.engine)
    note("the database is at head")
