"""Fuzzes the broker's messages through the real transport, and claims as a worker reads them."""

from __future__ import annotations

import base64
import json
from queue import Empty
from random import Random
from typing import Any, Self

import redis
from kombu import Consumer, Queue
from pydantic import ValidationError

from common.celery_app import make_app
from common.doorbell import envelope
from common.wire import PROTOCOL, QUEUE, BeatReply, Claim, Message
from tests.fuzz.mutate import harm, mutate, odd_text, odd_value
from tests.rows import make_spec

_CLAIM = {
    "task": 7, "attempt": 1, "kind": "explore", "video": "/v.avi", "label": "walk", "clip_digest": "a" * 64,
    "radius_cost": 33, "upper": 9, "prefix": [[0, 1]], "first": 0, "last": 4, "floor": 0, "threshold": 9,
}  # fmt: skip
_BEAT = {"wanted": True, "recalled": False, "upper": 3, "current": True, "waiting": None}
#: What kombu makes values of that are no JSON.
_TYPED = ("datetime", "date", "time", "decimal", "uuid", "bytes", "base64", "Decimal", "", 7, [], None)


class Messages:
    """A consumer on a real broker: whatever is read off the queue, it goes on, and hears what is honest."""

    name = "messages"

    def __init__(self, broker_url: str) -> None:
        self._url = broker_url

    def __enter__(self) -> Self:
        path = self._url.removeprefix("redis+socket://").partition("?")[0]
        self._redis = redis.Redis(unix_socket_path=path)
        self._connection = make_app(self._url, task_seconds=1.0).connection()
        self._heard: list[Any] = []
        self._consumer = Consumer(
            self._connection.channel(), [Queue(QUEUE)], accept=["json"], on_message=self._hear
        )  # fmt: skip
        self._consumer.consume()
        self._claim = _CLAIM | {"spec": make_spec().model_dump(mode="json")}
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.cancel()
        self._connection.release()
        self._redis.close()

    def _hear(self, message: Any) -> None:
        self._heard.append(message.payload)
        message.ack()

    def attempt(self, rng: Random) -> list[tuple[str, str]]:
        """Put a message into the queue and an honest one behind it, or read a claim or a beat's answer."""
        kind = rng.choice(("harmed bytes", "harmed envelope", "harmed body", "typed value", "claim", "beat's answer"))
        if kind in ("claim", "beat's answer"):
            schema, document = (Claim, self._claim) if kind == "claim" else (BeatReply, _BEAT)
            try:
                schema.model_validate(harm(document, rng))
            except ValidationError:
                return [(kind, "refused")]
            return [(kind, "accepted")]
        self._heard.clear()
        number = rng.randint(1, 2**62)
        self._redis.lpush(QUEUE, _draw(kind, rng))
        self._redis.lpush(QUEUE, json.dumps(envelope(Message(protocol=PROTOCOL, task=number))))
        while self._redis.llen(QUEUE):
            try:
                self._connection.drain_events(timeout=1)
            except (Empty, TimeoutError):
                continue
        self._drain_rest()
        assert self._heard[-1:] == [[[PROTOCOL, number], {}, {}]], f"not heard: {self._heard!r}"
        for payload in self._heard:
            protocol, task = payload[0]
            assert Message(protocol=protocol, task=task)
        return [(kind, "accepted" if len(self._heard) > 1 else "refused")]

    def _drain_rest(self) -> None:
        while not self._heard or self._heard[-1][0][0] != PROTOCOL:
            try:
                self._connection.drain_events(timeout=1)
            except (Empty, TimeoutError):
                return


def _draw(kind: str, rng: Random) -> bytes:
    honest = envelope(Message(protocol=PROTOCOL, task=rng.randint(1, 9)))
    if kind == "harmed bytes":
        return mutate(json.dumps(honest).encode(), rng, most=2**19)
    if kind == "harmed envelope":
        return json.dumps(harm(honest, rng)).encode()
    if kind == "harmed body":
        body: Any = [[PROTOCOL, 1], {}, {}]
        text = json.dumps(harm(body, rng)).encode() if rng.random() < 0.6 else mutate(json.dumps(body).encode(), rng)
        return json.dumps({**honest, "body": base64.b64encode(text).decode()}).encode()
    value = rng.choice((odd_text(rng), odd_value(rng), "1" * 5000, {"hex": "x"}))
    typed = {"__type__": rng.choice(_TYPED), "__value__": value}
    place = rng.choice(("body", "headers", "properties", "content-type", "more"))
    return json.dumps(rng.choice((typed, {**honest, place: typed}, [typed]))).encode()
