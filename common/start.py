"""Decides with what a process on servers starts: its settings, its logs, and servers that are fit for use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog
from pydantic import SecretStr

from common.broker import check_broker
from common.errors import FlowcertError, InputError
from common.settings import Settings, read_settings
from common.telemetry import configure_logs

log = structlog.get_logger()
Database = TypeVar("Database")


@dataclass(frozen=True)
class Started(Generic[Database]):
    """What a process goes on with."""

    settings: Settings
    broker_url: SecretStr
    database: Database


def start(command: str, opened: Callable[[SecretStr], Database]) -> Started[Database] | None:
    """Read the settings, configure logs, have the database ``opened`` and look at the broker.

    None, after one line in the log, when any of them is wrong; ``command`` is the flowcert command to use instead of
    naming servers in the environment.
    """
    # Until the settings say how logs are wanted: that they are wrong has to be said, too.
    configure_logs(as_json=False, level="INFO")
    try:
        settings = read_settings()
        configure_logs(as_json=settings.log_json, level=settings.log_level)
        if not settings.database_url or not settings.broker_url:
            raise InputError("FLOWCERT_DATABASE_URL, FLOWCERT_BROKER_URL", f"set both, or use: flowcert {command}")
        database = opened(settings.database_url)
        check_broker(settings.broker_url, lambda text: log.warning("broker", problem=text), must_answer=False)
    except FlowcertError as error:
        structlog.get_logger().error("refused_to_start", reason=str(error))
        return None
    return Started(settings, settings.broker_url, database)
