"""Decides which job is served next: of those of the highest priority, the one that has had the least worker time.

Start-time fair queueing (P. Goyal, H. Vin and H. Cheng, IEEE/ACM Trans. Networking 1997): a job's service is the worker
time of its results, and what its tasks under way will probably take. A job that is new begins with what the least
served job of its priority has had, and one that has nothing to do when its turn comes is not owed it later: each gets
an equal share while it can use it, neither arrears nor a penalty.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

#: Weight of the past when a new task is observed; a half-life of about seven tasks.
_MEMORY = 0.9
#: Seconds that a task is taken for as long as none is known.
_UNKNOWN_SECONDS = 1.0


class Shares:
    """Worker time that each running job has had, in seconds; forgotten at a restart, when all begin anew."""

    def __init__(self) -> None:
        self._priority: dict[int, int] = {}
        self._service: dict[int, float] = {}
        self._task_seconds: dict[int, float] = {}

    def charge(self, job_id: int, seconds: float) -> None:
        """Take in the worker time of one result."""
        if job_id in self._service:
            self._service[job_id] += seconds
        past = self._task_seconds.get(job_id, seconds)
        self._task_seconds[job_id] = past * _MEMORY + seconds * (1 - _MEMORY)

    def admit(self, running: Mapping[int, int]) -> None:
        """Take in which jobs are running, with their priorities; all others are forgotten."""
        staying = [job for job, priority in running.items() if self._priority.get(job) == priority]
        least: dict[int, float] = {}
        for job in staying:
            least[running[job]] = min(least.get(running[job], self._service[job]), self._service[job])
        self._service = {
            job: self._service[job] if self._priority.get(job) == priority else least.get(priority, 0.0)
            for job, priority in running.items()
        }
        self._priority = dict(running)
        self._task_seconds = {job: seconds for job, seconds in self._task_seconds.items() if job in running}

    def turns(self, outstanding: Mapping[int, int]) -> Turns:
        """Begin to deal tasks to these admitted jobs; ``outstanding`` is how many tasks each has under way."""
        known = list(self._task_seconds.values())
        usual = sum(known) / len(known) if known else _UNKNOWN_SECONDS
        queue = []
        for job, tasks in outstanding.items():
            seconds = max(self._task_seconds.get(job, usual), 1e-6)
            queue.append(_Turn(-self._priority[job], self._service[job] + tasks * seconds, job, seconds))
        return Turns(queue, self._service)


@dataclass(frozen=True, order=True)
class _Turn:
    rank: int
    due: float  #: worker seconds the job will have had when its tasks under way are done
    job: int
    task_seconds: float


class Turns:
    """Jobs in the order in which they are to be given tasks; each task given moves its job back."""

    def __init__(self, turns: list[_Turn], service: dict[int, float]) -> None:
        self._queue = turns
        self._service = service
        heapq.heapify(self._queue)

    def next(self) -> int | None:
        """Job whose turn it is; None when no job is left."""
        return self._queue[0].job if self._queue else None

    def give(self, tasks: int) -> None:
        """Count tasks that the job whose turn it is was given."""
        turn = self._queue[0]
        due = turn.due + tasks * turn.task_seconds
        heapq.heapreplace(self._queue, _Turn(turn.rank, due, turn.job, turn.task_seconds))

    def drop(self) -> None:
        """Leave out the job whose turn it is."""
        heapq.heappop(self._queue)

    def pass_on(self) -> None:
        """Leave out the job whose turn it is, since it has no task to be given: another of its rank is next."""
        turn = heapq.heappop(self._queue)
        if self._queue and self._queue[0].rank == turn.rank:
            self._service[turn.job] += self._queue[0].due - turn.due
