"""Decides which tasks a prepared clip goes through before exploration, and takes in what they say of MSR.

The attack comes first, for what it finds limits what is worth certifying; then a Lipschitz constant and a certified
radius, each only when the job asks for it.
"""

from __future__ import annotations

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from common.errors import IntegrityError
from common.game import distance
from common.jobspec import JobSpec
from common.store.tables import Certificate, LipschitzEstimate, RealWitnessRow, Task, Video
from common.vocab import StopReason, TaskKind, VideoStatus
from common.wire import Attacked, Bounded, Estimated
from scheduler.clips import add_real_witness, add_witness, bounds_of, hold_against

#: Ends of a task that say nothing of its clip: it was given back half done, and is to be done once more.
_GIVEN_BACK = (StopReason.SHUTDOWN, StopReason.RECALLED)


def attacked(session: Session, video: Video, spec: JobSpec, task: Task, result: Attacked) -> None:
    """Take in the attack's witnesses, if any; one that was cut short is made once more."""
    if result.witness is not None:
        add_witness(session, video, spec, task, result.witness)
    if result.real is not None:
        add_real_witness(session, video, spec, task, result.real, result.safe_point)
    if result.stop in _GIVEN_BACK:
        session.flush()
        session.add(Task(video_id=video.id, kind=TaskKind.ATTACK.value))
    else:
        go_on(session, video, spec)


def estimated(session: Session, video: Video, spec: JobSpec, task: Task, result: Estimated) -> None:
    """Take in a Lipschitz constant."""
    session.add(
        LipschitzEstimate(
            video_id=video.id, task_id=task.id, constant=result.constant, location=result.location,
            greatest=result.greatest, confidence=result.confidence, fit=result.fit, samples=result.samples,
            seed=result.seed,
        )
    )  # fmt: skip
    video.lipschitz = result.constant
    known = msr_upper(session, video, spec)
    if known is not None:
        hold_against(session, video, spec, known)
    go_on(session, video, spec)


def bounded(session: Session, video: Video, spec: JobSpec, task: Task, result: Bounded) -> None:
    """Take in a certified radius; a task that was cut short is made once more."""
    known = msr_upper(session, video, spec)
    if known is not None and result.radius > known:
        raise IntegrityError(
            f"task {task.id} certifies {result.radius:g} px, but a witness is {known:g} px away; quarantined"
        )
    session.add(
        Certificate(
            video_id=video.id, task_id=task.id, radius=result.radius, margin_bound=result.margin_bound,
            checks=result.checks, reason=result.reason,
        )
    )  # fmt: skip
    session.flush()
    if result.stop in _GIVEN_BACK:
        session.add(Task(video_id=video.id, kind=TaskKind.BOUND.value))
    else:
        go_on(session, video, spec)


def msr_upper(session: Session, video: Video, spec: JobSpec) -> float | None:
    """Distance of the nearest replayed witness of a clip, in pixels; None when there is none."""
    real = session.scalars(
        select(RealWitnessRow.distance).where(RealWitnessRow.video_id == video.id, RealWitnessRow.replayed)
    ).all()
    upper = bounds_of(session, video).upper
    grid = [] if upper is None else [distance(spec.norm, spec.tau, upper)]
    return min([*real, *grid], default=None)


def go_on(session: Session, video: Video, spec: JobSpec) -> None:
    """Create an attacked clip's next task before exploration, or let it be explored."""
    session.flush()
    video.status = VideoStatus.PREPARED.value
    if spec.lipschitz is not None and video.lipschitz is None:
        session.add(Task(video_id=video.id, kind=TaskKind.ESTIMATE.value))
    elif spec.continuous and not session.scalar(select(exists().where(Certificate.video_id == video.id))):
        session.add(Task(video_id=video.id, kind=TaskKind.BOUND.value))
    else:
        video.status = VideoStatus.EXPLORING.value
