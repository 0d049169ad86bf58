"""Holds what lives in a worker's one child process: the only place where torch, CUDA and connections are opened."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import time
import uuid
from multiprocessing.synchronize import Event
from typing import Any

import cv2
import structlog
from sqlalchemy.exc import InterfaceError, OperationalError

from common.errors import DeviceMemoryError, FlowcertError
from common.settings import Settings
from common.store.engine import open_worker_engine
from common.vocab import StopReason
from common.wire import PROTOCOL, Claim, WorkerInfo
from worker.bench import Workbench
from worker.heart import Heart
from worker.models.lstm_kernel import compile_kernels
from worker.numerics import configure_numerics, numerics_report, require_full_float32
from worker.permission import refusal
from worker.store import WorkerStore
from worker.work import carry_out

log = structlog.get_logger()
_PR_SET_PDEATHSIG = 1


class Child:
    """One worker process: claims tasks, beats, carries them out and appends what they found."""

    def __init__(self, settings: Settings, stopping: Event) -> None:
        if settings.database_url is None:
            raise ValueError("a worker needs a database URL")
        _die_with_parent()
        configure_numerics(settings.threads)
        compile_kernels()
        self._settings = settings
        self._stopping = stopping
        self._bench = Workbench(settings)
        if os.environ.get("CUDA_VISIBLE_DEVICES") and self._bench.device.type == "cpu":
            log.warning("gpu_not_used", pinned=os.environ["CUDA_VISIBLE_DEVICES"], reason="torch finds no usable GPU")
        worker = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._info = WorkerInfo(
            host=socket.gethostname(), pid=os.getpid(), device=str(self._bench.device), versions=_versions()
        )
        self._store = WorkerStore(open_worker_engine(settings.database_url), worker, settings.lease_seconds)
        self._heart = Heart(self._store, lambda: self._info, settings.beat_seconds, settings.lease_seconds)
        structlog.contextvars.bind_contextvars(worker=worker)
        self._heart.start()

    def receive(self, protocol: int, task: int) -> None:
        """Answer one message: claim its task, unless the message is stale or of another version, and do it."""
        if protocol != PROTOCOL:
            log.error("unknown_protocol", protocol=protocol, known=PROTOCOL, task=task)
            return
        if self._stopping.is_set():
            return
        claim = self._store.claim(task)
        if claim is None:
            return
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
        except FlowcertError as error:
            log.warning("task_refused", video=claim.video, reason=str(error))
            # Another worker's device may have more memory.
            self._store.give_up(claim, str(error), final=not isinstance(error, DeviceMemoryError))
        except (InterfaceError, OperationalError):
            raise
        except Exception as error:  # Whatever it was, another attempt or another worker may do better.
            log.exception("task_failed", video=claim.video)
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            self._store.give_up(claim, reason, final=False)

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
