"""Lists the kinds of faults of a campaign and does them to a fleet; each is a function of the fleet and a dice."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from random import Random

from sqlalchemy.exc import DBAPIError

from benchmarks.chaos_fleet import Fleet, Member
from common.celery_app import make_app
from common.store.engine import open_worker_engine
from common.wire import PROTOCOL, QUEUE, TASK_NAME, Attacked, WorkerInfo
from worker.store import WorkerStore

#: A kind of fault, done to a fleet at once; the dice says to which part of it. Returns the child it killed, if any.
Fault = Callable[[Fleet, Random], int | None]


def kill_worker(fleet: Fleet, dice: Random) -> int | None:
    """Kill -9 a worker with its child."""
    member = dice.choice(fleet.of("worker"))
    child = _at_work(fleet, member)
    fleet.kill(member)
    return child


def kill_child(fleet: Fleet, dice: Random) -> int | None:
    """Kill -9 the child that computes, as the kernel does when memory runs out."""
    child = _at_work(fleet, dice.choice(fleet.of("worker")))
    if child is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    return child


def stop_worker(fleet: Fleet, dice: Random) -> int | None:
    """SIGTERM: the worker hands back what it proved."""
    dice.choice(fleet.of("worker")).process.terminate()


def hang_worker(fleet: Fleet, dice: Random) -> int | None:
    """Stop a child beyond its lease, and let it go on with a task that is no longer its own."""
    _pause_child(fleet, dice, float(str(fleet.settings["lease_seconds"])) * 1.5)


def pause_worker(fleet: Fleet, dice: Random) -> int | None:
    """Stop a child for less than its lease."""
    _pause_child(fleet, dice, float(str(fleet.settings["lease_seconds"])) / 4)


def kill_scheduler(fleet: Fleet, dice: Random) -> int | None:
    """Kill -9 a scheduler: the leader, or the one that stands by."""
    fleet.kill(dice.choice(fleet.of("scheduler")))


def pause_scheduler(fleet: Fleet, dice: Random) -> int | None:
    """Stop a scheduler for a second, wherever it is."""
    process = dice.choice(fleet.of("scheduler")).process
    process.send_signal(signal.SIGSTOP)
    time.sleep(1)
    process.send_signal(signal.SIGCONT)


def restart_broker(fleet: Fleet, dice: Random) -> int | None:
    """Kill -9 the broker, be without it for a while, and start it without its data."""
    _restart_broker(fleet, dice, keeping=False)


def restart_broker_with_data(fleet: Fleet, dice: Random) -> int | None:
    """Kill -9 the broker, be without it for a while, and start it with every message it had."""
    _restart_broker(fleet, dice, keeping=True)


def flush_broker(fleet: Fleet, _: Random) -> int | None:
    """Throw all messages away, and Celery's own keys with them."""
    with fleet.servers.broker() as client:
        client.flushall()


def double_messages(fleet: Fleet, dice: Random) -> int | None:
    """Send messages again, in another order, and some of tasks that never were or are long over."""
    ids = [row.id for row in fleet.rows("SELECT id FROM tasks ORDER BY id DESC LIMIT 12")] + [10**9]
    dice.shuffle(ids)
    app = make_app(fleet.servers.urls.broker_url, task_seconds=1.0)
    with app.producer_or_acquire() as producer:
        for task in ids[:6]:
            app.send_task(TASK_NAME, args=(PROTOCOL, task), queue=QUEUE, producer=producer, retry=False)
    app.close()


def restart_postgres(fleet: Fleet, dice: Random) -> int | None:
    """Stop PostgreSQL in order and start it again."""
    _restart_postgres(fleet, dice, signal.SIGINT)


def kill_postgres(fleet: Fleet, dice: Random) -> int | None:
    """Kill -9 PostgreSQL's postmaster, and start it again: it recovers from its log."""
    _restart_postgres(fleet, dice, signal.SIGKILL)


def cut_schedulers(fleet: Fleet, _: Random) -> int | None:
    """End every connection of the schedulers, whatever they are in the middle of."""
    _cut(fleet, "flowcert")


def cut_workers(fleet: Fleet, _: Random) -> int | None:
    """End every connection of the workers."""
    _cut(fleet, "flowcert-worker")


def abandon_task(fleet: Fleet, dice: Random) -> int | None:
    """Claim a task and never be heard of again."""
    ghost = _ghost(fleet, "ghost")
    for row in fleet.rows("SELECT id FROM tasks WHERE state = 'ready' ORDER BY id LIMIT 3")[: dice.randint(1, 3)]:
        ghost.claim(row.id)


def append_foreign(fleet: Fleet, dice: Random) -> int | None:
    """Append results for tasks that this worker never claimed; raises RuntimeError when one is taken."""
    stranger = _ghost(fleet, "stranger")
    live = fleet.rows("SELECT id, attempt FROM tasks WHERE state IN ('ready', 'leased') ORDER BY id LIMIT 3")
    for row in live[: dice.randint(1, 3)]:
        with contextlib.suppress(DBAPIError), stranger.engine.begin() as connection:
            forged = Attacked(witness=None, evaluations=0, gradients=0).model_dump_json()
            connection.exec_driver_sql(
                "SELECT worker_append(%s, %s, %s, %s, 1.0, NULL, false)", (row.id, row.attempt, stranger.name, forged)
            )
            raise RuntimeError(f"a foreign result for task {row.id} was taken")


def append_again(fleet: Fleet, _: Random) -> int | None:
    """Append results that are there already once more; raises RuntimeError when one is taken."""
    query = (
        "SELECT worker_append(task_id, attempt, worker_id, payload, seconds, NULL, false) AS said"
        " FROM (SELECT * FROM results ORDER BY task_id DESC LIMIT 5) AS newest"
    )
    if any(row.said != "late" for row in fleet.rows(query)):
        raise RuntimeError("a result was taken twice")


def spoil_cache(fleet: Fleet, dice: Random) -> int | None:
    """Lose the clip cache, or cut its files short."""
    cache = fleet.folder / "data" / "clips"
    if dice.random() < 0.5:
        shutil.rmtree(cache, ignore_errors=True)
        return
    for entry in cache.glob("*.clip"):
        with contextlib.suppress(OSError):
            os.truncate(entry, entry.stat().st_size // 2)


#: Every kind with how often it is drawn: those that make processes start again cost most of a campaign's time.
KINDS: dict[Fault, int] = {
    kill_worker: 3, kill_child: 3, stop_worker: 2, hang_worker: 2, pause_worker: 4, kill_scheduler: 4,
    pause_scheduler: 4, restart_broker: 3, restart_broker_with_data: 3, flush_broker: 6, double_messages: 6,
    restart_postgres: 2, kill_postgres: 2, cut_schedulers: 6, cut_workers: 6, abandon_task: 6, append_foreign: 6,
    append_again: 6, spoil_cache: 4,
}  # fmt: skip


class _Ghost(WorkerStore):
    """A worker without a process, whose leases are over as soon as they are given."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        self.engine, self.name = open_worker_engine(fleet.servers.urls.database_url), name
        super().__init__(self.engine, name, 0.0)


def _ghost(fleet: Fleet, name: str) -> _Ghost:
    ghost = _Ghost(fleet, name)
    ghost.beat(WorkerInfo(host="nowhere", pid=1, device="cpu", versions={}), None, None)
    return ghost


def _at_work(fleet: Fleet, member: Member) -> int | None:
    """The child of a worker, as soon as it has a task; whatever it does when it gets none for a while."""
    leased = (
        "SELECT FROM tasks t JOIN workers w ON w.id = t.worker_id"
        " WHERE t.state = 'leased' AND (w.info ->> 'pid')::int = :pid"
    )
    limit = time.monotonic() + 3
    while True:
        child = fleet.child(member)
        if time.monotonic() > limit or (child is not None and fleet.rows(leased, pid=child)):
            return child
        time.sleep(0.02)


def _pause_child(fleet: Fleet, dice: Random, seconds: float) -> None:
    child = _at_work(fleet, dice.choice(fleet.of("worker")))
    if child is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(child, signal.SIGCONT)


def _restart_broker(fleet: Fleet, dice: Random, *, keeping: bool) -> None:
    fleet.servers.stop_broker(signal.SIGKILL)
    time.sleep(dice.uniform(0, 1))
    if not keeping:
        shutil.rmtree(fleet.folder / "servers" / "servers" / "valkey", ignore_errors=True)
    fleet.servers.start_broker()


def _restart_postgres(fleet: Fleet, dice: Random, how: signal.Signals) -> None:
    fleet.servers.stop_postgres(how)
    time.sleep(dice.uniform(0, 1))
    fleet.servers.start_postgres()


def _cut(fleet: Fleet, application: str) -> None:
    fleet.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = :application AND pid <> pg_backend_pid()",
        application=application,
    )
