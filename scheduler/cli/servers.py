"""Decides which servers a command uses: those the environment names, or embedded ones in the data directory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from common.broker import check_broker, checked_url
from common.errors import InputError
from common.settings import Settings
from common.store.engine import open_engine, parse_url
from migrations.schema import require_head, upgrade
from scheduler.cli.output import note
from scheduler.embedded import EmbeddedStack, start_stack


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
        return self.settings.data_dir / "logs"

    def environment(self, *typed: str) -> Mapping[str, str]:
        """Environment of a process on these servers; ``typed`` are models that the user has just asked for."""
        return {
            **os.environ,
            "FLOWCERT_DATABASE_URL": self.database_url,
            "FLOWCERT_BROKER_URL": self.broker_url,
            "FLOWCERT_DATA_DIR": str(self.settings.data_dir),
            "FLOWCERT_MODEL_FACTORIES": ",".join(self.model_factories(*typed)),
        }

    def model_factories(self, *typed: str) -> tuple[str, ...]:
        """Factories that processes started here may import: the setting's, and those that were just typed here.

        On our own servers any, unless the setting names some: their sockets let nobody else in, so whoever asked for a
        factory is who started this.
        """
        if self.embedded and not self.settings.model_factories:
            return ("*",)
        return (*self.settings.model_factories, *(name for name in typed if ":" in name))

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
                check_broker(broker_url, _warn, must_answer=True)
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
    return parse_url(database).render_as_string(hide_password=False), checked_url(broker)


def _warn(text: str) -> None:
    note(f"warning: {text}")
