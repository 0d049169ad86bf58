"""Makes jobs and tasks without videos or models: what the scheduler sees of a clip is counts, costs and points."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import PurePath
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from common.game import Game, Point, length
from common.jobspec import FarnebackSpec, JobSpec, ModelSpec, SamplingSpec
from common.settings import Settings
from common.store.engine import open_worker_engine
from common.store.tables import Bound, Task, Video
from common.vocab import StopReason, TaskState
from common.wire import (
    Attacked,
    Bounded,
    Claim,
    Estimated,
    Explored,
    Outcome,
    Prepared,
    RealWitness,
    Witness,
    WorkerInfo,
)
from scheduler.intake.dataset import FoundClip
from scheduler.intake.submit import submit
from scheduler.loop import tick
from tests.enumeration import points
from tests.harness import DrawnPace
from worker.store import WorkerStore

#: Two flows of one region each, of two and three pixels: coordinates of sizes 2, 2, 3, 3.
REGION_SIZES = [[(2, 1)], [(3, 1)]]
SIZES = (2, 2, 3, 3)


def make_spec(**changes: Any) -> JobSpec:
    """A valid specification; its files do not exist."""
    model = ModelSpec(name="cnn_lstm", weights="/none.pt", classes=("walk", "run"), sha256="0" * 64)
    fields = {
        "dataset": "/videos", "model": model, "sampling": SamplingSpec(frames=3, height=8, width=8),
        "flow": FarnebackSpec(), "features": "global", "norm": "L1", "tau": "1", "radius": "8",
    }  # fmt: skip
    return JobSpec.model_validate({**fields, **changes})


class Desk:
    """A scheduler that runs a round when told to, and two workers whose results the test writes."""

    def __init__(self, engine: sa.Engine, database_url: str, app: Any, task_points: int = 1_000_000) -> None:
        self.engine, self.app = engine, app
        self.settings = Settings(window=100)
        self.pace = DrawnPace(self.settings.task_seconds)
        self.task_points = task_points
        worker_engine = open_worker_engine(database_url)
        self.ann, self.bob = (WorkerStore(worker_engine, name, 600.0) for name in ("ann", "bob"))
        #: Ann again, with leases that are over as soon as they are given.
        self.doomed = WorkerStore(worker_engine, "ann", 0.0)
        for store in (self.ann, self.bob):
            store.beat(WorkerInfo(host="test", pid=1, device="cpu", versions={}), None, None)

    def submit(self, *paths: str, **changes: Any) -> int:
        """Submit a job of these clips; returns its id."""
        clips = [FoundClip("walk", path) for path in paths or ("/videos/a.avi",)]
        job = submit(self.engine, make_spec(**changes), clips, 1_000_000).job_id
        self.pace.sizes[job] = self.task_points
        return job

    def round(self) -> None:
        """Run one round of the scheduler."""
        tick(self.engine, self.app, self.settings, self.pace)

    def ready(self) -> list[int]:
        """Tasks that can be claimed, oldest first."""
        with Session(self.engine) as session:
            return list(session.scalars(sa.select(Task.id).where(Task.state == TaskState.READY).order_by(Task.id)))

    def claim(self, task: int | None = None, store: WorkerStore | None = None) -> Claim:
        """Claim a task, the oldest by default."""
        claim = (store or self.ann).claim(self.ready()[0] if task is None else task)
        assert claim is not None
        return claim

    def to_explore(self, witness: Witness | None = None, real: RealWitness | None = None) -> None:
        """Bring every clip to its first explore tasks."""
        for kind in ("prepare", "attack"):
            self.round()
            for task in self.ready():
                claim = self.claim(task)
                assert claim.kind == kind
                self.ann.append(claim, prepared() if kind == "prepare" else attacked(witness, real), 0.5)
        self.round()

    def answer(self, *results: Outcome) -> None:
        """Answer the one task that is ready, round after round, with these results."""
        for result in results:
            self.round()
            (task,) = self.ready()
            self.ann.append(self.claim(task), result, 0.5)
        self.round()

    def work_off(self, adversarial: Callable[[Point], bool] = lambda _: False) -> None:
        """Explore honestly until nothing is left to do."""
        while self.ready():
            for task in self.ready():
                claim = self.claim(task)
                self.ann.append(claim, honest(claim, adversarial), 0.5)
            self.round()

    def serve(self, **by_clip: dict[str, Outcome]) -> None:
        """Carry out every task; clips, by their files' names, may have results of their own for kinds of task.

        Otherwise nothing is found and nothing certified, and what is explored is adversarial nowhere.
        """
        self.round()
        while self.ready():
            for task in self.ready():
                claim = self.claim(task)
                own = by_clip.get(PurePath(claim.video).stem, {})
                usual = {"prepare": prepared, "attack": attacked, "bound": lambda: bounded(0.0)}
                result = own[claim.kind] if claim.kind in own else usual.get(claim.kind, partial(honest, claim))()
                self.ann.append(claim, result, 0.5)
            self.round()

    def video(self, path: str = "/videos/a.avi") -> Video:
        """The clip as it stands."""
        with Session(self.engine, expire_on_commit=False) as session:
            return session.scalars(sa.select(Video).where(Video.path == path).order_by(Video.id.desc())).first()

    def bounds(self, path: str = "/videos/a.avi") -> tuple[int, int | None]:
        """The clip's bounds as they stand."""
        with Session(self.engine) as session:
            row = session.get_one(Bound, self.video(path).id)
            return row.lower, row.upper

    def rows(self, query: str) -> list[tuple]:
        """Rows of a query, as tuples."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]


def prepared(**changes: Any) -> Prepared:
    """What a worker makes of the clip of REGION_SIZES, predicted rightly."""
    fields = {"clip_digest": "a" * 64, "region_sizes": REGION_SIZES, "predicted": "walk", "margin": 1.0}
    return Prepared(**{**fields, **changes})


def attacked(
    witness: Witness | None = None, real: RealWitness | None = None, safe_point: Point | None = None
) -> Attacked:
    """What an attack found."""
    return Attacked(witness=witness, real=real, safe_point=safe_point, evaluations=1, gradients=1)


def estimated(constant: float) -> Estimated:
    """A Lipschitz constant, as an estimate task gives it."""
    return Estimated(
        constant=constant, location=constant, greatest=constant, confidence=0.95, fit=0.5, samples=16, seed=7
    )  # fmt: skip


def bounded(radius: float, **changes: Any) -> Bounded:
    """A certified radius, or none with the reason."""
    found = {"margin_bound": 0.1, "reason": None} if radius else {"margin_bound": None, "reason": "too steep"}
    return Bounded(**{"radius": radius, "checks": 3, "stop": StopReason.EXHAUSTED, **found, **changes})


def real_witness(*moves: tuple[int, float], norm: str = "L1", replayed: bool = True, **changes: Any) -> RealWitness:
    """A real witness of these moves, with its true distance."""
    distance = length(spec_norm(norm), SIZES, moves)
    fields = {"distance": distance, "margin": -1.0 if replayed else 0.25, "predicted": "run", "replayed": replayed}
    return RealWitness(moves=moves, **{**fields, **changes})


def witness_at(point: Point, *, norm: str = "L1", replayed: bool = True) -> Witness:
    """A witness at a point, with its true cost."""
    cost = Game(SIZES, spec_norm(norm)).cost(point)
    return Witness(point=point, cost=cost, replayed=replayed, margin=-1.0 if replayed else 0.0, predicted="run")


def spec_norm(norm: str) -> Any:
    """The norm's word."""
    return make_spec(norm=norm).norm


def honest(claim: Claim, adversarial: Callable[[Point], bool] = lambda _: False) -> Explored:
    """Explore a claim's subtree without a model: every point up to the cheapest adversarial one."""
    game = Game(SIZES, claim.spec.norm, claim.spec.cap)
    reached, found, explored = claim.threshold, None, 0
    if claim.upper is not None:
        reached = min(reached, max(claim.upper, claim.floor))
    for point, cost in points(game, claim.subtree(), claim.floor, lambda: reached):  # noqa: B023 - it is meant to fall.
        explored += 1
        if adversarial(point):
            reached, found = cost, point
    return Explored(
        stop=StopReason.EXHAUSTED, position=None, explored=explored, reached=reached, undecided=None,
        witness=None if found is None else witness_at(found),
    )  # fmt: skip
