"""Beats in a thread of its own: shows the worker alive, keeps its lease, and brings back what has changed meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError

from common.wire import Claim, WorkerInfo
from worker.store import WorkerStore

log = structlog.get_logger()


class Heart:
    """One worker's heartbeat.

    ``upper``, ``wanted`` and ``recalled`` describe the task in hand. A worker that has not reached the database for a
    whole lease must take its task for re-issued: ``wanted`` turns False and the work stops.
    """

    def __init__(
        self, store: WorkerStore, info: Callable[[], WorkerInfo], beat_seconds: float, lease_seconds: float
    ) -> None:
        self._store = store
        self._info = info
        self._beat_seconds = beat_seconds
        self._lease_seconds = lease_seconds
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
        self._claim = claim

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
        except (InterfaceError, OperationalError) as error:
            log.warning("beat_missed", reason=str(error.orig).strip().splitlines()[0])
            if time.monotonic() - self._last_beat > self._lease_seconds:
                self.wanted = False
            return
        self._last_beat = time.monotonic()
        if claim is self._claim:
            self.upper, self.wanted, self.recalled = reply.upper, reply.wanted, reply.recalled
