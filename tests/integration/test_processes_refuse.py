"""Scheduler and worker processes do not start on a database that is not theirs: status 2, one line, what to do."""

from __future__ import annotations

import subprocess

import pytest
import redis
import sqlalchemy as sa

from common.broker import check_broker
from common.errors import ServerError
from tests.programs import Programs
from tests.relay import Relay

SPOILT = {
    "DROP SCHEMA public CASCADE; CREATE SCHEMA public": "the database has no Flowcert schema; run: flowcert db upgrade",
    "UPDATE alembic_version SET version_num = '9999'": "the database is at revision 9999",
    "UPDATE schema_objects SET digest = 'older'": "views and functions are not those of this program",
}


def assert_refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    for part in parts:
        assert part in line


@pytest.mark.parametrize("program", ["scheduler", "worker"])
@pytest.mark.parametrize(("spoil", "problem"), SPOILT.items(), ids=["empty", "older", "changed"])
def test_a_database_of_another_state_is_refused(
    engine: sa.Engine, database_url: str, broker_url: str, programs: Programs, program: str, spoil: str, problem: str
) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text(spoil))
    done = programs.run(program, database_url=database_url, broker_url=broker_url, log_json=True)
    assert_refused(done, problem, "run: flowcert db upgrade")


@pytest.mark.parametrize(("program", "command"), [("scheduler", "flowcert scheduler"), ("worker", "flowcert worker")])
def test_a_process_without_servers_names_its_settings(programs: Programs, program: str, command: str) -> None:
    assert_refused(programs.run(program, log_json=True), "FLOWCERT_DATABASE_URL, FLOWCERT_BROKER_URL", command)


@pytest.mark.parametrize("program", ["scheduler", "worker"])
def test_a_broker_that_evicts_is_refused(database_url: str, broker_url: str, programs: Programs, program: str) -> None:
    with redis.Redis(unix_socket_path=broker_url.removeprefix("redis+socket://").partition("?")[0]) as client:
        client.config_set("maxmemory-policy", "volatile-lru")
        try:
            done = programs.run(program, database_url=database_url, broker_url=broker_url, log_json=True)
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    assert_refused(done, "broker: its maxmemory-policy is volatile-lru", "set it to noeviction")


def test_a_broker_that_does_not_tell_or_is_away_is_warned_of(broker_url: str) -> None:
    path = broker_url.removeprefix("redis+socket://").partition("?")[0]
    said: list[str] = []
    with redis.Redis(unix_socket_path=path) as client, Relay(path) as relay:
        client.acl_setuser("shy", enabled=True, nopass=True, categories=["+@all"], commands=["-config"], keys=["*"])
        try:
            check_broker(f"redis://shy:x@127.0.0.1:{relay.port}/0", said.append, must_answer=True)
        finally:
            client.acl_deluser("shy")
    check_broker("redis://127.0.0.1:1/0", said.append, must_answer=False)
    assert "does not tell its maxmemory-policy" in said[0]
    assert "cannot connect to redis://:**@127.0.0.1:1/0" in said[1]
    assert said[1].endswith("waiting for it")
    assert len(said) == 2
    with pytest.raises(ServerError, match="cannot connect"):
        check_broker("redis://127.0.0.1:1/0", said.append, must_answer=True)
