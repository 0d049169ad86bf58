"""Does what docs/operations.md says: its SQL is executed, and its backup restored into a database that goes on."""

from __future__ import annotations

import os
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from common.celery_app import make_app
from common.store.engine import open_engine
from scheduler.embedded.binaries import find_binaries
from scheduler.loop import _LEADER_LOCK
from tests.rows import Desk, honest

TEXT = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")
VIEWS = ("video_bounds", "bound_trace", "clip_explorations", "failures")


def shell(line: str, folder: Path, url: str) -> None:
    """Run a line of the document with PostgreSQL's own programs, which want a URL without SQLAlchemy's driver."""
    path = f"{find_binaries().postgres.parent}{os.pathsep}{os.environ['PATH']}"
    plain = url.replace("postgresql+psycopg2:", "postgresql:")
    environment = {**os.environ, "PATH": path, "FLOWCERT_DATABASE_URL": plain}
    done = subprocess.run(["sh", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def shown(engine: sa.Engine) -> dict[str, list[tuple[Any, ...]]]:
    """What views say that does not change with time."""
    with engine.connect() as connection:
        return {
            view: sorted((tuple(row) for row in connection.execute(sa.text(f"SELECT * FROM {view}"))), key=repr)
            for view in VIEWS
        }


@pytest.fixture
def empty_url(engine: sa.Engine) -> Iterator[str]:
    """A database beside the test's own, with nothing in it."""
    name = f"restored_{uuid.uuid4().hex[:12]}"
    administrator = engine.execution_options(isolation_level="AUTOCOMMIT")
    with administrator.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}" TEMPLATE template0'))
    yield engine.url.set(database=name).render_as_string(hide_password=False)
    with administrator.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))


def test_a_job_goes_on_in_a_restored_backup(
    engine: sa.Engine, database_url: str, empty_url: str, broker_url: str, tmp_path: Path,
    flowcert: Callable[..., Any], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    app = make_app(broker_url, task_seconds=1.0)
    desk = Desk(engine, database_url, app, task_points=5)
    job = desk.submit()
    desk.to_explore()
    claim = desk.claim()
    desk.ann.append(claim, honest(claim), 0.5)
    desk.round()
    known = shown(engine)
    (dump,) = re.findall(r"^pg_dump .+$", TEXT, re.MULTILINE)
    (upgrade, restore, check) = re.findall(
        r"^(flowcert db upgrade) .*\n(pg_restore .+)\n(flowcert db check)$", TEXT, re.MULTILINE
    )[0]
    shell(dump, tmp_path, database_url)
    monkeypatch.setenv("FLOWCERT_DATABASE_URL", empty_url)
    assert flowcert(*upgrade.split()[1:])[0] == 0
    shell(restore, tmp_path, empty_url)
    assert flowcert(*check.split()[1:])[0] == 0
    restored = open_engine(empty_url)
    assert shown(restored) == known
    again = Desk(restored, empty_url, app, task_points=5)
    again.pace.sizes[job] = 5
    again.work_off()
    assert again.video().verdict == "robust"
    restored.dispose()


def test_the_leader_and_the_largest_tables_are_found(engine: sa.Engine) -> None:
    sizes, leader = re.findall(r"^ *```sql\n(.+?)```", TEXT, re.MULTILINE | re.DOTALL)
    with engine.connect() as holder, engine.connect() as connection:
        assert connection.execute(sa.text(leader)).all() == []
        pid = holder.scalar(sa.text(f"SELECT pg_backend_pid() FROM pg_advisory_lock({_LEADER_LOCK})"))
        assert [row.pid for row in connection.execute(sa.text(leader))] == [pid]
        names = {row.table for row in connection.execute(sa.text(sizes))}
        assert names == set(sa.inspect(connection).get_table_names())
