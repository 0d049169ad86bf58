"""Scheduler and worker processes do not start on a database that is not theirs: status 2, one line, what to do."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import sqlalchemy as sa

SPOILT = {
    "DROP SCHEMA public CASCADE; CREATE SCHEMA public": "the database has no Flowcert schema; run: flowcert db upgrade",
    "UPDATE alembic_version SET version_num = '9999'": "the database is at revision 9999",
    "UPDATE schema_objects SET digest = 'older'": "views and functions are not those of this program",
}


def start(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with nothing but these settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("FLOWCERT_")}
    return subprocess.run(
        [sys.executable, "-m", program], env={**clean, "FLOWCERT_LOG_JSON": "true", **environment},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def assert_refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    for part in parts:
        assert part in line


@pytest.mark.parametrize("program", ["scheduler", "worker"])
@pytest.mark.parametrize(("spoil", "problem"), SPOILT.items(), ids=["empty", "older", "changed"])
def test_a_database_of_another_state_is_refused(
    engine: sa.Engine, database_url: str, broker_url: str, program: str, spoil: str, problem: str
) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text(spoil))
    done = start(program, FLOWCERT_DATABASE_URL=database_url, FLOWCERT_BROKER_URL=broker_url)
    assert_refused(done, problem, "run: flowcert db upgrade")


@pytest.mark.parametrize(("program", "command"), [("scheduler", "flowcert scheduler"), ("worker", "flowcert worker")])
def test_a_process_without_servers_names_its_settings(program: str, command: str) -> None:
    assert_refused(start(program), "FLOWCERT_DATABASE_URL, FLOWCERT_BROKER_URL", command)
