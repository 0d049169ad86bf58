"""Keeps two schedulers and some workers alive on servers of their own, so that a campaign can harm all of them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from common.store.engine import open_engine
from tests.servers import OwnServers

_ROOT = Path(__file__).resolve().parents[1]
SCHEDULERS = 2


@dataclass
class Member:
    """One process that is started again whenever it has ended."""

    module: str
    number: int
    process: subprocess.Popen[bytes]
    stopped: set[int] = field(default_factory=set)


class Fleet:
    """Servers, two schedulers and workers; a context manager that ends them all."""

    def __init__(self, folder: Path, workers: int, *, keeping: bool, **settings: object) -> None:
        self.folder, self.settings = folder, settings
        self.servers = OwnServers(folder / "servers", keeping=keeping)
        self.members: list[Member] = []
        self._workers = workers

    def __enter__(self) -> Self:
        self.servers.__enter__()
        self.engine = open_engine(self.servers.urls.database_url)
        return self

    def __exit__(self, *ends: object) -> None:
        for member in self.members:
            self.kill(member)
        self.engine.dispose()
        self.servers.__exit__(*ends)

    def start(self) -> None:
        """Start every process; the database must be at head."""
        modules = ["scheduler"] * SCHEDULERS + ["worker"] * self._workers
        self.members = [Member(name, number, self._launch(name, number)) for number, name in enumerate(modules)]

    def tend(self) -> None:
        """Start again what has ended, as a supervisor would."""
        for member in self.members:
            if member.process.poll() is not None:
                member.process = self._launch(member.module, member.number)

    def of(self, module: str) -> list[Member]:
        """The schedulers, or the workers."""
        return [member for member in self.members if member.module == module]

    def kill(self, member: Member) -> None:
        """Kill -9 a process with all it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(member.process.pid, signal.SIGKILL)
        member.process.wait()

    def child(self, member: Member) -> int | None:
        """The child that does a worker's work; None while there is none."""
        pid = member.process.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        except OSError:
            return None
        return int(children[-1]) if children else None

    def rows(self, query: str, **parameters: object) -> list[sa.Row[Any]]:
        """Rows of a query; a database that is just coming back is asked again."""
        limit = time.monotonic() + 60
        while True:
            try:
                with self.engine.begin() as connection:
                    result = connection.execute(sa.text(query), parameters)
                    return list(result) if result.returns_rows else []
            except DBAPIError:
                if time.monotonic() > limit:
                    raise
            time.sleep(0.1)

    def _launch(self, module: str, number: int) -> subprocess.Popen[bytes]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FLOWCERT_")}
        given = {f"FLOWCERT_{name.upper()}": str(value) for name, value in self.settings.items()}
        urls = {
            "FLOWCERT_DATABASE_URL": self.servers.urls.database_url,
            "FLOWCERT_BROKER_URL": self.servers.urls.broker_url,
            "FLOWCERT_DATA_DIR": str(self.folder / "data"),
        }
        with (self.folder / f"{module}-{number}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", module], env={**inherited, **given, **urls}, cwd=_ROOT,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
