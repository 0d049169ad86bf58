"""Whatever a stranger puts into the broker, a real worker lives on, runs none of it, and does its database's work."""

import base64
import gzip
import json
import os
import pickle
import uuid
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa

from common.celery_app import make_app
from common.doorbell import MOST_BYTES, RefusedMessageError, ours
from common.wire import PROTOCOL, QUEUE, TASK_NAME, protocol_problem
from tests.crew import Crew
from tests.programs import Programs
from tests.rows import Desk


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def envelope(body: bytes, *, content_type: str = "application/json", **headers: Any) -> dict[str, Any]:
    """A message as kombu writes them."""
    name = str(uuid.uuid4())
    return {
        "body": base64.b64encode(body).decode(), "content-type": content_type, "content-encoding": "utf-8",
        "headers": {"lang": "py", "task": TASK_NAME, "id": name, "root_id": name, "retries": 0, **headers},
        "properties": {
            "delivery_tag": name, "body_encoding": "base64",
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
        },
    }  # fmt: skip


def call(*arguments: Any, named: Any = None, **headers: Any) -> dict[str, Any]:
    return envelope(json.dumps([arguments, named or {}, {}]).encode(), **headers)


def hostile(mark: Path) -> list[bytes]:
    """Messages that no scheduler sends; those that hold a bomb would make ``mark``."""
    bomb = pickle.dumps(Bomb(mark))
    envelopes = [
        envelope(bomb, content_type="application/x-python-serialize"),
        envelope(bomb, content_type="application/data"),
        envelope(b"!!python/object/apply:os.mkdir ['/x']", content_type="application/x-yaml"),
        envelope(gzip.compress(b"0" * 10_000_000), compression="application/x-gzip"),
        envelope(b"[" * 3000),
        envelope(json.dumps([[PROTOCOL, 1], {}, {}, "x" * MOST_BYTES]).encode()),
        call(),
        call(PROTOCOL),
        call(PROTOCOL, 1, 2),
        call(PROTOCOL, "1"),
        call(PROTOCOL, True),
        call(PROTOCOL, 2**63),
        call(PROTOCOL, 0),
        call(PROTOCOL, 1.5),
        call(PROTOCOL, [[]]),
        call(named={"protocol": PROTOCOL, "task": 1}),
        call(PROTOCOL, 1, named={"more": 1}),
        call(PROTOCOL, 1, task="celery.backend_cleanup"),
        call(PROTOCOL, 1, task=["flowcert.work"]),
        {**call(PROTOCOL, 1), "body": 7},
        {**call(PROTOCOL, 1), "headers": None},
        {"body": ""},
        [],
        None,
    ]  # fmt: skip
    raw = [b"", b"\xff\xfe\x00 no text", b'{"body": ', b"[" * 100_000, bomb, b"x" * 1_000_000, b"1" * 5000]
    # Kombu reads these as values of other types, and fails at them as those types do.
    typed = {"decimal": "x", "datetime": "x", "date": 5, "uuid": {"hex": 1}, "base64": "x", "other": None}
    raw += [json.dumps({"__type__": name, "__value__": value}).encode() for name, value in typed.items()]
    return raw + [json.dumps(each).encode() for each in envelopes]


def test_an_honest_message_becomes_an_envelope_of_our_own() -> None:
    sent = call(PROTOCOL, 17, eta="2099-01-01", timelimit=[1, 1], expires="x", reply_to="somebody", chord={"task": "x"})
    found = ours(sent)
    assert json.loads(base64.b64decode(found["body"])) == [[PROTOCOL, 17], {}, {}]
    assert set(found["headers"]) == {"lang", "task", "id", "root_id", "retries"}
    assert found["properties"]["delivery_tag"] != sent["properties"]["delivery_tag"]


def test_every_hostile_envelope_is_refused(tmp_path: Path) -> None:
    refused = 0
    for raw in hostile(tmp_path / "mark"):
        try:
            message = json.loads(raw)
        except (ValueError, RecursionError):
            continue
        with pytest.raises(RefusedMessageError):
            ours(message)
        refused += 1
    assert refused == 30


def test_a_worker_lives_through_all_of_them(
    engine: sa.Engine, database_url: str, broker_url: str, tmp_path: Path, programs: Programs
) -> None:
    desk = Desk(engine, database_url, make_app(broker_url, task_seconds=1.0))
    mark = tmp_path / "mark"
    messages = hostile(mark)
    socket = broker_url.removeprefix("redis+socket://").partition("?")[0]
    urls = {"database_url": database_url, "broker_url": broker_url}
    with redis.Redis(unix_socket_path=socket) as broker, Crew(engine, urls, tmp_path, programs, log_json=True) as crew:
        worker = crew.start("worker")
        crew.wait("the worker", lambda: len(crew.rows("SELECT 1 FROM workers")) == 3)
        # Among those that wait for an acknowledgement, too: a worker puts them back when they are old.
        for tag, kept in {
            "a": b"\xff\xfe",
            "b": b"[1, 2, 3]",
            "c": b"[]",
            "e": b'{"__type__": "decimal", "__value__": "x"}',
            "d": json.dumps([{}, "", QUEUE]),
        }.items():
            broker.hset("unacked", tag, kept)
            broker.zadd("unacked_index", {tag: 1})
        for message in messages:
            broker.lpush(QUEUE, message)
        broker.lpush(QUEUE, json.dumps(call(PROTOCOL + 1, 1)))
        crew.wait("an empty queue", lambda: not broker.llen(QUEUE) and not broker.zcard("unacked_index"))
        desk.submit()
        desk.round()
        crew.wait("its work", lambda: crew.rows("SELECT 1 FROM attempts WHERE outcome = 'refused'"))
        assert worker.poll() is None
    ((reason,),) = crew.rows("SELECT reason FROM attempts")
    assert reason == "weights: /none.pt: cannot be read (No such file or directory)"
    assert not mark.exists()
    said = [json.loads(line) for line in crew.logs().splitlines() if line.startswith("{")]
    events = [line["event"] for line in said]
    assert events.count("message_refused") >= len(messages)
    (refused,) = [line["reason"] for line in said if line["event"] == "unknown_protocol"]
    assert refused == protocol_problem(PROTOCOL + 1)
    assert len(crew.logs()) < 100_000


def test_a_scheduler_lives_with_a_queue_of_another_kind(engine: sa.Engine, database_url: str, broker_url: str) -> None:
    desk = Desk(engine, database_url, make_app(broker_url, task_seconds=1.0))
    socket = broker_url.removeprefix("redis+socket://").partition("?")[0]
    with redis.Redis(unix_socket_path=socket) as broker:
        broker.set(QUEUE, "taken")
        broker.sadd("_kombu.binding." + QUEUE, b"\xff")
        desk.submit()
        desk.round()
        assert broker.get(QUEUE) == b"taken"
        broker.flushall()
    (task,) = desk.ready()
    assert desk.claim(task).kind == "prepare"


def test_the_embedded_broker_takes_no_message_of_more_than_a_megabyte(broker_url: str) -> None:
    socket = broker_url.removeprefix("redis+socket://").partition("?")[0]
    with redis.Redis(unix_socket_path=socket) as broker:
        with pytest.raises((redis.ResponseError, redis.ConnectionError)):
            broker.lpush(QUEUE, b"x" * (2**20 + 1))
        assert broker.llen(QUEUE) == 0
