"""Simulates workers without a model: real messages, real claims, beats and appends, honest answers, no computing.

A simulated worker does what ``worker.child`` does with the broker and the database: it takes a message from the queue,
keeps it unacknowledged while it works, claims through ``worker_claim`` as the narrow role, answers, appends through
``worker_append``, and beats. What the servers and the scheduler see of it is what they see of a real one, but for two
things: no time is spent computing, and the workers of one crew share a connection and have their calls made together,
one statement for all, since two cores cannot carry 64 processes beside the servers and the scheduler.
"""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis
import sqlalchemy as sa

from benchmarks.synthetic import answer
from common.store.engine import open_worker_engine
from common.wire import QUEUE, WorkerInfo
from scheduler.arrays import array

LEASE_SECONDS, BEAT_SECONDS = 60.0, 5.0
UNACKED = "unacked"
INFO = WorkerInfo(host="bench", pid=1, device="cpu", versions={})
_CLAIM = sa.text(
    "SELECT u.worker, u.tag, worker_claim(u.task, u.worker, :lease)"
    " FROM unnest(CAST(:tasks AS bigint[]), CAST(:workers AS text[]), CAST(:tags AS text[])) AS u (task, worker, tag)"
)
_APPEND = sa.text(
    "SELECT worker_append(u.task, u.attempt, u.worker, u.payload, u.seconds, NULL, false)"
    " FROM unnest(CAST(:tasks AS bigint[]), CAST(:attempts AS bigint[]), CAST(:workers AS text[]),"
    " CAST(:payloads AS jsonb[]), CAST(:seconds AS double precision[])) AS u (task, attempt, worker, payload, seconds)"
)
_BEAT = sa.text(
    "SELECT worker_beat(u.worker, CAST(:info AS jsonb), u.task, u.attempt, :lease)"
    " FROM unnest(CAST(:workers AS text[]), CAST(:tasks AS bigint[]), CAST(:attempts AS bigint[]))"
    " AS u (worker, task, attempt) ORDER BY u.worker"
)

#: Seconds that a worker reports for a claim and its answer, and whether it sleeps as long.
Pacing = Callable[[dict[str, Any], dict[str, Any]], float]


class Crew:
    """Simulated workers that act together, in one thread with one connection each to the database and the broker.

    ``pacing`` says how many seconds a task takes; ``asleep`` whether they pass, or are only reported.
    """

    def __init__(
        self, database_url: str, broker: redis.Redis, names: list[str], pacing: Pacing, *, asleep: bool
    ) -> None:
        self._connection = open_worker_engine(database_url).connect().execution_options(isolation_level="AUTOCOMMIT")
        self._broker, self._names = broker, names
        self._pacing, self._asleep = pacing, asleep
        self._beaten = 0.0
        self.tasks = 0
        self.spans: list[tuple[float, float]] = []  #: (begin, seconds) of each task, if they are slept
        self._beat({})

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set."""
        while not stop.is_set():
            if time.monotonic() - self._beaten > BEAT_SECONDS:
                self._beat({})
            messages = self._take()
            if messages:
                self._work(messages)

    def _take(self) -> dict[str, tuple[int, str]]:
        """A message for each worker, by its tag: the task that it names and the worker that has it."""
        first = self._broker.brpop([QUEUE], timeout=0.2)
        if first is None:
            return {}
        raw = [first[1], *(self._broker.rpop(QUEUE, len(self._names) - 1) or [] if len(self._names) > 1 else [])]
        taken = {}
        kept = {}
        for name, message in zip(self._names, raw, strict=False):
            envelope = json.loads(message)
            tag = envelope["properties"]["delivery_tag"]
            (_, task), *_ = json.loads(base64.b64decode(envelope["body"]))
            taken[tag], kept[tag] = (task, name), message
        self._broker.hset(UNACKED, mapping=kept)
        return taken

    def _work(self, messages: dict[str, tuple[int, str]]) -> None:
        begun = time.monotonic()
        rows = self._connection.execute(
            _CLAIM,
            {
                "tasks": array(task for task, _ in messages.values()),
                "workers": [name for _, name in messages.values()],
                "tags": list(messages),
                "lease": LEASE_SECONDS,
            },
        ).all()
        claims = [(worker, claim) for worker, _, claim in rows if claim is not None]
        answers = [answer(claim) for _, claim in claims]
        seconds = [self._pacing(claim, found) for (_, claim), found in zip(claims, answers, strict=True)]
        if self._asleep and claims:
            self._sleep(claims, max(seconds))
            self.spans.append((begun, time.monotonic() - begun))
        if claims:
            self._connection.execute(
                _APPEND,
                {
                    "tasks": array(claim["task"] for _, claim in claims),
                    "attempts": array(claim["attempt"] for _, claim in claims),
                    "workers": [worker for worker, _ in claims],
                    "payloads": [json.dumps(found) for found in answers],
                    "seconds": array(seconds),
                },
            )
        self._broker.hdel(UNACKED, *messages)
        self.tasks += len(claims)

    def _sleep(self, claims: list[tuple[str, dict[str, Any]]], seconds: float) -> None:
        """Spend a task's time, beating as a worker does."""
        limit = time.monotonic() + seconds
        while (left := limit - time.monotonic()) > 0:
            time.sleep(min(left, BEAT_SECONDS))
            if time.monotonic() - self._beaten > BEAT_SECONDS:
                self._beat({worker: (claim["task"], claim["attempt"]) for worker, claim in claims})

    def _beat(self, tasks: dict[str, tuple[int, int]]) -> None:
        held = [tasks.get(name, (None, None)) for name in self._names]
        self._connection.execute(
            _BEAT,
            {
                "workers": self._names,
                "info": INFO.model_dump_json(),
                "tasks": array(task for task, _ in held),
                "attempts": array(attempt for _, attempt in held),
                "lease": LEASE_SECONDS,
            },
        )
        self._beaten = time.monotonic()


@contextmanager
def at_work(crews: list[Crew]) -> Iterator[None]:
    """Have crews work, each in a thread; an error of one of them is raised at the end."""
    stop, errors = threading.Event(), []

    def run(crew: Crew) -> None:
        try:
            crew.run(stop)
        except Exception as error:  # noqa: BLE001 - it is raised again by the thread that waits.
            errors.append(error)

    threads = [threading.Thread(target=run, args=(crew,), daemon=True) for crew in crews]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    if errors:
        raise errors[0]


def steady(task_seconds: float, points: int) -> Pacing:
    """Seconds that make the scheduler keep to tasks of so many points."""
    return lambda _, found: task_seconds / 2 * found.get("explored", points) / points


def drawn(points_per_second: float, seed: int) -> Pacing:
    """Seconds of a worker of this speed, spread log-normally around what a task should take (mean one, sigma 0.3)."""
    rng = random.Random(seed)
    spread = 0.3

    def seconds(claim: dict[str, Any], found: dict[str, Any]) -> float:
        usual = found["explored"] / points_per_second if claim["kind"] == "explore" else 1.0
        return usual * rng.lognormvariate(-spread * spread / 2, spread)

    return seconds
