"""Starts one worker on the servers named in the environment: ``python -m worker``.

The parent is a Celery process that imports no torch and holds no connection; its one child (``worker.child``) does
the work, since CUDA cannot be used on both sides of a fork. On SIGTERM the parent sets a flag that the child checks
between batches: the child appends what it proved, and both end.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import Any

from celery import signals
from pydantic import SecretStr

from common.celery_app import make_app
from common.program import program_digest
from common.settings import Settings
from common.start import start
from common.store.engine import open_worker_engine
from common.wire import TASK_NAME
from migrations.schema import require_program


def main() -> int:
    """Run until SIGTERM or SIGINT; exit 2 with one line when environment, schema, version or broker are wrong."""
    started = start("worker", _check_database)
    return 2 if started is None else _serve(started.settings, started.broker_url)


def _check_database(url: SecretStr) -> None:
    engine = open_worker_engine(url)
    require_program(engine)
    # No connection may be open when the child is forked.
    engine.dispose()


def _serve(settings: Settings, broker_url: SecretStr) -> int:
    """Work until told to stop; returns 0, or 2 when another version of the program took over meanwhile."""
    app = make_app(broker_url, task_seconds=settings.task_seconds)
    program = program_digest()
    stopping, outdated = (multiprocessing.get_context("fork").Event() for _ in range(2))
    child: list[Any] = []

    @signals.worker_process_init.connect(weak=False)
    def begin(**_: object) -> None:
        from worker.child import Child, Parent

        child.append(Child(settings, Parent(program, stopping, outdated)))

    @signals.worker_process_shutdown.connect(weak=False)
    def finish(**_: object) -> None:
        for one in child:
            one.finish()

    @signals.worker_shutting_down.connect(weak=False)
    def stop(**_: object) -> None:
        stopping.set()

    @app.task(name=TASK_NAME)
    def work(protocol: int, task: int) -> None:
        child[0].receive(protocol, task)

    if "torch" in sys.modules:
        raise RuntimeError("the parent of a worker must not import torch: CUDA does not survive a fork")
    app.Worker(
        hostname=f"worker-{os.getpid()}@%h", loglevel=settings.log_level, optimization="fair",
        without_gossip=True, without_mingle=True, without_heartbeat=True, quiet=True,
    ).start()  # fmt: skip
    return 2 if outdated.is_set() else 0


if __name__ == "__main__":
    sys.exit(main())
