"""Decides how many points a task should have, from how fast a job's tasks have been going."""

from __future__ import annotations

from dataclasses import dataclass, field

from scheduler.levels import LEAST_TASK_POINTS

#: Weight of the past when a new task is observed; a half-life of about seven tasks.
_MEMORY = 0.9


@dataclass
class Pace:
    """Running average of explored points per second, per job; forgotten at a restart, learnt again in one task."""

    task_seconds: float
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
