"""Decides which of the broker's messages reach Celery: those that announce a task, whatever a stranger may have sent.

Celery and kombu trust what they take from a queue: a few bytes that are no JSON end a worker, and headers can delay a
task, limit its time or have it call others. So an envelope is never passed on. Of a message only its two numbers are
taken, checked, and put into an envelope of our own; anything else is refused with one line in the log.
"""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from collections.abc import Mapping
from queue import Empty
from typing import Any

import structlog
from kombu.transport import TRANSPORT_ALIASES, redis
from pydantic import ValidationError

from common.wire import QUEUE, TASK_NAME, Message

log = structlog.get_logger()
#: Bytes of a body above which it is not even parsed; one of ours has a hundred.
MOST_BYTES = 4096
#: Kombu's names of the transport that is replaced here.
_SCHEMES = ("redis", "rediss")
#: What kombu raises while it makes values of a stranger's bytes: besides wrong JSON and text, whatever Python says of
#: integers of thousands of digits, and of dates, decimals and UUIDs that kombu has JSON objects stand for.
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class RefusedMessageError(Exception):
    """A message is not one of ours; the text says why."""


def ours(raw: Any) -> dict[str, Any]:
    """Make a clean envelope of a raw one; raises RefusedMessageError unless it announces a task."""
    if not isinstance(raw, Mapping) or not isinstance(raw.get("body"), str):
        raise RefusedMessageError("is no envelope with a body")
    if raw.get("content-type") != "application/json":
        raise RefusedMessageError("is not JSON")
    headers = raw.get("headers")
    if not isinstance(headers, Mapping) or headers.get("task") != TASK_NAME:
        raise RefusedMessageError(f"is not for {TASK_NAME}")
    if len(raw["body"]) > MOST_BYTES:
        raise RefusedMessageError(f"has a body of more than {MOST_BYTES} bytes")
    return envelope(_message(raw["body"]))


def _message(body: str) -> Message:
    try:
        arguments, named, _ = json.loads(base64.b64decode(body, validate=True))
        if named != {}:
            raise RefusedMessageError("has named arguments")
        protocol, task = arguments
        return Message(protocol=protocol, task=task)
    except ValidationError as error:
        raise RefusedMessageError(f"has a wrong {error.errors()[0]['loc'][0]}") from error
    except (binascii.Error, RecursionError, TypeError, ValueError) as error:
        raise RefusedMessageError("does not hold a protocol and a task") from error


def envelope(message: Message) -> dict[str, Any]:
    """A message as Celery's task protocol 2 and kombu's Redis transport have it; each call gives it another id."""
    name = str(uuid.uuid4())
    called = [[message.protocol, message.task], {}, {}]
    return {
        "body": base64.b64encode(json.dumps(called).encode()).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"lang": "py", "task": TASK_NAME, "id": name, "root_id": name, "retries": 0},
        "properties": {
            "body_encoding": "base64",
            "delivery_tag": name,
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
        },
    }


class _QoS(redis.QoS):
    """Keeps messages that are not acknowledged yet; what a stranger put among them is thrown away."""

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        try:
            super().restore_by_tag(tag, client, leftmost)
        except _UNREADABLE as error:
            log.warning("message_refused", reason=f"cannot be sent again: {type(error).__name__}")
            with self.channel.conn_or_acquire(client) as connection:  # type: ignore[attr-defined]  # The stubs lack it.
                self._remove_from_indices(tag, connection.pipeline()).execute()  # type: ignore[attr-defined]


class _Channel(redis.Channel):
    """Reads messages; one that cannot even be read is gone from the queue, and costs no more than that."""

    QoS = _QoS

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # The stubs lack it.
        except _UNREADABLE as error:
            log.warning("message_refused", reason=f"cannot be read: {type(error).__name__}")
            raise Empty from error


class Transport(redis.Transport):
    """Kombu's transport for Redis-protocol servers, with a guard at the door."""

    Channel = _Channel

    def _deliver(self, message: Any, queue: str | None) -> None:
        try:
            clean = ours(message)
        except RefusedMessageError as refusal:
            log.warning("message_refused", reason=str(refusal))
            return
        super()._deliver(clean, queue)


def guard() -> None:
    """Have every connection to a Redis-protocol broker in this process use the guarded transport."""
    TRANSPORT_ALIASES.update(dict.fromkeys(_SCHEMES, f"{__name__}:Transport"))
