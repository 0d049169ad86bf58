"""Decides how the two servers are started, when they are ready and how they are stopped."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from common.errors import ServerError
from scheduler.embedded.binaries import Binaries
from scheduler.embedded.layout import DATABASE, Layout, urls_of, valkey_socket

_START_SECONDS = 60.0
"""Time a server gets until it answers; PostgreSQL may first have to replay what a crash left in its log."""

_STOP_SECONDS = 10.0
"""Time a server gets between being asked to stop and being killed."""

_CHILD = Path(__file__).with_name("child.py")

# Small memory, one host, no network; fsync stays on, because the database is the only truth. A queue's rows die by the
# thousand, so that the vacuum looks often; a checkpoint writes whole pages, so that there are few of them.
_POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "1GB",
    "autovacuum_naptime": "10s",
    "io_method": "sync",
    "fsync": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def begin_logs(layout: Layout) -> None:
    """Begin new logs and keep those of the previous run, so that an error is never explained by an older one."""
    for log in (layout.postgres_log, layout.valkey_log):
        if log.exists():
            log.replace(log.with_suffix(".previous.log"))


def make_cluster(binaries: Binaries, layout: Layout, servers_lock: int) -> None:
    """Run ``initdb`` unless a finished cluster is there; an interrupted one is thrown away and made again.

    Raises
    ------
    ServerError : ``initdb`` failed.

    """
    if layout.cluster.exists():
        return
    shutil.rmtree(layout.new_cluster, ignore_errors=True)
    command = [str(binaries.initdb), "--pgdata", str(layout.new_cluster), "--username", DATABASE, "--auth", "trust"]
    command += ["--encoding", "UTF8", "--locale", "C", "--no-instructions"]
    account = _postgres_account()
    process = _launch(command, layout.postgres_log, servers_lock, signal.SIGKILL, account, layout.new_cluster)
    try:
        status = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    if status != 0:
        raise ServerError(f"initdb failed: {_why(layout.postgres_log)}; see {layout.postgres_log}")
    layout.new_cluster.rename(layout.cluster)
    # Without this a power cut could bring back the unfinished name, and the next start would throw the data away.
    descriptor = os.open(layout.home, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def start_postgres(binaries: Binaries, layout: Layout, run_dir: Path, servers_lock: int) -> subprocess.Popen[bytes]:
    """Start PostgreSQL; the caller holds both locks, so no server of an earlier run is alive.

    When the launcher dies PostgreSQL gets SIGQUIT: it ends at once and recovers at the next start, so that
    the next start never waits for a slow shutdown that nobody asked for.
    """
    # With no earlier server alive the file is stale, and the process id in it may by now be a stranger's.
    (layout.cluster / "postmaster.pid").unlink(missing_ok=True)
    command = [str(binaries.postgres), "-D", str(layout.cluster), "-k", str(run_dir)]
    for name, value in _POSTGRES_SETTINGS.items():
        command += ["-c", f"{name}={value}"]
    account = _postgres_account()
    return _launch(command, layout.postgres_log, servers_lock, signal.SIGQUIT, account, layout.cluster)


def start_valkey(binaries: Binaries, layout: Layout, run_dir: Path, servers_lock: int) -> subprocess.Popen[bytes]:
    """Start Valkey on its socket; ``noeviction`` makes a full broker an error instead of lost messages.

    It keeps nothing on disk: messages only announce rows of the database, which announces them again.
    """
    command = [str(binaries.valkey), "--port", "0", "--unixsocket", str(valkey_socket(run_dir))]
    command += ["--unixsocketperm", "700", "--dir", str(run_dir), "--save", "", "--appendonly", "no"]
    command += ["--maxmemory", "256mb", "--maxmemory-policy", "noeviction"]
    # A client reads a message whole before it can judge it; only the server can refuse one that is too long.
    command += ["--proto-max-bulk-len", "1mb"]
    return _launch(command, layout.valkey_log, servers_lock, signal.SIGKILL, "-", run_dir)


def wait_until(answers: Callable[[], bool], name: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server that was just started answers.

    Raises
    ------
    ServerError : it ended, or did not answer within a minute.

    """
    deadline = time.monotonic() + _START_SECONDS
    while not answers():
        if process.poll() is not None:
            raise ServerError(f"{name} ended while starting: {_why(log)}; see {log}")
        if time.monotonic() > deadline:
            raise ServerError(f"{name} does not answer after {_START_SECONDS:.0f} s: {_why(log)}; see {log}")
        time.sleep(0.02)


def stop(process: subprocess.Popen[bytes], ask: signal.Signals) -> None:
    """Ask a server to stop with the signal `ask`, wait, and kill it if it does not."""
    process.send_signal(ask)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def postgres_answers(run_dir: Path, database: str = DATABASE) -> bool:
    """Whether `database` accepts connections."""
    try:
        _engine(run_dir, database).connect().close()
    except sa.exc.OperationalError:
        return False
    return True


def valkey_answers(run_dir: Path) -> bool:
    """Whether Valkey answers a ping."""
    pong = b"+PONG\r\n"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(valkey_socket(run_dir)))
            connection.sendall(b"PING\r\n")
            return connection.recv(len(pong), socket.MSG_WAITALL) == pong
        except OSError:
            return False


def make_database(run_dir: Path) -> None:
    """Create the database unless it is there."""
    # Every cluster has the database "postgres"; CREATE DATABASE is refused inside a transaction.
    with _engine(run_dir, "postgres").connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        known = sa.text("SELECT 1 FROM pg_database WHERE datname = :name")
        if connection.scalar(known, {"name": DATABASE}) is None:
            connection.execute(sa.text(f'CREATE DATABASE "{DATABASE}"'))


def _engine(run_dir: Path, database: str) -> sa.Engine:
    url = sa.make_url(urls_of(run_dir).database_url).set(database=database)
    return sa.create_engine(url, poolclass=sa.NullPool)


def _postgres_account() -> str:
    """Return the account to run PostgreSQL under, ``-`` for our own, which must have a name and not be root."""
    accounts = {account.pw_uid: account.pw_name for account in pwd.getpwall()}
    if os.geteuid() != 0 and os.geteuid() in accounts:
        return "-"
    if "nobody" in accounts.values():
        return "nobody"
    ordinary = [name for uid, name in sorted(accounts.items()) if uid != 0]
    if not ordinary:
        raise ServerError(
            "PostgreSQL does not run as root and there is no other account: run flowcert as an ordinary user, "
            "or set FLOWCERT_DATABASE_URL and FLOWCERT_BROKER_URL to servers of your own"
        )
    return ordinary[0]


def _launch(
    command: list[str], log: Path, servers_lock: int, death: signal.Signals, account: str, directory: Path
) -> subprocess.Popen[bytes]:
    script = [sys.executable, "-I", "-S", str(_CHILD), str(os.getpid()), str(int(death)), account, str(directory)]
    with log.open("ab") as output:
        return subprocess.Popen(
            [*script, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=(servers_lock,),  # Inherited by every server process: the lock ends with the last of them.
            start_new_session=True,  # Ctrl-C is for the launcher, which then stops the servers in order.
            env={**os.environ, "LC_ALL": "C"},
        )


def _why(log: Path) -> str:
    """Return the line of the log's end that says most: the last fatal one, or else the last."""
    lines = [line.strip() for line in log.read_bytes()[-4000:].decode(errors="replace").splitlines() if line.strip()]
    fatal = [line for line in lines if any(word in line for word in ("FATAL", "PANIC", "error"))]
    # Each of our own attempts to connect to a server that is not ready leaves a fatal line, which explains nothing.
    telling = [line for line in fatal if "the database system is" not in line]
    return (telling or lines or ["it said nothing"])[-1]
