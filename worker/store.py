"""Speaks to PostgreSQL as the narrow worker role: claim, beat, append and refuse, four functions and nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import structlog
from sqlalchemy import Engine, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError as DatabaseIntegrityError
from sqlalchemy.exc import InterfaceError, OperationalError

from common.errors import IntegrityError, first_line
from common.wire import MOST_REASON, MOST_RESULT_BYTES, BeatReply, Claim, Outcome, WorkerInfo

log = structlog.get_logger()
#: Longest pause between two tries to reach a database that is away.
_LONGEST_PAUSE = 5.0

_CLAIM = text("SELECT worker_claim(:task, :worker, :lease)")
_BEAT = text("SELECT worker_beat(:worker, :info, :task, :attempt, :lease)").bindparams(bindparam("info", type_=JSONB))
_APPEND = text(
    "SELECT worker_append(:task, :attempt, :worker, :payload, :seconds, :error, :final)"
).bindparams(bindparam("payload", type_=JSONB(none_as_null=True)))  # fmt: skip
_REFUSE = text("SELECT worker_refuse(:task, :attempt, :worker, :reason)")


class WorkerStore:
    """The database as one worker sees it; every call is a transaction of its own.

    All but ``beat`` wait for a database that is away, for as long as it takes: without it there is nothing to do, and
    a result that is not appended is lost. Once ``stopping`` says so they raise OperationalError instead.
    """

    def __init__(
        self, engine: Engine, worker: str, lease_seconds: float, stopping: Callable[[], bool] = lambda: False
    ) -> None:
        self._engine = engine
        self._worker = worker
        self._lease = lease_seconds
        self._stopping = stopping

    def claim(self, task: int) -> Claim | None:
        """Claim a task, or None when it is not to be had: its message was stale."""
        document = self._patiently(_CLAIM, task=task, worker=self._worker, lease=self._lease)
        return None if document is None else Claim.model_validate(document)

    def beat(self, info: WorkerInfo, task: int | None, attempt: int | None) -> BeatReply:
        """Show the worker alive and extend its task's lease; raises OperationalError when the database is away."""
        parameters = {"info": info.model_dump(mode="json"), "task": task, "attempt": attempt}
        return BeatReply.model_validate(self._execute(_BEAT, worker=self._worker, lease=self._lease, **parameters))

    def append(self, claim: Claim, result: Outcome, seconds: float) -> str:
        """Append a result; returns ``accepted`` or ``late``. Raises IntegrityError when the database refuses it."""
        payload = result.model_dump(mode="json")
        size = len(json.dumps(payload))
        if size > MOST_RESULT_BYTES:
            raise IntegrityError(f"the result has {size} bytes, {MOST_RESULT_BYTES} are allowed")
        try:
            return self._end(claim, payload=payload, seconds=seconds)
        except DatabaseIntegrityError as error:
            raise IntegrityError(f"the database refuses the result: {first_line(error.orig)}") from error

    def give_up(self, claim: Claim, error: str, *, final: bool) -> str:
        """End an attempt with an error: for good when ``final``, to be tried again otherwise."""
        return self._end(claim, error=error[:MOST_REASON], final=final)

    def refuse(self, claim: Claim, reason: str) -> None:
        """Hand a task back that this host cannot do, for good: it gives the worker no task of that job again."""
        self._patiently(_REFUSE, task=claim.task, attempt=claim.attempt, worker=self._worker, reason=reason)

    def _end(self, claim: Claim, **outcome: Any) -> str:
        defaults = {"payload": None, "seconds": None, "error": None, "final": False}
        parameters = {**defaults, **outcome, "task": claim.task, "attempt": claim.attempt, "worker": self._worker}
        return str(self._patiently(_APPEND, **parameters))

    def _execute(self, statement: Any, **parameters: Any) -> Any:
        with self._engine.begin() as connection:
            return connection.execute(statement, parameters).scalar()

    def _patiently(self, statement: Any, **parameters: Any) -> Any:
        """Execute, waiting for a database that is away; all of the functions are safe to repeat."""
        pause = 0.1
        while True:
            try:
                return self._execute(statement, **parameters)
            except (InterfaceError, OperationalError) as error:
                if self._stopping():
                    raise
                log.warning("database_away", reason=first_line(error.orig))
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
