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

from tests.harness import check_clip
from tests.programs import ROOT, Fork, Programs, environment_of
from tests.tiny import TinyGame

#: What runs here, of these sources or of a test's copy of them.
Process = Fork | subprocess.Popen[bytes]


class Crew:
    """Processes on one database and one broker, each leading a process group of its own; all end with the ``with``.

    ``programs`` forks them; with None they load everything anew, and have command lines of their own.
    """

    def __init__(
        self, engine: sa.Engine, urls: dict[str, str], folder: Path, programs: Programs | None, **settings: object
    ) -> None:
        self.engine, self.folder, self._programs = engine, folder, programs
        # Workers refuse a test's models otherwise; a test that is about this says what they may import.
        self._environment = environment_of({"model_factories": "*", **urls, **settings, "data_dir": folder / "data"})
        self._processes: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            self.kill(process)

    def start(self, module: str, *arguments: object, cwd: Path = ROOT) -> Process:
        """Start ``python -m scheduler`` or ``python -m worker``, of the sources in ``cwd``."""
        path = self.folder / f"{module}{len(self._processes)}.log"
        process: Process
        if cwd == ROOT and self._programs is not None:
            process = self._programs.start(module, *arguments, stdout=path, stderr=path, environment=self._environment)
        else:
            with path.open("wb") as log:
                process = subprocess.Popen(
                    [sys.executable, "-m", module, *map(str, arguments)], env=self._environment, cwd=cwd,
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
        self._processes.append(process)
        return process

    def forget(self, process: Process) -> None:
        """Expect nothing of a process any more: it refused to go on, as it was to."""
        self._processes.remove(process)

    def kill(self, process: Process) -> None:
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

    def wait(self, what: str, until: Callable[[], object], seconds: float = 120.0) -> None:
        """Wait until a condition holds; fails with the logs when it does not in time."""
        limit = time.monotonic() + seconds
        while not until():
            assert all(process.poll() != 2 for process in self._processes), f"refused to start\n{self.logs()}"
            assert time.monotonic() < limit, f"waited {seconds} s for {what}\n{self.logs()}"
            time.sleep(0.05)

    def wait_until_done(self, seconds: float = 180.0) -> None:
        """Wait until no job is running."""
        self.wait("the jobs' end", lambda: not self.rows("SELECT 1 FROM jobs WHERE status = 'running'"), seconds)


def child_of(crew: Crew, parent: int) -> int:
    """Process id of the worker child that works for a parent, once it has shown itself."""
    found: list[int] = []

    def known() -> bool:
        pids = {row.pid for row in crew.rows("SELECT (info ->> 'pid')::int AS pid FROM workers")}
        found.extend(pid for pid in pids if parent_of(pid) == parent)
        return bool(found)

    crew.wait(f"the child of {parent}", known)
    return found[0]


def parent_of(pid: int) -> int | None:
    """Parent of a living process; None when there is none (any more)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return None
    return None if fields[0] == "Z" else int(fields[1])


def check_everything(crew: Crew, games: dict[int, TinyGame], seconds: float = 240.0) -> None:
    """Wait for the end; then the bounds are those of brute force, and the rows tell one whole story."""
    crew.wait_until_done(seconds)
    for job, game in games.items():
        check_clip(crew.engine, job, game.truth)
    assert crew.rows("SELECT state FROM tasks WHERE finished_at IS NULL OR state = 'failed'") == []
    # Every merged task has its one result, and every result is one attempt's that says so.
    assert crew.rows("SELECT t.id FROM tasks t WHERE state = 'merged' AND NOT EXISTS"
                     " (SELECT FROM results r WHERE r.task_id = t.id)") == []  # fmt: skip
    results = crew.rows("SELECT count(*) AS many, count(DISTINCT task_id) AS tasks FROM results")[0]
    returned = crew.rows("SELECT count(*) AS many FROM attempts WHERE outcome = 'returned'")[0]
    assert results.many == results.tasks == returned.many
    explored = crew.rows(
        "SELECT sum((r.payload ->> 'explored')::int) AS sum FROM results r JOIN tasks t ON t.id = r.task_id"
        " WHERE t.kind = 'explore' AND t.state = 'merged'"
    )[0]
    assert explored.sum == crew.rows("SELECT sum(points_explored) AS sum FROM videos")[0].sum
    # No two subtrees of the last frontier stand for the same points.
    assert crew.rows("SELECT video_id FROM subtrees WHERE NOT split"
                     " GROUP BY video_id, prefix, first, last, floor HAVING count(*) > 1") == []  # fmt: skip
