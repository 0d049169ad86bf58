"""Decides which process owns the embedded servers of a data directory: one starts and stops them, others attach."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from common.errors import ServerError
from scheduler.embedded import servers
from scheduler.embedded.binaries import find_binaries
from scheduler.embedded.layout import Layout, Urls, layout_of, make_run_dir, run_dir_of, urls_of
from scheduler.embedded.locks import close_lock, try_lock

_ATTACH_SECONDS = 20.0
"""How long to wait for servers that another process is starting, or for those of a dead one to end."""


class EmbeddedStack:
    """Running PostgreSQL and Valkey servers; a context manager that stops what it owns.

    Attributes
    ----------
    urls : where the servers are reached.
    owner : whether this process started the servers and will stop them.
    server_pids : process ids of PostgreSQL's postmaster and of Valkey.

    """

    def __init__(self, run_dir: Path, server_pids: tuple[int, int], owned: ExitStack | None) -> None:
        self.urls: Urls = urls_of(run_dir)
        self.owner: bool = owned is not None
        self.server_pids = server_pids
        self._owned = owned or ExitStack()
        self._pid = os.getpid()

    def stop(self) -> None:
        """Stop the servers if this process owns them; a second call does nothing."""
        # A forked child has a copy of this object, but the servers belong to its parent.
        if os.getpid() == self._pid:
            self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_stack(data_dir: Path) -> EmbeddedStack:
    """Start the servers of `data_dir`, or attach to them where another live process owns them.

    The owner must call this on its main thread: the kernel ends the servers with the thread that started them,
    and so even when the process is killed. What is in the database survives any end of any of the processes;
    what is in the broker does not survive its server, on purpose.

    Raises
    ------
    ServerError : a server could not be started or reached; one line that names the log file.

    """
    layout = layout_of(data_dir)
    deadline = time.monotonic() + _ATTACH_SECONDS
    while True:
        lock = try_lock(layout.owner_lock)
        if lock is not None:
            return _own(layout, lock)
        attached = _attach(layout)
        if attached is not None:
            return attached
        if time.monotonic() > deadline:
            raise ServerError(
                f"another process holds {layout.owner_lock} but its servers do not answer: "
                f"stop that process; see {layout.postgres_log}"
            )
        time.sleep(0.05)


def _attach(layout: Layout) -> EmbeddedStack | None:
    """Return a stack of the servers another process owns, or None while they do not both answer."""
    try:
        ready = json.loads(layout.ready_file.read_text())
    except FileNotFoundError:
        return None
    run_dir = Path(ready["run_dir"])
    if not (servers.postgres_answers(run_dir) and servers.valkey_answers(run_dir)):
        return None
    postgres, valkey = ready["server_pids"]
    return EmbeddedStack(run_dir, (postgres, valkey), owned=None)


def _own(layout: Layout, lock: int) -> EmbeddedStack:
    """Start both servers; whatever fails on the way undoes what was done."""
    with ExitStack() as owned:
        owned.callback(close_lock, lock)
        if threading.current_thread() is not threading.main_thread():
            raise ServerError("the embedded servers must be started on the main thread, because they end with it")
        binaries = find_binaries()
        run_dir = run_dir_of(layout)
        with ExitStack() as starting:
            servers_lock = _wait_for_lock(layout)
            starting.callback(close_lock, servers_lock)
            layout.ready_file.unlink(missing_ok=True)
            make_run_dir(run_dir)
            owned.callback(shutil.rmtree, run_dir, ignore_errors=True)
            servers.begin_logs(layout)
            servers.make_cluster(binaries, layout, servers_lock)
            valkey = servers.start_valkey(binaries, layout, run_dir, servers_lock)
            owned.callback(servers.stop, valkey, signal.SIGTERM)
            postgres = servers.start_postgres(binaries, layout, run_dir, servers_lock)
            owned.callback(servers.stop, postgres, signal.SIGINT)
        servers.wait_until(
            lambda: servers.postgres_answers(run_dir, "postgres"), "PostgreSQL", postgres, layout.postgres_log
        )
        servers.make_database(run_dir)
        servers.wait_until(lambda: servers.valkey_answers(run_dir), "Valkey", valkey, layout.valkey_log)
        pids = (postgres.pid, valkey.pid)
        owned.callback(layout.ready_file.unlink, missing_ok=True)
        _announce(layout, run_dir, pids)
        return EmbeddedStack(run_dir, pids, owned.pop_all())


def _announce(layout: Layout, run_dir: Path, pids: tuple[int, int]) -> None:
    unfinished = layout.ready_file.with_suffix(".new")
    unfinished.write_text(json.dumps({"run_dir": str(run_dir), "server_pids": pids}))
    unfinished.replace(layout.ready_file)


def _wait_for_lock(layout: Layout) -> int:
    """Wait until no server of an earlier owner, which was killed, is alive."""
    deadline = time.monotonic() + _ATTACH_SECONDS
    while (lock := try_lock(layout.servers_lock)) is None:
        if time.monotonic() > deadline:
            raise ServerError(
                f"servers of an earlier run are still ending: wait, or end the processes that hold "
                f"{layout.servers_lock} (fuser names them)"
            )
        time.sleep(0.05)
    return lock
