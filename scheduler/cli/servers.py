"""Decides which servers a command uses: those the environment names, or embedded ones in the data directory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kombu
import sqlalchemy as sa
from kombu.exceptions import KombuError, OperationalError
from redis.exceptions import RedisError, ResponseError

from common.errors import InputError, ServerError
from common.settings import Settings
from common.store.engine import open_engine
from migrations.schema import require_head, upgrade
from scheduler.cli.output import note
from scheduler.embedded import EmbeddedStack, start_stack

_POLICY = "maxmemory-policy"
_BROKERS = ("redis", "rediss", "redis+socket", "rediss+socket", "valkey", "valkeys")


@dataclass
class Servers:
    """Open servers, and how other processes reach them."""

    settings: Settings
    engine: sa.Engine
    database_url: str
    broker_url: str
    stacks: list[EmbeddedStack] = field(default_factory=list)

    @property
    def embedded(self) -> bool:
        """Whether the servers are our own."""
        return bool(self.stacks)

    @property
    def log_dir(self) -> Path:
        """Folder of the logs of processes started here."""
        return self.settings.data_dir.expanduser().absolute() / "logs"

    def environment(self) -> Mapping[str, str]:
        """Environment of a scheduler or worker on these servers."""
        return {
            **os.environ,
            "FLOWCERT_DATABASE_URL": self.database_url,
            "FLOWCERT_BROKER_URL": self.broker_url,
            "FLOWCERT_DATA_DIR": str(self.settings.data_dir.expanduser().absolute()),
        }

    def revive(self) -> None:
        """Start the embedded servers again, or attach to them, after the process that owned them has ended."""
        if self.embedded:
            # They come back at the same place: sockets lie where the data directory says.
            self.stacks.append(start_stack(self.settings.data_dir))


@contextmanager
def open_servers(settings: Settings, *, at_head: bool = True) -> Iterator[Servers]:
    """Open the servers of a command; embedded ones are started, upgraded, and stopped at the end.

    With ``at_head`` an external database must be at head.

    Raises
    ------
    InputError : only one of the two URLs is set, or one is of a kind that is not supported.
    ServerError : a server cannot be reached or started, or the broker may drop messages.
    SchemaError : the external database is not at head.

    """
    chosen = external_urls(settings)
    stacks = [] if chosen is not None else [start_stack(settings.data_dir)]
    try:
        database_url, broker_url = chosen or (stacks[0].urls.database_url, stacks[0].urls.broker_url)
        engine = open_engine(database_url)
        try:
            if chosen is None:
                # Where another process owns the servers, workers of its version may be at work on them.
                upgrade(engine, program=stacks[0].owner)
            else:
                if at_head:
                    require_head(engine)
                check_broker(broker_url)
            yield Servers(settings, engine, database_url, broker_url, stacks)
        finally:
            engine.dispose()
    finally:
        for stack in reversed(stacks):
            stack.stop()


def external_urls(settings: Settings) -> tuple[str, str] | None:
    """Database and broker URL from the environment; None where neither is set. Raises InputError for one alone."""
    database, broker = settings.database_url, settings.broker_url
    if not database and not broker:
        return None
    if not database:
        raise InputError("FLOWCERT_DATABASE_URL", "must be set as well, since FLOWCERT_BROKER_URL is")
    if not broker:
        raise InputError("FLOWCERT_BROKER_URL", "must be set as well, since FLOWCERT_DATABASE_URL is")
    if not database.startswith(("postgresql:", "postgresql+psycopg2:", "postgres:")):
        raise InputError("FLOWCERT_DATABASE_URL", "must be a PostgreSQL URL, such as postgresql://user@host/name")
    if broker.partition(":")[0] not in _BROKERS:
        raise InputError("FLOWCERT_BROKER_URL", "must be a Redis-protocol URL, such as redis://host:6379/0")
    return database, broker


def check_broker(url: str) -> None:
    """Refuse a broker that evicts keys when full: it would drop whole queues without a word.

    A server that does not tell its configuration is used with a warning. Raises ServerError.
    """
    try:
        with kombu.Connection(url, connect_timeout=5) as connection:
            connection.ensure_connection(max_retries=1, timeout=5)
            channel: Any = connection.default_channel
            policy = channel.client.config_get(_POLICY).get(_POLICY)
    except ResponseError:
        note(f"warning: the broker does not tell its {_POLICY}; make sure that it is noeviction")
        return
    except (OperationalError, KombuError, RedisError, OSError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise ServerError(f"broker: cannot connect to {kombu.Connection(url).as_uri()}: {lines[0]}") from error
    if policy != "noeviction":
        raise ServerError(f"broker: its {_POLICY} is {policy}, which drops messages when full; set it to noeviction")
