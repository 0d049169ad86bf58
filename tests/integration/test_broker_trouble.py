"""A broker that is full, gone or hanging delays announcements; it never stops the scheduler."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from common.celery_app import make_app
from common.wire import QUEUE
from scheduler.announce import send
from tests.servers import OwnServers


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[OwnServers]:
    """A broker that may be harmed."""
    own = OwnServers(tmp_path)
    own.make_run_dir()
    own.start_broker()
    yield own
    own.signal_broker(signal.SIGCONT)
    own.stop_broker(signal.SIGKILL)


def test_a_broker_in_trouble_is_waited_for(servers: OwnServers, subtests: pytest.Subtests) -> None:
    app = make_app(servers.urls.broker_url, task_seconds=1.0)
    # As it is, but quicker to say so.
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, "socket_timeout": 1}
    send(app, [1, 2])
    trouble = {
        "full": (lambda: maxmemory(servers, 1), lambda: maxmemory(servers, 0)),
        "hanging": (lambda: servers.signal_broker(signal.SIGSTOP), lambda: servers.signal_broker(signal.SIGCONT)),
        "gone": (lambda: servers.stop_broker(signal.SIGKILL), servers.start_broker),
    }
    for kind, (begin, end) in trouble.items():
        with subtests.test(kind):
            begin()
            with structlog.testing.capture_logs() as logs:
                send(app, [3])
            assert [log["event"] for log in logs] == ["broker_unreachable"]
            end()
            with structlog.testing.capture_logs() as logs:
                send(app, [4])
            if logs:  # The connection that was hung up on is found out by its first use.
                send(app, [4])
            with servers.broker() as client:
                assert client.llen(QUEUE) > 0
    app.close()


def maxmemory(servers: OwnServers, limit: int) -> None:
    with servers.broker() as client:
        client.config_set("maxmemory", limit)
