"""The embedded servers run for an ordinary user, and for root with and without user namespaces."""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65534
# No disk's syncs are waited for, and anybody can reach what is made here; pytest's own directory is private.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
REPOSITORY = Path(__file__).parents[2]

# Adds 21 to what the database holds, says who ran PostgreSQL and which servers must die with it, and is killed.
PROGRAM = """
import os, signal, sys
from pathlib import Path
import sqlalchemy as sa
from scheduler.embedded import start_stack
stack = start_stack(Path(sys.argv[1]))
with sa.create_engine(stack.urls.database_url, poolclass=sa.NullPool).begin() as connection:
    connection.execute(sa.text("CREATE TABLE IF NOT EXISTS kept (value int)"))
    connection.execute(sa.text("INSERT INTO kept VALUES (21)"))
    total = connection.scalar(sa.text("SELECT sum(value) FROM kept"))
user = next(line for line in open(f"/proc/{stack.server_pids[0]}/status") if line.startswith("Uid:")).split()[1]
sys.stdout.write(f"{total} {user} {stack.server_pids[0]} {stack.server_pids[1]}")
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty directory."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        yield Path(name)


def outcome(output: str) -> tuple[int, int]:
    """Return the sum in the database and the user that ran PostgreSQL, after seeing the servers die."""
    total, user, *pids = map(int, output.split())
    for pid in pids:
        for _ in range(250):
            if not Path(f"/proc/{pid}/stat").exists() or ") Z " in Path(f"/proc/{pid}/stat").read_text():
                break
            time.sleep(0.02)
        else:
            pytest.fail(f"server {pid} outlived its launcher")
    return total, user


def python_for_nobody() -> tuple[str, dict[str, str]]:
    """Return a Python of this version that nobody may run and that imports what this one does."""
    environment = {
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *filter(None, sys.path)]),
        "PATH": os.environ["PATH"],
    }
    for python in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        command = [python, "-c", "import ctypes, scheduler.embedded"]
        try:
            subprocess.run(
                command, user=NOBODY, group=NOBODY, extra_groups=[], check=True, env=environment, capture_output=True
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return python, environment
    pytest.skip(f"user {NOBODY} may read no Python of version 3.{sys.version_info.minor}, {sys.executable} included")


@as_root
def test_an_ordinary_user_runs_the_servers(home: Path) -> None:
    python, environment = python_for_nobody()
    os.chown(home, NOBODY, NOBODY)
    for total in (21, 42):
        result = subprocess.run(
            [python, "-c", PROGRAM, str(home)],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            env=environment,
            cwd=home,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert outcome(result.stdout) == (total, NOBODY)


@as_root
def test_root_runs_the_servers_with_and_without_namespaces_on_the_same_data(home: Path) -> None:
    """Nothing is opened up for it: the data stay below a directory that only root can enter."""
    home.chmod(0o700)
    command = [sys.executable, "-c", PROGRAM, str(home)]
    cluster = home / "servers" / "postgres"

    plain = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    total, user = outcome(plain.stdout)
    assert total == 21
    assert cluster.stat().st_uid == user

    assert outcome(without_namespaces(command)) == (42, NOBODY)
    assert cluster.stat().st_uid == NOBODY

    again = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert outcome(again.stdout) == (63, user)


def without_namespaces(command: list[str]) -> str:
    """Run `command` as root of a user namespace with the full range of users that may make no other; its output."""
    wanted, ready = os.pipe(), os.pipe()
    output, written = os.pipe()
    child = os.fork()
    if child == 0:
        failed = ctypes.CDLL(None).unshare(0x10000000)
        os.write(wanted[1], b"n" if failed else b"y")
        os.read(ready[0], 1)
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
        os.dup2(written, 1)
        os.execv(command[0], command)
    os.close(written)
    refused = os.read(wanted[0], 1) == b"n"
    if refused:
        os.kill(child, signal.SIGKILL)
    else:
        Path(f"/proc/{child}/uid_map").write_text("0 0 65536")
        Path(f"/proc/{child}/gid_map").write_text("0 0 65536")
        os.write(ready[1], b"y")
    with os.fdopen(output) as stream:
        text = stream.read()
    os.waitpid(child, 0)
    for descriptor in (*wanted, *ready):
        os.close(descriptor)
    if refused:
        pytest.skip("this machine allows no user namespace at all, so the test above was of the other way already")
    return text
