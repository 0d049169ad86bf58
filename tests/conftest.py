"""Lets tests import each other's helpers as ``tests.<module>``, and gives them real servers with a fresh database."""

import os
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
import sqlalchemy as sa
from xdist.scheduler import LoadFileScheduling

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
# As a worker has it unless it is told otherwise: on small tensors, threads wait for each other. Read when torch loads.
os.environ["OMP_NUM_THREADS"] = "1"

from common.store.engine import open_engine
from migrations.schema import upgrade
from scheduler.embedded import EmbeddedStack, start_stack
from tests.programs import Programs

if TYPE_CHECKING:
    from tests.crew import Crew

# Helpers whose assertions should explain themselves as those of tests do.
pytest.register_assert_rewrite("tests.harness", "tests.crew")

# A shell's background jobs ignore SIGINT, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

TEMPLATE = "flowcert_template"
#: What the largest test databases of four processes take together, and more.
ROOM_BYTES = 8 * 2**30
#: Tests that wait longest begin, and the shortest fill up the end.
FIRST, LAST = "tests/acceptance/", "tests/unit/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests so that processes that share them end at about the same time."""
    items.sort(key=lambda item: (not item.nodeid.startswith(FIRST), item.nodeid.startswith(LAST)))


class _WholeFiles(LoadFileScheduling):
    """Gives each process whole files, for what a file sets up is dear; those of dashboards share one database."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0])
        return str(file.parent if file.parent.name == "dashboards" else file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _WholeFiles:
    """Share the tests among the processes of ``pytest -n``."""
    return _WholeFiles(config, log)


def _create(stack: EmbeddedStack, name: str, template: str) -> None:
    _administer(stack, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')


def _administer(stack: EmbeddedStack, statement: str) -> None:
    engine = sa.create_engine(stack.urls.database_url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(statement))


def _url(stack: EmbeddedStack, database: str) -> str:
    return sa.make_url(stack.urls.database_url).set(database=database).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def quick_folder() -> Iterator[Path]:
    """Folder for servers' data: in memory where there is room, for a database is copied there in a third of the time.

    Killed processes lose nothing that a disk would have kept.
    """
    memory = Path("/dev/shm")
    for left in memory.glob("flowcert-tests-*-*"):
        # Of tests that were killed: what is in memory goes only when it is removed.
        if not Path(f"/proc/{left.name.split('-')[2]}").exists():
            shutil.rmtree(left, ignore_errors=True)
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM_BYTES
    prefix = f"flowcert-tests-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=memory if roomy else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def stack(quick_folder: Path) -> Iterator[EmbeddedStack]:
    """Embedded servers for the whole session, with one upgraded database that every test's own is copied from."""
    with start_stack(quick_folder / "stack") as servers:
        _create(servers, TEMPLATE, "template1")
        engine = open_engine(_url(servers, TEMPLATE))
        upgrade(engine)
        # PostgreSQL copies a database only while nobody is connected to it.
        engine.dispose()
        yield servers


@pytest.fixture
def database_url(stack: EmbeddedStack) -> Iterator[str]:
    """URL of a database at head that nobody has used."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    _create(stack, name, TEMPLATE)
    yield _url(stack, name)
    _administer(stack, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """Engine of the scheduler and the command line on a database at head that nobody has used."""
    opened = open_engine(database_url)
    yield opened
    with opened.connect() as connection:
        contradictions = _contradictions(connection)
    opened.dispose()
    assert not contradictions, "bounds contradict each other"


def _contradictions(connection: sa.Connection) -> list[object]:
    """Clips whose bounds cannot all be true; none, whatever a test did to its jobs."""
    if not sa.inspect(connection).has_table("video_bounds"):
        return []
    query = (
        "SELECT * FROM video_bounds WHERE msr_lower > msr_upper OR fmsr_lower > fmsr_upper OR msr_upper > fmsr_upper"
    )
    return [dict(row) for row in connection.execute(sa.text(query)).mappings()]


@pytest.fixture
def broker_url(stack: EmbeddedStack) -> str:
    """Kombu URL of a Valkey server that holds nothing."""
    path = stack.urls.broker_url.removeprefix("redis+socket://").partition("?")[0]
    with redis.Redis(unix_socket_path=path) as client:
        client.flushall()
    return stack.urls.broker_url


@pytest.fixture
def make_crew(
    engine: sa.Engine, database_url: str, broker_url: str, tmp_path: Path, programs: Programs
) -> "Iterator[Callable[..., Crew]]":
    """Return a function that gives a crew on the test's servers with these settings; it ends with the test."""
    # Loaded late: most tests have no use for torch.
    from tests.crew import Crew

    urls = {"database_url": database_url, "broker_url": broker_url}
    with ExitStack() as crews:
        yield lambda **settings: crews.enter_context(Crew(engine, urls, tmp_path, programs, **settings))


@pytest.fixture(scope="session")
def programs() -> Iterator[Programs]:
    """What runs scheduler, worker and command line as processes, without loading them each time."""
    with Programs() as started:
        yield started
