"""Starts one scheduler process on the servers named in the environment: ``python -m scheduler``."""

from __future__ import annotations

import gc
import sys

import structlog
from pydantic import SecretStr
from sqlalchemy import Engine

from common.celery_app import make_app
from common.errors import SchemaError
from common.start import start
from common.store.engine import open_engine
from migrations.schema import require_program
from scheduler.loop import lead, stop_on_signals


def main() -> int:
    """Run until SIGTERM or SIGINT; exit 2 with one line when environment, schema, version or broker are wrong."""
    started = start("scheduler", _database)
    if started is None:
        return 2
    # What is imported stays, and a round's rows go by reference counts: looking for cycles among them cost a twentieth.
    gc.freeze()
    gc.set_threshold(50_000)
    settings = started.settings
    app = make_app(started.broker_url, task_seconds=settings.task_seconds)
    try:
        lead(started.database, app, settings, stop_on_signals())
    except SchemaError as error:
        structlog.get_logger().error("refused_to_go_on", reason=str(error))
        return 2
    return 0


def _database(url: SecretStr) -> Engine:
    engine = open_engine(url)
    require_program(engine)
    return engine


if __name__ == "__main__":
    sys.exit(main())
