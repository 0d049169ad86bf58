"""The embedded servers keep their data through every way in which a process can end, and never outlive their owner."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa

from common.errors import ServerError
from scheduler.embedded import EmbeddedStack, stack, start_stack

# Killed processes lose nothing that a disk would have kept, so the tests need not wait for a disk's syncs.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

LAUNCHER = """
import os, signal, sys, time
from pathlib import Path
from scheduler.embedded import start_stack
with start_stack(Path(sys.argv[1])) as stack:
    if "fork" in sys.argv and os.fork() == 0:
        os.closerange(0, 3)
        time.sleep(15)
        os._exit(0)
    sys.stdout.write(f"{stack.owner} {stack.server_pids[0]} {stack.server_pids[1]}\\n")
    sys.stdout.flush()
    sys.stdin.read()
"""


def launch(data_dir: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", LAUNCHER, str(data_dir), *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)


def announced(launcher: subprocess.Popen[str]) -> tuple[bool, tuple[int, int]]:
    owner, postgres, valkey = launcher.stdout.readline().split()
    return owner == "True", (int(postgres), int(valkey))


def finish(launcher: subprocess.Popen[str]) -> int:
    launcher.stdin.close()
    launcher.stdout.close()
    return launcher.wait()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids: tuple[int, ...], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(alive, pids))


def query(servers: EmbeddedStack, statement: str) -> object:
    engine = sa.create_engine(servers.urls.database_url, poolclass=sa.NullPool)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        result = connection.execute(sa.text(statement))
        return result.scalar() if result.returns_rows else None


def broker_answers(servers: EmbeddedStack) -> bool:
    path = servers.urls.broker_url.removeprefix("redis+socket://").partition("?")[0]
    with redis.Redis(unix_socket_path=path) as client:
        client.lpush("doorbell", b"7")
        return client.brpop(["doorbell"], timeout=2) == (b"doorbell", b"7")


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """A data directory whose database holds the row 42; each test finds it stopped and leaves it so."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        with start_stack(Path(name) / "d") as servers:
            query(servers, "CREATE TABLE kept AS SELECT 42 AS value")
        yield Path(name) / "d"


@pytest.fixture
def empty() -> Iterator[Path]:
    """An empty directory."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        yield Path(name)


def holds_its_row(data_dir: Path) -> bool:
    with start_stack(data_dir) as servers:
        return servers.owner and query(servers, "SELECT value FROM kept") == 42 and broker_answers(servers)


def test_a_cold_start_is_as_promised_and_its_data_are_used_again(empty: Path) -> None:
    with start_stack(empty / "new" / "dir") as servers:
        assert servers.owner
        assert query(servers, "SELECT current_user || ' ' || current_database()") == "flowcert flowcert"
        assert query(servers, "SELECT pg_encoding_to_char(encoding) || datcollate FROM pg_database LIMIT 1") == "UTF8C"
        assert query(servers, "SHOW listen_addresses") == ""
        assert query(servers, "SHOW fsync") == "on"
        assert broker_answers(servers)
        client = redis.Redis.from_url(servers.urls.broker_url.replace("redis+socket", "unix").partition("?")[0])
        assert client.config_get("maxmemory-policy", "port") == {"maxmemory-policy": "noeviction", "port": "0"}
        client.close()
        query(servers, "CREATE TABLE kept AS SELECT 42 AS value")
        servers.stop()
        assert gone(servers.server_pids, 0.0)
    assert holds_its_row(empty / "new" / "dir")


def test_servers_killed_under_a_living_owner_start_again(data_dir: Path) -> None:
    servers = start_stack(data_dir)
    query(servers, "CREATE TABLE kept_too AS SELECT 43 AS value")
    for pid in servers.server_pids:
        os.kill(pid, signal.SIGKILL)
    assert gone(servers.server_pids)
    servers.stop()
    with start_stack(data_dir) as again:
        assert again.owner
        assert query(again, "SELECT value FROM kept_too") == 43
        assert broker_answers(again)


def test_servers_end_with_a_killed_launcher(data_dir: Path) -> None:
    launcher = launch(data_dir, "fork")
    owner, pids = announced(launcher)
    assert owner
    launcher.kill()
    assert gone(pids)
    # The launcher's forked child still lives; it must not pass for an owner.
    started = time.monotonic()
    assert holds_its_row(data_dir)
    assert time.monotonic() - started < 5
    os.killpg(launcher.pid, signal.SIGKILL)
    finish(launcher)


def test_everything_killed_at_once_and_the_pid_files_taken_over_by_strangers(data_dir: Path) -> None:
    launcher = launch(data_dir)
    _, pids = announced(launcher)
    for pid in (*pids, launcher.pid):
        os.kill(pid, signal.SIGKILL)
    finish(launcher)
    assert gone(pids)
    with subprocess.Popen(["sleep", "15"]) as stranger:
        for name in ("postgres/postmaster.pid", "run/.s.PGSQL.5432.lock"):
            path = data_dir / "servers" / name
            path.write_text(path.read_text().replace(str(pids[0]), str(stranger.pid), 1))
        kept = holds_its_row(data_dir)
        stranger.kill()
    assert kept


def test_a_new_owner_waits_until_the_servers_of_a_killed_one_are_gone(data_dir: Path) -> None:
    launcher = launch(data_dir)
    _, pids = announced(launcher)
    os.kill(pids[0], signal.SIGSTOP)
    launcher.kill()
    finish(launcher)
    threading.Timer(0.5, os.kill, (pids[0], signal.SIGCONT)).start()
    assert alive(pids[0])
    assert holds_its_row(data_dir)
    assert gone(pids, 0.0)


def test_a_launcher_killed_during_initdb_leaves_nothing_in_the_way(empty: Path) -> None:
    launcher = launch(empty)
    unfinished = empty / "servers" / "postgres.new"
    while not (unfinished / "PG_VERSION").exists():
        time.sleep(0.005)
    launcher.kill()
    finish(launcher)
    assert unfinished.exists()
    assert not (empty / "servers" / "postgres").exists()
    with start_stack(empty) as servers:
        assert servers.owner
        assert query(servers, "SELECT 1") == 1
        assert not unfinished.exists()


def test_ctrl_c_reaches_the_launcher_only_and_it_stops_the_servers_in_order(data_dir: Path) -> None:
    launcher = launch(data_dir)
    _, pids = announced(launcher)
    assert all(os.getpgid(pid) != launcher.pid for pid in pids)
    os.killpg(launcher.pid, signal.SIGINT)
    assert finish(launcher) != 0
    assert gone(pids, 0.0)
    assert "database system is shut down" in (data_dir / "servers" / "postgres.log").read_text().splitlines()[-1]
    assert not (data_dir / "servers" / "ready.json").exists()


def test_of_two_processes_one_owns_and_the_other_attaches(data_dir: Path) -> None:
    launchers = [launch(data_dir), launch(data_dir)]
    (first, pids), (second, pids_again) = map(announced, launchers)
    assert first != second
    assert pids == pids_again
    owner, guest = launchers if first else reversed(launchers)
    assert finish(guest) == 0
    with start_stack(data_dir) as attached:
        assert not attached.owner
        assert attached.server_pids == pids
        assert query(attached, "SELECT value FROM kept") == 42
        assert broker_answers(attached)
    assert all(map(alive, pids))
    assert finish(owner) == 0
    assert gone(pids, 0.0)
    assert holds_its_row(data_dir)


def test_one_process_can_attach_to_its_own_servers_and_a_forked_child_stops_nothing(data_dir: Path) -> None:
    with start_stack(data_dir) as servers:
        with start_stack(data_dir) as again:
            assert not again.owner
        child = os.fork()
        if child == 0:
            servers.stop()
            os._exit(0)
        os.waitpid(child, 0)
        assert query(servers, "SELECT value FROM kept") == 42


def test_a_long_path_with_odd_characters_gets_a_short_socket_directory(data_dir: Path) -> None:
    odd = data_dir.rename(data_dir.with_name("long, 100% 'odd'? " * 8))
    with start_stack(odd) as servers:
        assert query(servers, "SELECT value FROM kept") == 42
        assert broker_answers(servers)
        run_dir = Path(servers.urls.database_url.partition("host=")[2])
        assert run_dir.stat().st_mode & 0o777 == 0o700
        assert not run_dir.is_relative_to(odd)
    assert not run_dir.exists()
    odd.rename(data_dir)


def test_a_failed_start_says_why_and_leaves_nothing_behind(data_dir: Path) -> None:
    version = data_dir / "servers" / "postgres" / "PG_VERSION"
    version.write_text("15\n")
    with pytest.raises(ServerError, match=r"initialized by PostgreSQL version 15.*see /.*/postgres\.log$|incompatible"):
        start_stack(data_dir)
    version.write_text("18\n")
    assert holds_its_row(data_dir)


def test_an_owner_without_servers_is_named(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "_ATTACH_SECONDS", 0.2)
    with start_stack(data_dir) as servers:
        os.kill(servers.server_pids[1], signal.SIGKILL)
        with pytest.raises(ServerError, match=r"another process holds /.*owner\.lock"):
            start_stack(data_dir)


def test_missing_wheels_are_named_with_the_way_out(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.embedded.binaries.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ServerError, match="FLOWCERT_DATABASE_URL and FLOWCERT_BROKER_URL"):
        start_stack(data_dir)


def test_a_side_thread_may_not_own_servers(data_dir: Path) -> None:
    errors: list[Exception] = []

    def start() -> None:
        try:
            start_stack(data_dir)
        except ServerError as error:
            errors.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])
