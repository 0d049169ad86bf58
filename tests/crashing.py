"""Runs the scheduler or a worker with a wound: it kills itself (SIGKILL) at a named point, once.

``python -m tests.crashing PROGRAM MARKER POINT...``: each point is met once in the lifetime of the folder MARKER, by
whichever process is there first. The points are set by wrapping functions, so that the product has no hook for them.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from common.store.tables import Task
from common.vocab import TaskState
from scheduler import loop, merge
from worker.store import WorkerStore

SCHEDULER_POINTS = [
    "leading",
    "reap, before commit", "reap, after commit",
    "merge, halfway", "merge, many written", "merge, before commit", "merge, after commit",
    "plan, before commit", "plan, after commit",
    "announce, before commit", "announce, after commit", "send, halfway", "send, at the end",
    "finish, before commit",
]  # fmt: skip
WORKER_POINTS = ["claim, after commit", "append, before", "append, after commit"]


def die(point: str) -> None:
    """Kill this process, unless it or another has died here before."""
    marker = Path(sys.argv[2])
    try:
        (marker / point).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def wrap(owner: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Replace a function by one that is given the old one first."""
    old = getattr(owner, name)
    setattr(owner, name, lambda *args, **kwargs: wrapper(old, *args, **kwargs))


def at_commit(session: Session, step: str, points: set[str]) -> None:
    """Die when the session commits, just before or just after it."""
    for when, words in (("before_commit", "before commit"), ("after_commit", "after commit")):
        if f"{step}, {words}" in points:
            sa.event.listen(session, when, lambda _, words=words: die(f"{step}, {words}"))


def wound_scheduler(points: set[str]) -> None:
    """Set the points of a scheduler; a step counts only when it has something to do."""

    def rounds(old: Any, *args: Any) -> None:
        if "leading" in points:
            die("leading")
        old(*args)

    def reap(old: Any, session: Session, *args: Any) -> None:
        expired = sa.select(sa.exists().where(Task.state == TaskState.LEASED, Task.lease_until < sa.func.now()))
        some = session.scalar(expired)
        old(session, *args)
        if some:
            at_commit(session, "reap", points)

    def merge_one(old: Any, *args: Any) -> None:
        old(*args)
        if "merge, halfway" in points:
            die("merge, halfway")

    def write(old: Any, results: Any) -> None:
        some = bool(results._merged)
        old(results)
        if some and "merge, many written" in points:
            die("merge, many written")

    def merge_returned(old: Any, session: Session, *args: Any) -> tuple[int, bool]:
        merged, more = old(session, *args)
        if merged:
            at_commit(session, "merge", points)
        return merged, more

    def plan_all(old: Any, session: Session, *args: Any) -> None:
        tasks = sa.select(sa.func.count(Task.id))
        before = session.scalar(tasks)
        old(session, *args)
        session.flush()
        if session.scalar(tasks) != before:
            at_commit(session, "plan", points)

    def finish_jobs(old: Any, session: Session) -> None:
        running = sa.text("SELECT count(*) FROM jobs WHERE status = 'running'")
        before = session.scalar(running)
        old(session)
        if session.scalar(running) != before:
            at_commit(session, "finish", points)

    def choose(old: Any, session: Session, *args: Any) -> list[int]:
        ids = old(session, *args)
        if ids:
            at_commit(session, "announce", points)
        return ids

    def send(old: Any, app: Any, ids: list[int]) -> None:
        if "send, halfway" in points and len(ids) > 1:
            old(app, ids[: len(ids) // 2])
            die("send, halfway")
        old(app, ids)
        if "send, at the end" in points:
            die("send, at the end")

    wrap(merge, "_merge_one", merge_one)
    wrap(merge.PlainResults, "write", write)
    steps = {
        "_rounds": rounds, "reap": reap, "merge_returned": merge_returned, "plan_all": plan_all,
        "_finish_jobs": finish_jobs, "choose": choose, "send": send,
    }  # fmt: skip
    for name, wrapper in steps.items():
        wrap(loop, name, wrapper)


def wound_worker(points: set[str]) -> None:
    """Set the points of a worker's child."""

    def claim(old: Any, *args: Any) -> Any:
        claimed = old(*args)
        if claimed is not None and "claim, after commit" in points:
            die("claim, after commit")
        return claimed

    def append(old: Any, *args: Any) -> Any:
        if "append, before" in points:
            die("append, before")
        said = old(*args)
        if "append, after commit" in points:
            die("append, after commit")
        return said

    # Set before the parent forks: its child has them too.
    wrap(WorkerStore, "claim", claim)
    wrap(WorkerStore, "append", append)


if __name__ == "__main__":
    program = sys.argv[1]
    (wound_scheduler if program == "scheduler" else wound_worker)(set(sys.argv[3:]))
    sys.exit(importlib.import_module(f"{program}.__main__").main())
