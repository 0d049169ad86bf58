"""Moves a clip from pending to prepared, moves its bounds, and ends it with a verdict."""

from __future__ import annotations

import math
from decimal import Decimal

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from common.errors import IntegrityError
from common.game import ROOT, Point, PointCounter, cost_of_radius, distance, length, whole
from common.jobspec import JobSpec
from common.store.tables import Bound, Certificate, Job, RealWitnessRow, Task, Video, WitnessRow
from common.vocab import TaskKind, TaskState, Verdict, VideoStatus
from common.wire import MOST_REASON, Moves, Prepared, RealWitness, Witness
from scheduler.bounds import Bounds, refine
from scheduler.levels import counter_of, points_needed, require_radius

LIVE = (TaskState.READY, TaskState.LEASED, TaskState.RETURNED)


def spec_of(job: Job) -> JobSpec:
    """The job's validated specification."""
    return JobSpec.model_validate(job.spec)


def finish(session: Session, video: Video, status: VideoStatus, verdict: Verdict, reason: str | None = None) -> None:
    """End a clip and withdraw its tasks."""
    video.status, video.verdict, video.reason = status.value, verdict.value, reason
    video.finished_at = session.scalar(select(func.now()))
    session.flush()
    withdraw_tasks(session, video.id)


def withdraw_tasks(session: Session, video_id: int) -> None:
    """Cancel a clip's live tasks; a worker on one of them notices at its next beat."""
    session.execute(
        update(Task)
        .where(Task.video_id == video_id, Task.state.in_(LIVE), Task.finished_at.is_(None))
        .values(state=TaskState.CANCELLED.value, lease_until=None, finished_at=func.now())
    )


def fail(session: Session, video: Video, reason: str) -> None:
    """End a clip without a claim; of a reason that quotes a result, the beginning is kept."""
    finish(session, video, VideoStatus.FAILED, Verdict.FAILED, reason[:MOST_REASON])


def prepared(session: Session, video: Video, spec: JobSpec, result: Prepared) -> None:
    """Take in what prepare found: count the game, and either end the clip or send it to the attack."""
    check_regions(spec, result)
    video.clip_digest, video.predicted, video.margin = result.clip_digest, result.predicted, result.margin
    video.content_sha256 = result.video_sha256
    video.region_sizes = [[list(run) for run in flow] for flow in result.region_sizes]
    video.prepared_at = session.scalar(select(func.now()))
    if result.predicted != video.label:
        finish(session, video, VideoStatus.DONE, Verdict.MISCLASSIFIED)
        return
    video.radius_cost = cost_of_radius(spec.norm, spec.tau, spec.radius)
    counter = counter_of(video, spec)
    video.points_total = video.points_needed = Decimal(counter.upto(whole(counter.game), counter.limit))
    require_radius(counter.game, spec, counter.limit)
    video.status = VideoStatus.PREPARED.value
    video.lipschitz = None if spec.lipschitz in (None, "estimated") else float(spec.lipschitz)
    session.add(Bound(video_id=video.id, lower=0, lower_guarantee=spec.search_guarantee.value))
    session.add(Task(video_id=video.id, kind=TaskKind.ATTACK.value))


def check_regions(spec: JobSpec, result: Prepared) -> None:
    """Raise IntegrityError when a clip is said to have more flows or pixels than frames of the job's size have."""
    pixels = spec.sampling.height * spec.sampling.width
    most = max((sum(size * regions for size, regions in flow) for flow in result.region_sizes), default=0)
    if len(result.region_sizes) >= spec.sampling.frames or most > pixels:
        raise IntegrityError(
            f"a worker reports {len(result.region_sizes)} flows of up to {most} pixels; the job's"
            f" {spec.sampling.frames} frames have {pixels}"
        )


def add_witness(session: Session, video: Video, spec: JobSpec, task: Task, witness: Witness) -> None:
    """Store a witness; a replayed one lowers the upper bound. Its cost is recomputed, never believed."""
    counter = counter_of(video, spec)
    check_point(counter, task.id, witness.point)
    cost = counter.game.cost(witness.point)
    if cost != witness.cost:
        raise IntegrityError(f"task {task.id} reports a witness of cost {witness.cost}; its point costs {cost}")
    if witness.point == ROOT:
        raise IntegrityError(f"task {task.id} reports the unchanged clip as adversarial after prepare found it is not")
    session.add(
        WitnessRow(
            video_id=video.id, task_id=task.id, point=[list(move) for move in witness.point], cost=cost,
            replayed=witness.replayed, margin=witness.margin, predicted=witness.predicted, reason=_doubt(witness),
        )
    )  # fmt: skip
    if witness.replayed:
        hold_against(session, video, spec, distance(spec.norm, spec.tau, cost))
        move_bounds(session, video, Bounds(0, cost))
        video.points_needed = Decimal(points_needed(counter, bounds_of(session, video).upper))


def add_real_witness(
    session: Session, video: Video, spec: JobSpec, task: Task, witness: RealWitness, safe_point: Point | None
) -> None:
    """Store a real witness, which bounds MSR when it is replayed. Its distance is recomputed, never believed.

    ``safe_point`` is the grid point nearest to it, when that one is safe.
    """
    counter = counter_of(video, spec)
    sizes = counter.game.sizes
    coordinates = [coordinate for coordinate, _ in witness.moves]
    if coordinates != sorted(set(coordinates)) or not all(0 <= j < len(sizes) for j in coordinates):
        raise IntegrityError(f"task {task.id} reports a real witness of coordinates that its clip's game does not have")
    pixels = length(spec.norm, sizes, witness.moves)
    if pixels == 0 or not math.isclose(pixels, witness.distance, rel_tol=1e-9):
        raise IntegrityError(f"task {task.id} reports a real witness {witness.distance} px away; it is {pixels}")
    if safe_point is not None:
        _check_neighbour(spec, counter, task, witness.moves, safe_point)
    session.add(
        RealWitnessRow(
            video_id=video.id, task_id=task.id, moves=[list(move) for move in witness.moves], distance=pixels,
            safe_point=None if safe_point is None else [list(move) for move in safe_point],
            replayed=witness.replayed, margin=witness.margin, predicted=witness.predicted, reason=_doubt(witness),
        )
    )  # fmt: skip
    if witness.replayed:
        hold_against(session, video, spec, pixels)


def _check_neighbour(spec: JobSpec, counter: PointCounter, task: Task, moves: Moves, point: Point) -> None:
    """Raise IntegrityError unless a grid point that is said to be nearest to a real change is."""
    check_point(counter, task.id, point)
    held, tau = dict(point), float(spec.tau)
    moved = {**dict.fromkeys(held, 0.0), **dict(moves)}
    if any(abs(pixels - tau * held.get(j, 0)) > tau / 2 * (1 + 1e-9) for j, pixels in moved.items()):
        raise IntegrityError(f"task {task.id} reports a grid point that is not nearest to its real witness: {point}")


def hold_against(session: Session, video: Video, spec: JobSpec, pixels: float) -> None:
    """Hold an adversarial change so many pixels away against what excludes it; raises IntegrityError if it does.

    A constant that only MSR rests on is let go instead: the views say that it is refuted.
    """
    certified = session.scalar(select(func.max(Certificate.radius)).where(Certificate.video_id == video.id))
    if certified is not None and certified > pixels:
        raise IntegrityError(f"a witness {pixels:g} px away contradicts the certified radius of {certified:g} px")
    if spec.heuristic and video.lipschitz is not None and video.margin is not None:
        excluded = video.margin / video.lipschitz * (1 - 1e-9)
        if excluded > pixels:
            raise IntegrityError(
                f"the Lipschitz constant {video.lipschitz:g} is refuted: it excludes adversarial changes within"
                f" {excluded:g} px, and a witness is {pixels:g} px away"
            )


def _doubt(witness: Witness | RealWitness) -> str | None:
    """Why a witness counts for nothing; None when it counts."""
    return None if witness.replayed else f"its margin on replay, {witness.margin:g}, is not below zero beyond rounding"


def check_point(counter: PointCounter, task_id: int, point: Point) -> None:
    """Raise IntegrityError unless a point that a task reports is one of its clip's game, within the radius."""
    if not counter.game.holds(point) or counter.game.cost(point) > counter.limit:
        raise IntegrityError(f"task {task_id} reports a point that its clip's game does not have: {point}")


def bounds_of(session: Session, video: Video) -> Bounds:
    """The clip's bounds as they stand."""
    row = session.get_one(Bound, video.id)
    return Bounds(row.lower, row.upper)


def move_bounds(session: Session, video: Video, report: Bounds) -> None:
    """Fold a report into the clip's bounds; raises IntegrityError when they cross, for then one of them is wrong."""
    row = session.get_one(Bound, video.id)
    merged = refine(Bounds(row.lower, row.upper), report)
    if merged.crossed:
        raise IntegrityError(f"bounds crossed: lower cost {merged.lower} above upper cost {merged.upper}; quarantined")
    row.lower, row.upper = merged.lower, merged.upper
    session.flush()
