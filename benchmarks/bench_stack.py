"""Runs embedded servers and a real scheduler for a benchmark, and watches what it uses while others work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import redis
import sqlalchemy as sa

from benchmarks.simulation import UNACKED
from common.store.engine import open_engine
from common.wire import QUEUE
from migrations.schema import upgrade
from scheduler.embedded import start_stack

ROOT = Path(__file__).resolve().parents[1]
#: Pause between two looks at the broker and at the scheduler's memory, and between two counts of merged results.
LOOK_SECONDS, COUNT_SECONDS = 0.1, 1.0
#: Tasks merged so far, of all kinds: the sums that the merge keeps.
_FINISHED = sa.text("SELECT CAST(coalesce(sum(tasks), 0) AS bigint) FROM work_totals")


class Bench:
    """Servers with a fresh database in a folder of their own, and ``python -m scheduler`` on them."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self._folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._stack = start_stack(folder / "data")
        self.database_url, self.broker_url = self._stack.urls.database_url, self._stack.urls.broker_url
        self.engine = open_engine(self.database_url)
        upgrade(self.engine)
        self._log = folder / "scheduler.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FLOWCERT_")}
        given = {
            "database_url": self.database_url, "broker_url": self.broker_url, "data_dir": folder / "data",
            "log_json": True, "log_level": "DEBUG", **settings,
        }  # fmt: skip
        environment = {**inherited, **{f"FLOWCERT_{name.upper()}": str(value) for name, value in given.items()}}
        with self._log.open("wb") as log:
            self.scheduler = subprocess.Popen(
                [sys.executable, "-m", "scheduler"], env=environment, cwd=ROOT,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.scheduler.terminate()
        try:
            self.scheduler.wait(60)
        finally:
            self.scheduler.kill()
            self.engine.dispose()
            self._stack.stop()
            shutil.rmtree(self._folder / "data", ignore_errors=True)

    def broker(self) -> redis.Redis:
        """A connection to the broker."""
        return redis.Redis(unix_socket_path=self.broker_url.removeprefix("redis+socket://").partition("?")[0])

    def value(self, query: str) -> float:
        """The one value of a query."""
        with self.engine.connect() as connection:
            return connection.execute(sa.text(query)).scalar_one()

    def rounds(self) -> list[float]:
        """Seconds of each round of the scheduler that merged something."""
        events = [json.loads(line) for line in self._log.read_text().splitlines() if '"round"' in line]
        return [event["seconds"] for event in events if event["event"] == "round" and event["merged"]]

    def cpu_seconds(self) -> dict[str, float]:
        """Processor time that each part has used so far; the simulated workers are this process."""
        postgres, valkey = self._stack.server_pids
        return {
            "scheduler": _cpu_seconds(self.scheduler.pid),
            "postgres": _cpu_seconds(postgres) + sum(_cpu_seconds(pid) for pid in _children(postgres)),
            "broker": _cpu_seconds(valkey),
            "workers": time.process_time(),
        }

    def hold(self) -> None:
        """Raise RuntimeError unless every clip is well and the scheduler is alive."""
        failed = "SELECT count(*) FROM videos WHERE status = 'failed'"
        if self.scheduler.poll() is not None or self.value(failed):
            raise RuntimeError(f"the scheduler ended, or a clip failed; see {self._log}")


@dataclass(frozen=True)
class Sample:
    """What was seen at one moment."""

    at: float  #: seconds since the watch began
    resident_mib: float
    messages: int
    finished: int | None  #: tasks, when they were counted


class Watch:
    """Looks at the broker and the scheduler in a thread while the ``with`` lasts."""

    def __init__(self, bench: Bench) -> None:
        self._bench, self._broker = bench, bench.broker()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.begun = time.monotonic()
        self.samples: list[Sample] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)

    @property
    def finished(self) -> int:
        """Tasks finished at the last count."""
        return next((sample.finished for sample in reversed(self.samples) if sample.finished is not None), 0)

    @property
    def peak_messages(self) -> int:
        """Most messages at any moment, in the queue or unacknowledged."""
        return max(sample.messages for sample in self.samples)

    def _look(self) -> None:
        counted = -COUNT_SECONDS
        with self._bench.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            while not self._stop.wait(LOOK_SECONDS):
                at = time.monotonic() - self.begun
                finished = None
                if at - counted >= COUNT_SECONDS:
                    finished, counted = int(connection.execute(_FINISHED).scalar_one()), at
                with self._broker.pipeline() as pipe:
                    waiting, taken = pipe.llen(QUEUE).hlen(UNACKED).execute()
                resident = resident_mib(self._bench.scheduler.pid)
                self.samples.append(Sample(at, resident, waiting + taken, finished))


def resident_mib(pid: int, line: str = "VmRSS") -> float:
    """Resident memory of a process in MiB, or with ``VmHWM`` the most it has had; 0 when it is gone."""
    lines = _read(Path(f"/proc/{pid}/status")).splitlines()
    return next((int(row.split()[1]) / 1024 for row in lines if row.startswith(line)), 0.0)


def _children(parent: int) -> list[int]:
    return [int(pid) for task in Path(f"/proc/{parent}/task").iterdir() for pid in _read(task / "children").split()]


def _cpu_seconds(pid: int) -> float:
    """Processor time of a process and of the children that it has waited for; 0 when it is gone."""
    # The name in brackets may hold anything; user and system time, and the children's, are 12th to 15th after it.
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
