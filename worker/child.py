"""Holds what lives in a worker's one child process: the only place where torch, CUDA and connections are opened."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import threading
import time
import uuid
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from typing import Any

import cv2
import structlog
from sqlalchemy.exc import InterfaceError, OperationalError

from common.errors import DeviceMemoryError, FlowcertError, HostError, first_line, named_line
from common.settings import Settings
from common.store.engine import open_worker_engine
from common.vocab import StopReason
from common.wire import PROTOCOL, Claim, WorkerInfo, protocol_problem
from worker.bench import Workbench
from worker.heart import Heart
from worker.models.lstm_kernel import compile_kernels
from worker.numerics import configure_numerics, numerics_report, require_full_float32
from worker.permission import refusal
from worker.store import WorkerStore
from worker.work import carry_out

log = structlog.get_logger()
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Parent:
    """What a child and its parent know of each other."""

    program: str  #: version of the program that the parent runs
    stopping: Event  #: set by the parent: append what is proved, and end
    outdated: Event  #: set by the child: the parent is to end with the status of one that refuses to start


class Child:
    """One worker process: claims tasks, beats, carries them out and appends what they found."""

    def __init__(self, settings: Settings, parent: Parent) -> None:
        if settings.database_url is None:
            raise ValueError("a worker needs a database URL")
        _die_with_parent()
        configure_numerics(settings.threads)
        compile_kernels()
        self._settings = settings
        self._stopping, self._outdated = parent.stopping, parent.outdated
        #: Held by the one task at work: a message and the heart may both bring one.
        self._busy = threading.Lock()
        self._refused = False
        self._pause_seconds = settings.beat_seconds
        self._bench = Workbench(settings)
        if os.environ.get("CUDA_VISIBLE_DEVICES") and self._bench.device.type == "cpu":
            log.warning("gpu_not_used", pinned=os.environ["CUDA_VISIBLE_DEVICES"], reason="torch finds no usable GPU")
        worker = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._info = WorkerInfo(
            host=socket.gethostname(), pid=os.getpid(), device=str(self._bench.device), versions=_versions()
        )
        engine = open_worker_engine(settings.database_url)
        self._store = WorkerStore(engine, worker, settings.lease_seconds, self._stopping.is_set)
        self._heart = Heart(
            self._store, lambda: self._info, outdated=self._give_notice, waiting=self._go_unasked,
            beat_seconds=settings.beat_seconds, lease_seconds=settings.lease_seconds,
        )  # fmt: skip
        structlog.contextvars.bind_contextvars(worker=worker)
        if self._info.program == parent.program:
            self._heart.start()
        else:
            # Forked later than its parent started, this process has read newer files than its parent did.
            self._give_notice("the program's files have changed since this worker was started; start it again")

    def receive(self, protocol: int, task: int) -> None:
        """Answer one message: claim its task, unless the message is stale or of another version, and do it."""
        if problem := protocol_problem(protocol):
            log.error("unknown_protocol", task=task, reason=problem)
            return
        with self._busy:
            if not self._do(task) and self._refused:
                # An idle worker would answer every message before those that could do the task.
                self._stopping.wait(self._pause_seconds)

    def finish(self) -> None:
        """Wait for a task that was taken unasked; the parent does not know of it, and ``stopping`` is set."""
        with self._busy:
            return

    def _go_unasked(self, task: int) -> None:
        """Do what is announced, with no message, beside the thread that hears none."""

        def run() -> None:
            if self._busy.acquire(blocking=False):
                try:
                    log.warning("messages_missing", task=task)
                    while self._do(task):
                        pass
                finally:
                    self._busy.release()

        threading.Thread(target=run, name="unasked", daemon=True).start()

    def _give_notice(self, reason: str = "the database is set up for another version of the program") -> None:
        """Have the parent end this worker, which is of another version than it must be."""
        if not self._outdated.is_set():
            log.error("refused_to_go_on", reason=reason)
            self._outdated.set()
            os.kill(os.getppid(), signal.SIGTERM)

    def _do(self, task: int) -> bool:
        """Claim a task, or one in exchange, and carry it out; whether there was one."""
        if self._stopping.is_set() or self._outdated.is_set():
            return False
        try:
            claim = self._store.claim(task)
            if claim is not None:
                self._carry_out(claim)
        except (InterfaceError, OperationalError) as error:
            # Told to stop while the database is away: the lease runs out, and another worker does it again.
            log.warning("database_away_at_the_end", reason=first_line(error.orig))
            return False
        except MemoryError:
            # Celery would end the whole worker; the lease runs out instead.
            log.exception("out_of_memory")
            self._bench.forget()
            return False
        return claim is not None

    def _carry_out(self, claim: Claim) -> None:
        with structlog.contextvars.bound_contextvars(task=claim.task, attempt=claim.attempt, kind=claim.kind.value):
            self._heart.take(claim)
            try:
                self._work(claim)
            finally:
                self._heart.take(None)

    def _work(self, claim: Claim) -> None:
        begun = time.monotonic()
        try:
            forbidden = refusal(claim.spec.model, claim.video, self._settings)
            if forbidden is not None:
                # Another worker may be allowed what this one is not.
                log.warning("task_forbidden", video=claim.video, reason=forbidden)
                self._store.give_up(claim, forbidden, final=False)
                return
            result = carry_out(self._bench, claim, lambda: self._heart.upper, self._interrupted)
            require_full_float32()
            seconds = time.monotonic() - begun
            outcome = self._store.append(claim, result, seconds)
            log.info("task_ended", video=claim.video, outcome=outcome, seconds=round(seconds, 3))
        except HostError as error:
            log.warning("job_refused", video=claim.video, reason=str(error))
            self._refused = True
            self._store.refuse(claim, str(error))
        except FlowcertError as error:
            log.warning("task_refused", video=claim.video, reason=str(error))
            # Another worker's device may have more memory.
            self._store.give_up(claim, str(error), final=not isinstance(error, DeviceMemoryError))
        except (InterfaceError, OperationalError):
            raise
        except MemoryError as error:
            log.exception("task_failed", video=claim.video)
            self._bench.forget()
            self._store.give_up(claim, f"the worker ran out of memory: {error}".rstrip(": "), final=False)
        except Exception as error:  # Whatever it was, another attempt or another worker may do better.
            log.exception("task_failed", video=claim.video)
            self._store.give_up(claim, named_line(error), final=False)

    def _interrupted(self) -> StopReason | None:
        if self._stopping.is_set():
            return StopReason.SHUTDOWN
        if not self._heart.wanted:
            return StopReason.CANCELLED
        return StopReason.RECALLED if self._heart.recalled else None


def _versions() -> dict[str, Any]:
    return {**numerics_report(), "opencv": cv2.__version__, "protocol": PROTOCOL}


def _die_with_parent() -> None:
    """Ask the kernel (Linux) to end this child with its parent, so that kill -9 leaves nothing computing."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, AttributeError):
        log.info("no_parent_death_signal")
