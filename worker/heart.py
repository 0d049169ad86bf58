"""Beats in a thread of its own: shows the worker alive, keeps its lease, and brings back what has changed meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from common.errors import first_line
from common.wire import BeatReply, Claim, WorkerInfo
from worker.store import WorkerStore

log = structlog.get_logger()


class Heart:
    """One worker's heartbeat.

    ``upper``, ``wanted`` and ``recalled`` describe the task in hand. A worker that has not reached the database for a
    whole lease must take its task for re-issued: ``wanted`` turns False and the work stops.

    Parameters
    ----------
    store : the database as this worker sees it.
    info : gives what the worker says of itself.
    outdated : called when the database is set up for another version of the program.
    waiting : called with a task that was announced in vain while this worker was idle for two beats.
    beat_seconds, lease_seconds : pause between two beats, and after how long without one a task is re-issued.

    """

    def __init__(
        self,
        store: WorkerStore,
        info: Callable[[], WorkerInfo],
        *,
        outdated: Callable[[], None],
        waiting: Callable[[int], None],
        beat_seconds: float,
        lease_seconds: float,
    ) -> None:
        self._store = store
        self._info = info
        self._tell_outdated = outdated
        self._tell_waiting = waiting
        self._beat_seconds = beat_seconds
        self._lease_seconds = lease_seconds
        self._idle_beats = 0
        self._claim: Claim | None = None
        self._last_beat = time.monotonic()
        self.upper: int | None = None
        self.wanted = True
        self.recalled = False

    def start(self) -> None:
        """Beat once, so that the worker is known before it claims anything, and go on beating in a daemon thread."""
        self._beat()
        threading.Thread(target=self._run, name="heart", daemon=True).start()

    def take(self, claim: Claim | None) -> None:
        """Beat for this task from now on (None: for none)."""
        self.upper, self.wanted, self.recalled = (None if claim is None else claim.upper), True, False
        self._claim, self._idle_beats = claim, 0

    def _run(self) -> None:
        while True:
            time.sleep(self._beat_seconds)
            self._beat()

    def _beat(self) -> None:
        claim = self._claim
        try:
            reply = self._store.beat(
                self._info(), None if claim is None else claim.task, None if claim is None else claim.attempt
            )
        except DBAPIError as error:
            log.warning("beat_missed", reason=first_line(error.orig))
            if time.monotonic() - self._last_beat > self._lease_seconds:
                self.wanted = False
            return
        except ValidationError:  # The functions that answer are those of another version.
            self._tell_outdated()
            return
        self._last_beat = time.monotonic()
        if not reply.current:
            self._tell_outdated()
        if claim is self._claim:
            self.upper, self.wanted, self.recalled = reply.upper, reply.wanted, reply.recalled
            self._mind_waiting(claim, reply)

    def _mind_waiting(self, claim: Claim | None, reply: BeatReply) -> None:
        if claim is not None or reply.waiting is None:
            self._idle_beats = 0
            return
        self._idle_beats += 1
        if self._idle_beats > 1:
            self._idle_beats = 0
            self._tell_waiting(reply.waiting)
