"""Runs the whole service in one process: the scheduler's own rounds, and workers that die, dawdle and repeat.

Nothing of the code under test is replaced. Tasks are carried out in random order by several workers with small
batches; a share of them is cut short, abandoned until the lease is over, appended late, or appended twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import sqlalchemy as sa
from sqlalchemy.orm import Session

from common.celery_app import make_app
from common.jobspec import JobSpec
from common.settings import Settings
from common.store.engine import open_worker_engine
from common.store.tables import Bound, Job, Task, Video, WitnessRow
from common.vocab import JobStatus, StopReason, TaskState, Verdict
from common.wire import Claim, WorkerInfo
from scheduler.intake.dataset import FoundClip
from scheduler.intake.submit import submit
from scheduler.loop import tick
from scheduler.pace import Pace
from tests.oracle import Truth
from worker.bench import Workbench
from worker.store import WorkerStore
from worker.work import carry_out

INFO = WorkerInfo(host="test", pid=1, device="cpu", versions={})
#: Points a clip may cost: more than any tiny game has.
BUDGET = 10_000_000
#: Rounds after which a service that has not finished its jobs never will.
MOST_ROUNDS = 5_000


@dataclass
class DrawnPace(Pace):
    """Task sizes as the test wants them, instead of learnt ones."""

    sizes: dict[int, int] = field(default_factory=dict)

    def task_points(self, job_id: int) -> int:
        """The size drawn for the job."""
        return self.sizes[job_id]


class LocalWorker:
    """A worker without a process; ``doomed`` leases are over as soon as they are given."""

    def __init__(self, database_url: str, name: str, settings: Settings) -> None:
        engine = open_worker_engine(database_url)
        self.store = WorkerStore(engine, name, settings.lease_seconds)
        self.doomed = WorkerStore(engine, name, 0.0)
        self.bench = Workbench(settings)
        self.store.beat(INFO, None, None)

    def work(self, claim: Claim, batches: int | None) -> str:
        """Carry out a claim, cut short after ``batches`` batches if given, and append what was found."""
        left = batches

        def interrupted() -> StopReason | None:
            nonlocal left
            if left is None:
                return None
            left -= 1
            return StopReason.TIME if left <= 0 else None

        result = carry_out(self.bench, claim, lambda: claim.upper, interrupted)
        self.last = result
        return self.store.append(claim, result, 0.01)


@dataclass(frozen=True)
class Finished:
    """One clip as the service left it."""

    video: Video
    bound: Bound | None
    witnesses: list[WitnessRow]


class Service:
    """Scheduler rounds and three local workers on one database."""

    def __init__(self, engine: sa.Engine, database_url: str, broker_url: str, data: Path, rng: Random) -> None:
        self.engine, self.rng = engine, rng
        self.settings = Settings(data_dir=data, window=20, lease_seconds=600.0, max_attempts=1_000)
        self.pace = DrawnPace(self.settings.task_seconds)
        self.app = make_app(broker_url, task_seconds=self.settings.task_seconds)
        self.workers = [
            LocalWorker(database_url, f"worker{batch}", self.settings.model_copy(update={"batch_points": batch}))
            for batch in (2, 5, 7)
        ]
        self.abandoned: list[tuple[LocalWorker, Claim]] = []
        self.outcomes: list[str] = []

    def submit(self, spec: JobSpec, video: Path, label: str, task_points: int) -> int:
        """Submit a job of one clip; returns the job's id."""
        job = submit(self.engine, spec, [FoundClip(label, str(video))], BUDGET).job_id
        self.pace.sizes[job] = task_points
        return job

    def run(self) -> None:
        """Run rounds until every job is finished; what was abandoned may come back at any time, and at the end."""
        for _ in range(MOST_ROUNDS):
            tick(self.engine, self.app, self.settings, self.pace)
            with Session(self.engine) as session:
                ready = list(session.scalars(sa.select(Task.id).where(Task.state == TaskState.READY).order_by(Task.id)))
                running = session.scalar(sa.select(sa.func.count()).where(Job.status == JobStatus.RUNNING))
            if not running:
                break
            self.rng.shuffle(ready)
            for task in ready[: self.rng.randint(1, max(1, len(ready)))]:
                self._step(task)
            if self.abandoned and self.rng.random() < 0.5:
                self._wake()
        else:
            raise AssertionError(f"jobs still running after {MOST_ROUNDS} rounds")
        while self.abandoned:
            self._wake()
        tick(self.engine, self.app, self.settings, self.pace)

    def _step(self, task: int) -> None:
        worker = self.rng.choice(self.workers)
        if self.rng.random() < 0.1:
            claim = worker.doomed.claim(task)
            if claim is not None:
                self.abandoned.append((worker, claim))
            return
        claim = worker.store.claim(task)
        if claim is None:
            return
        self.outcomes.append(worker.work(claim, self._patience()))
        if self.rng.random() < 0.05:
            self.outcomes.append(worker.store.append(claim, worker.last, 0.01))

    def _wake(self) -> None:
        """Let a worker that was given up on finish after all."""
        worker, claim = self.abandoned.pop(self.rng.randrange(len(self.abandoned)))
        self.outcomes.append(worker.work(claim, self._patience()))

    def _patience(self) -> int | None:
        return self.rng.randint(1, 4) if self.rng.random() < 0.3 else None


def finished_clip(engine: sa.Engine, job: int) -> Finished:
    """The one clip of a job."""
    with Session(engine, expire_on_commit=False) as session:
        video = session.scalars(sa.select(Video).where(Video.job_id == job)).one()
        witnesses = session.scalars(sa.select(WitnessRow).where(WitnessRow.video_id == video.id)).all()
        return Finished(video, session.get(Bound, video.id), list(witnesses))


def check_clip(engine: sa.Engine, job: int, truth: Truth) -> None:
    """Compare a job's one finished clip with the truth about it."""
    end = finished_clip(engine, job)
    video, bound = end.video, end.bound
    assert bound is not None, video.reason
    assert video.points_total == truth.points
    assert video.points_needed == truth.below
    assert all(row.replayed and row.margin < 0 for row in end.witnesses)
    if truth.fmsr is None:
        assert (video.verdict, bound.upper) == (Verdict.ROBUST, None), video.reason
        assert video.points_explored == truth.points
        assert not end.witnesses
    else:
        assert (video.verdict, bound.lower, bound.upper) == (Verdict.SOLVED, truth.fmsr, truth.fmsr), video.reason
        assert truth.below <= video.points_explored <= truth.points
        assert min(row.cost for row in end.witnesses) == truth.fmsr
