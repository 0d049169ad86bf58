"""Runs a PostgreSQL and a Valkey of their own, each of which can be killed, stopped and started again by itself."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Self

import redis

from scheduler.embedded import servers
from scheduler.embedded.binaries import find_binaries
from scheduler.embedded.layout import layout_of, make_run_dir, run_dir_of, urls_of, valkey_socket
from scheduler.embedded.locks import close_lock, try_lock


class OwnServers:
    """Both servers, on Unix sockets below ``folder``; a context manager that ends what still runs.

    With ``keeping`` the broker writes every message to disk and has them again after a restart.
    """

    def __init__(self, folder: Path, *, keeping: bool = False) -> None:
        self._binaries, self._layout = find_binaries(), layout_of(folder)
        self._run_dir = run_dir_of(self._layout)
        self.keeping = keeping
        self.urls = urls_of(self._run_dir)
        self._postgres: subprocess.Popen[bytes] | None = None
        self._valkey: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.make_run_dir()
        lock = self._lock("postgres")
        servers.make_cluster(self._binaries, self._layout, lock)
        close_lock(lock)
        self.start_postgres()
        servers.make_database(self._run_dir)
        self.start_broker()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_broker(signal.SIGKILL)
        self.stop_postgres(signal.SIGQUIT)

    def make_run_dir(self) -> None:
        """Make the folder of the sockets; for a test that needs one of the servers only."""
        make_run_dir(self._run_dir)

    def start_postgres(self) -> None:
        """Start PostgreSQL and wait until it answers; it recovers first from whatever end it had."""
        lock = self._lock("postgres")
        self._postgres = servers.start_postgres(self._binaries, self._layout, self._run_dir, lock)
        close_lock(lock)
        servers.wait_until(
            lambda: servers.postgres_answers(self._run_dir, "postgres"), "PostgreSQL", self._postgres,
            self._layout.postgres_log,
        )  # fmt: skip

    def stop_postgres(self, how: signal.Signals) -> None:
        """End PostgreSQL: SIGINT in order, SIGQUIT at once, SIGKILL as a crash; waits until all of it has ended."""
        if self._postgres is not None:
            self._postgres.send_signal(how)
            self._postgres.wait(30)
            close_lock(self._lock("postgres"))

    def start_broker(self) -> None:
        """Start Valkey and wait until it answers."""
        lock = self._lock("valkey")
        home = self._layout.home / "valkey"
        home.mkdir(exist_ok=True)
        command = [str(self._binaries.valkey), "--port", "0", "--unixsocket", str(valkey_socket(self._run_dir))]
        command += ["--dir", str(home), "--save", "", "--maxmemory-policy", "noeviction"]
        command += ["--appendonly", "yes" if self.keeping else "no", "--appendfsync", "always"]
        with self._layout.valkey_log.open("ab") as log:
            self._valkey = subprocess.Popen(command, stdout=log, stderr=log, pass_fds=(lock,), start_new_session=True)
        close_lock(lock)
        servers.wait_until(
            lambda: servers.valkey_answers(self._run_dir), "Valkey", self._valkey, self._layout.valkey_log
        )

    def stop_broker(self, how: signal.Signals) -> None:
        """End Valkey: SIGTERM in order, SIGKILL as a crash."""
        if self._valkey is not None:
            self._valkey.send_signal(how)
            self._valkey.wait(30)

    def signal_broker(self, number: signal.Signals) -> None:
        """Send Valkey a signal, and do not wait."""
        if self._valkey is not None:
            self._valkey.send_signal(number)

    def broker(self) -> redis.Redis:
        """A client of the broker."""
        return redis.Redis(unix_socket_path=str(valkey_socket(self._run_dir)))

    def _lock(self, name: str) -> int:
        """The lock that a server's processes hold while any of them lives; waited for."""
        limit = time.monotonic() + 30
        while (lock := try_lock(self._layout.home / f"{name}.lock")) is None:
            if time.monotonic() > limit:
                raise TimeoutError(f"{name} has not ended")
            time.sleep(0.02)
        return lock
