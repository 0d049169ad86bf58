"""Starts the scheduler and workers as the processes they are, and kills them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import sqlalchemy as sa

ROOT = Path(__file__).resolve().parents[1]


class Crew:
    """Processes on one database and one broker, each leading a process group of its own; all end with the ``with``."""

    def __init__(self, engine: sa.Engine, urls: dict[str, str], folder: Path, **settings: object) -> None:
        self.engine, self.folder = engine, folder
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FLOWCERT_")}
        given = {f"FLOWCERT_{name.upper()}": str(value) for name, value in {**urls, **settings}.items()}
        self._environment = {**inherited, **given, "FLOWCERT_DATA_DIR": str(folder / "data")}
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            self.kill(process)

    def start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start ``python -m scheduler`` or ``python -m worker``, or any other module with arguments."""
        with (self.folder / f"{module}{len(self._processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments], env=self._environment, cwd=ROOT,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._processes.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill -9 a process with all it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def logs(self) -> str:
        """What all of them have logged."""
        return "\n".join(f"--- {path.name}\n{path.read_text()}" for path in sorted(self.folder.glob("*.log")))

    def rows(self, query: str, **parameters: object) -> list[sa.Row]:
        """Rows of a query."""
        with self.engine.connect() as connection:
            return list(connection.execute(sa.text(query), parameters))

    def wait(self, what: str, until: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait until a condition holds; fails with the logs when it does not in time."""
        limit = time.monotonic() + seconds
        while not until():
            assert all(process.poll() != 2 for process in self._processes), f"refused to start\n{self.logs()}"
            assert time.monotonic() < limit, f"waited {seconds} s for {what}\n{self.logs()}"
            time.sleep(0.05)

    def wait_until_done(self, seconds: float = 90.0) -> None:
        """Wait until no job is running."""
        self.wait("the jobs' end", lambda: not self.rows("SELECT 1 FROM jobs WHERE status = 'running'"), seconds)
