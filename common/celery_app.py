"""Decides how both sides use Celery: a lossy, duplicating doorbell, JSON only, with no result backend."""

from __future__ import annotations

from celery import Celery
from pydantic import SecretStr

from common.broker import checked_url
from common.doorbell import guard
from common.wire import QUEUE

# Before any connection of this process: kombu remembers which transport the first one had.
guard()


def make_app(broker_url: str | SecretStr, *, task_seconds: float) -> Celery:
    """Build the Celery application; ``task_seconds`` is the time an explore task may take before it hands back.

    Acknowledging late only shortens recovery after a clean stop: lost messages are re-sent from PostgreSQL. A task
    that raises or whose child dies is acknowledged all the same, for its row decides whether it is tried again.
    Raises InputError for a URL of another kind, or whose TLS would verify nothing.
    """
    app = Celery("flowcert", broker=checked_url(broker_url), set_as_current=False)
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        task_default_queue=QUEUE,
        task_acks_late=True,
        task_acks_on_failure_or_timeout=True,
        task_reject_on_worker_lost=False,
        worker_prefetch_multiplier=1,
        worker_pool="prefork",
        worker_concurrency=1,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_proc_alive_timeout=120.0,
        # Soft shutdown is not used: on SIGTERM a task returns what it proved within one batch.
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            # The database re-sends long before the broker would: this only has to exceed any task's length.
            "visibility_timeout": max(3600.0, 6 * task_seconds),
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "socket_keepalive": True,
            # A broker that hangs must not hang the scheduler; a worker's own reads end after a second anyway.
            "socket_connect_timeout": 5,
            "socket_timeout": 10,
            "health_check_interval": 25,
        },
    )
    return app
