"""Starts one scheduler process on the servers named in the environment: ``python -m scheduler``."""

from __future__ import annotations

import gc
import sys

import structlog

from common.broker import check_broker
from common.celery_app import make_app
from common.errors import FlowcertError, InputError, SchemaError
from common.settings import read_settings
from common.store.engine import open_engine
from common.telemetry import configure_logs
from migrations.schema import require_program
from scheduler.loop import lead, stop_on_signals

log = structlog.get_logger()


def main() -> int:
    """Run until SIGTERM or SIGINT; exit 2 with one line when environment, schema, version or broker are wrong."""
    # Until the settings say how logs are wanted: that they are wrong has to be said, too.
    configure_logs(as_json=False, level="INFO")
    try:
        settings = read_settings()
        configure_logs(as_json=settings.log_json, level=settings.log_level)
        if not settings.database_url or not settings.broker_url:
            raise InputError("FLOWCERT_DATABASE_URL, FLOWCERT_BROKER_URL", "set both, or use: flowcert scheduler")
        engine = open_engine(settings.database_url)
        require_program(engine)
        check_broker(settings.broker_url, lambda text: log.warning("broker", problem=text), must_answer=False)
    except FlowcertError as error:
        structlog.get_logger().error("refused_to_start", reason=str(error))
        return 2
    # What is imported stays, and a round's rows go by reference counts: looking for cycles among them cost a twentieth.
    gc.freeze()
    gc.set_threshold(50_000)
    app = make_app(settings.broker_url, task_seconds=settings.task_seconds)
    try:
        lead(engine, app, settings, stop_on_signals())
    except SchemaError as error:
        structlog.get_logger().error("refused_to_go_on", reason=str(error))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
