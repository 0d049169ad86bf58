"""Decides how many points a task should have, from how fast a job's tasks have been going."""

from __future__ import annotations

from dataclasses import dataclass, field

from scheduler.levels import LEAST_TASK_POINTS
from scheduler.shares import Shares

#: Weight of the past when a new task is observed; a half-life of about seven tasks.
_MEMORY = 0.9


@dataclass
class Pace:
    """What a leader has seen of its jobs' results: points explored per second, and worker time.

    The former is a running average per job. Both are forgotten at a restart, the former learnt again in one task.
    """

    task_seconds: float
    shares: Shares = field(default_factory=Shares)
    _totals: dict[int, tuple[float, float]] = field(default_factory=dict)

    def observe(self, job_id: int, points: int, seconds: float) -> None:
        """Take in one explore result."""
        past_points, past_seconds = self._totals.get(job_id, (0.0, 0.0))
        self._totals[job_id] = (past_points * _MEMORY + points, past_seconds * _MEMORY + seconds)

    def task_points(self, job_id: int) -> int:
        """Points that take a worker about half the task time limit, so that few tasks are cut short; few at first."""
        points, seconds = self._totals.get(job_id, (0.0, 0.0))
        if seconds <= 0:
            return LEAST_TASK_POINTS
        return max(1, round(points / seconds * self.task_seconds / 2))
