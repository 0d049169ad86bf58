"""No password is ever written: not by any process, at any log level, in any error, nor in what ``ps`` shows."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa

from common.settings import Settings
from common.store.engine import open_engine
from common.telemetry import mask_passwords
from migrations.schema import upgrade
from scheduler.embedded import start_stack
from scheduler.embedded.layout import layout_of
from tests.crew import Crew
from tests.programs import Programs
from tests.relay import Relay

#: Passwords that are right, and one that is not; each would be found in any text.
DATABASE, BROKER, WRONG = "Q7databaseQ7", "Q7brokerQ7", "Q7wrongQ7"
COMMAND = "scheduler.cli.main"
PROGRAMS = (
    ("scheduler",), ("worker",), (COMMAND, "status"), (COMMAND, "db", "upgrade"), (COMMAND, "scheduler"),
    (COMMAND, "worker"),
)  # fmt: skip


@dataclass(frozen=True)
class Guarded:
    """Servers that let nobody in without a password."""

    database_port: int
    broker_port: int
    engine: sa.Engine

    def urls(self, database: str = DATABASE, broker: str = BROKER) -> dict[str, str]:
        return {
            "database_url": f"postgresql://guest:{database}@127.0.0.1:{self.database_port}/flowcert",
            "broker_url": f"redis://guest:{broker}@127.0.0.1:{self.broker_port}/0",
        }


@pytest.fixture(scope="module")
def guarded(quick_folder: Path) -> Iterator[Guarded]:
    """Servers of their own: those of other tests let everybody in."""
    home = quick_folder / "guarded"
    with start_stack(home) as stack:
        engine = open_engine(stack.urls.database_url)
        upgrade(engine)
        with engine.begin() as connection:
            connection.execute(sa.text(f"CREATE ROLE guest LOGIN SUPERUSER PASSWORD '{DATABASE}'"))
        rules = layout_of(home).cluster / "pg_hba.conf"
        rules.write_text("local all flowcert trust\nlocal all all scram-sha-256\n")
        os.kill(stack.server_pids[0], signal.SIGHUP)
        socket = stack.urls.broker_url.removeprefix("redis+socket://").partition("?")[0]
        with redis.Redis(unix_socket_path=socket) as client:
            client.acl_setuser("guest", enabled=True, passwords=[f"+{BROKER}"], categories=["+@all"], keys=["*"])
            client.acl_setuser("default", enabled=True, passwords=[f"+{BROKER}"], reset_passwords=True)
        database = f"{sa.make_url(stack.urls.database_url).query['host']}/.s.PGSQL.5432"
        with Relay(database) as tables, Relay(socket) as queue:
            yield Guarded(tables.port, queue.port, engine)
        engine.dispose()


def quiet(*texts: str) -> None:
    for text in texts:
        assert "Q7" not in text


@pytest.mark.parametrize("program", PROGRAMS, ids=" ".join)
def test_a_wrong_password_is_refused_in_a_line_that_does_not_show_it(
    guarded: Guarded, programs: Programs, program: tuple[str]
) -> None:
    for urls, named in (
        (guarded.urls(database=WRONG), "password authentication failed"),
        (guarded.urls(broker=WRONG), "invalid username-password pair"),
    ):
        done = programs.run(*program, **urls, log_level="DEBUG")
        quiet(done.stdout, done.stderr)
        if "upgrade" in program and named.startswith("invalid"):
            continue
        assert done.returncode == 2
        assert named in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "change",
    [
        {"broker_url": "redis://guest:Q7/Q7@127.0.0.1:1/0"},
        {"broker_url": "redis://guest:Q7#Q7@127.0.0.1:1/0"},
        {"broker_url": "redis://guest:Q7Q7@127.0.0.1:Q7/0"},
        {"broker_url": "rediss://guest:Q7Q7@127.0.0.1:1/0?ssl_cert_reqs=none"},
        {"database_url": "postgresql://guest:Q7@Q7@127.0.0.1:1/x"},
        {"database_url": "postgresql://guest:Q7/Q7@127.0.0.1:1/x"},
        {"database_url": "postgresql://guest:Q7:Q7@127.0.0.1:1/x"},
        {"database_url": "postgresql://guest@127.0.0.1:1/x?password=Q7Q7"},
        {"database_url": "postgresql://guest:Q7Q7@127.0.0.1:Q7/x"},
        {"database_url": "postgresql://guest:Q7Q7@127.0.0.1:1/x?nonsense=1"},
        {"database_url": "mysql://guest:Q7Q7@127.0.0.1:1/x"},
    ],
    ids=str,
)
def test_a_url_that_is_wrong_is_not_shown(guarded: Guarded, programs: Programs, change: dict[str, str]) -> None:
    for program in PROGRAMS[:3]:
        done = programs.run(*program, **{**guarded.urls(), **change}, log_level="DEBUG")
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        quiet(done.stdout, done.stderr)


@pytest.mark.parametrize("password", ["Q7@Q7", "Q7 Q7", "Q7%20Q7", "Q7:Q7"])
def test_a_broker_that_is_away_is_named_without_its_password(
    guarded: Guarded, programs: Programs, password: str
) -> None:
    urls = {**guarded.urls(), "broker_url": f"redis://guest:{password}@127.0.0.1:1/0"}
    done = programs.run(*PROGRAMS[2], **urls)
    assert done.returncode == 2
    assert "broker: cannot connect to redis://guest:**@127.0.0.1:1/" in done.stderr
    quiet(done.stderr)


def test_help_and_settings_show_none(guarded: Guarded, programs: Programs) -> None:
    done = programs.run(COMMAND, "--help", **guarded.urls())
    assert done.returncode == 0
    settings = Settings(**guarded.urls())
    quiet(done.stdout, done.stderr, repr(settings), str(settings), settings.model_dump_json())
    for program in PROGRAMS[:3]:
        bad = programs.run(*program, **guarded.urls(), window="0")
        assert bad.returncode == 2
        assert "FLOWCERT_WINDOW: " in bad.stderr
        assert "Traceback" not in bad.stderr
        quiet(bad.stderr)


@pytest.mark.parametrize("log_json", [True, False])
def test_processes_at_work_write_none_whatever_happens(guarded: Guarded, tmp_path: Path, log_json: bool) -> None:
    with Crew(guarded.engine, guarded.urls(), tmp_path, None, log_json=log_json, log_level="DEBUG") as crew:
        for module in ("scheduler", "worker"):
            crew.start(module)
        crew.wait("the worker", lambda: crew.rows("SELECT 1 FROM workers WHERE seen_at > now() - interval '9 seconds'"))
        seen = {path: path.read_bytes().decode() for path in Path("/proc").glob("[0-9]*/cmdline") if readable(path)}
        assert any("-m\0worker" in text for text in seen.values())
        # Every connection is cut, and the next one let in again.
        with guarded.engine.begin() as connection:
            connection.execute(
                sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'guest'")
            )
        with redis.Redis(port=guarded.broker_port, username="guest", password=BROKER) as client:
            client.client_kill_filter(_type="normal", skipme=True)
        crew.wait(
            "both to be back",
            lambda: crew.rows("SELECT 1 FROM pg_stat_activity WHERE usename = 'guest' HAVING count(*) >= 2"),
        )
        quiet(crew.logs(), *seen.values())


def readable(path: Path) -> bool:
    try:
        return path.read_bytes() is not None
    except OSError:
        return False


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://:secret@host/0", "redis://:***@host/0"),
        ("at postgresql://u:se/c:r@t@host:5432/x and more", "at postgresql://u:***@host:5432/x and more"),
        ("postgresql+psycopg2://u@/x?host=/run", "postgresql+psycopg2://u@/x?host=/run"),
        ("http://host:80/path", "http://host:80/path"),
    ],
)
def test_passwords_of_urls_are_masked(text: str, shown: str) -> None:
    assert mask_passwords(text) == shown
