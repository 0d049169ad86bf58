"""Both URLs can ask for TLS, which then verifies the server's certificate and name; real handshakes, by openssl.

The servers from wheels are built without TLS, so a relay in this process speaks it for them.
"""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa

from common.broker import check_broker, checked_url
from common.celery_app import make_app
from common.errors import InputError, ServerError
from common.store.engine import open_engine
from common.wire import PROTOCOL, QUEUE, TASK_NAME
from migrations.schema import require_head
from scheduler.intake.dataset import FoundClip
from scheduler.intake.submit import submit
from tests.crew import Crew
from tests.programs import Programs
from tests.relay import Relay, make_authority, serve_as
from tests.rows import make_spec


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_authority(tmp_path_factory.mktemp("tls"), "authority")


@pytest.fixture(scope="module")
def context(authority: Path) -> ssl.SSLContext:
    return serve_as(authority, "localhost")


@pytest.fixture
def broker(broker_url: str, context: ssl.SSLContext) -> Iterator[int]:
    """Port at which the broker speaks TLS as localhost."""
    with Relay(broker_url.removeprefix("redis+socket://").partition("?")[0], tls=context) as relay:
        yield relay.port


@pytest.fixture
def database(database_url: str, context: ssl.SSLContext) -> Iterator[str]:
    """Where PostgreSQL speaks TLS as localhost: user, address and database."""
    url = sa.make_url(database_url)
    with Relay(f"{url.query['host']}/.s.PGSQL.5432", tls=context, postgres=True) as relay:
        yield f"flowcert@{{host}}:{relay.port}/{url.database}"


def refuse(*arguments: Any, **named: Any) -> str:
    with pytest.raises(ServerError) as refused:
        check_broker(*arguments, pytest.fail, must_answer=True, **named)
    return str(refused.value)


def test_messages_go_through_verified_tls(broker: int, broker_url: str, authority: Path) -> None:
    url = f"rediss://localhost:{broker}/0?ssl_ca_certs={authority}"
    check_broker(url, pytest.fail, must_answer=True)
    make_app(url, task_seconds=1.0).send_task(TASK_NAME, args=(PROTOCOL, 17), queue=QUEUE)
    with redis.Redis(unix_socket_path=broker_url.removeprefix("redis+socket://").partition("?")[0]) as client:
        assert json.loads(client.rpop(QUEUE))["headers"]["task"] == TASK_NAME


def test_a_broker_of_another_authority_or_name_is_refused(broker: int, authority: Path, tmp_path: Path) -> None:
    stranger = make_authority(tmp_path, "stranger")
    assert "CERTIFICATE_VERIFY_FAILED" in refuse(f"rediss://localhost:{broker}/0?ssl_ca_certs={stranger}")
    assert "CERTIFICATE_VERIFY_FAILED" in refuse(f"rediss://localhost:{broker}/0")
    assert "IP address mismatch" in refuse(f"rediss://127.0.0.1:{broker}/0?ssl_ca_certs={authority}")
    assert "cannot connect" in refuse(f"redis://localhost:{broker}/0")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("rediss://h/0?ssl_cert_reqs=none", "ssl_cert_reqs can only be required"),
        ("rediss://h/0?ssl_cert_reqs=CERT_OPTIONAL", "ssl_cert_reqs can only be required"),
        ("rediss://h/0?ssl_check_hostname=false", "ssl_check_hostname cannot be turned off"),
        ("redis://h/0?ssl_cert_reqs=required", "write rediss://"),
        ("rediss+socket:///x", "must be a Redis-protocol URL"),
        ("amqp://h", "must be a Redis-protocol URL"),
        ("redis://a/0;redis://b/0", "names several servers"),
        ("redis://:se/cret@h/0", "write special characters of its password as %XX"),
    ],
)
def test_urls_that_verify_nothing_are_refused(url: str, problem: str) -> None:
    for use in (checked_url, lambda given: make_app(given, task_seconds=1.0)):
        with pytest.raises(InputError, match=problem) as refused:
            use(url)
        assert "cret" not in str(refused.value)


def test_verification_is_asked_for_where_a_url_is_silent() -> None:
    assert checked_url("rediss://:p%2Fw@h:6380/1") == "rediss://:p%2Fw@h:6380/1?ssl_cert_reqs=required"


def test_the_database_is_reached_by_verified_tls(database: str, authority: Path) -> None:
    engine = open_engine(
        f"postgresql://{database.format(host='localhost')}?sslmode=verify-full&sslrootcert={authority}"
    )
    require_head(engine)
    engine.dispose()


def test_a_database_of_another_authority_or_name_is_refused(database: str, authority: Path, tmp_path: Path) -> None:
    stranger = make_authority(tmp_path, "stranger")
    for host, root, problem in (
        ("localhost", stranger, "certificate verify failed"),
        ("127.0.0.1", authority, 'does not match host name "127.0.0.1"'),
    ):
        engine = open_engine(f"postgresql://{database.format(host=host)}?sslmode=verify-full&sslrootcert={root}")
        with pytest.raises(ServerError, match=problem):
            require_head(engine)


def test_a_worker_does_its_work_by_tls_alone(
    engine: sa.Engine, database: str, broker: int, authority: Path, tmp_path: Path, programs: Programs
) -> None:
    urls = {
        "database_url": f"postgresql://{database.format(host='localhost')}?sslmode=verify-full&sslrootcert={authority}",
        "broker_url": f"rediss://localhost:{broker}/0?ssl_ca_certs={authority}",
    }
    submit(engine, make_spec(), [FoundClip("walk", "/videos/a.avi")], 1000)
    with Crew(engine, urls, tmp_path, programs) as crew:
        crew.start("worker")
        crew.start("scheduler")
        crew.wait_until_done()
    ((reason,),) = crew.rows("SELECT reason FROM attempts")
    assert reason == "weights: /none.pt: cannot be read (No such file or directory)"
