"""Decides what a submit changes: a new job, or what is missing of the job with the same specification."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Engine, and_, exists, func, insert, select
from sqlalchemy.orm import Session

from common.errors import InputError
from common.jobspec import JobSpec
from common.store.tables import Job, Video
from common.vocab import JobStatus, TaskKind, Verdict, VideoStatus
from scheduler.exclusive import hold_truth, wake_leader
from scheduler.intake.dataset import FoundClip
from scheduler.intake.restart import count_clips, put_back, schedule


@dataclass(frozen=True)
class Terms:
    """How urgent a job is and what time it may take; like the budget of points, none of it is specification."""

    priority: int | None = None  #: None: as it is; 0 of a new job
    clip_seconds: float | None = None  #: worker time a clip may cost, in seconds; None: no limit
    wall_seconds: float | None = None  #: time the job may run, in seconds; None: no limit


@dataclass(frozen=True)
class Submitted:
    """What a submit did; counts are clips."""

    job_id: int
    created: bool  #: whether the job is new
    added: int  #: new clips, unusable ones included
    resumed: int  #: cancelled clips that go on
    retried: int  #: failed clips that start again
    reopened: int  #: open clips that go on, because a budget is larger
    kept_failed: int  #: failed clips that are not tried again


def submit(
    engine: Engine, spec: JobSpec, clips: Sequence[FoundClip], budget: int, terms: Terms | None = None
) -> Submitted:
    """Create the job of a specification, or resume it: only what is missing is scheduled, in one transaction.

    Of several generations of a job the latest is meant; of a single video, the latest that has it with this label, and
    another label is another question: a new generation. Resuming takes up cancelled clips where they were, and a job
    that is paused; it retries failed clips that were never prepared (later failures may contradict what is proved, and
    stay), and reopens open clips when ``budget`` (points a clip) or a budget of time is larger than the job's. Finished
    work is never done again. Raises InputError when a clip is already there with another label.
    """
    terms, digest = terms or Terms(), spec.digest()
    with Session(engine) as session, session.begin():
        hold_truth(session)
        job = _latest(session, digest, _other_label(spec, clips))
        created = job is None
        if job is None:
            other = _latest(session, digest)
            job = begin_job(session, spec, digest, budget, terms, 1 if other is None else other.generation + 1)
        larger = _enlarge(job, budget, terms)
        session.flush()
        is_open = and_(Video.status == VideoStatus.DONE, Video.verdict == Verdict.OPEN)
        # One that is open for another reason is ended again at once.
        reopened = put_back(session, job.id, spec, is_open) if larger else 0
        resumed = put_back(session, job.id, spec, Video.status == VideoStatus.CANCELLED)
        retried = _retry_failed(session, job.id, spec, clips)
        added = add_clips(session, job.id, clips)
        set_status(session, job)
        wake_leader(session)
        failed = count_clips(session, job.id, Video.status == VideoStatus.FAILED) - sum(
            clip.problem is not None for clip in added
        )
        return Submitted(job.id, created, len(added), resumed, retried, reopened, failed)


def _latest(session: Session, digest: str, but: ColumnElement[bool] | None = None) -> Job | None:
    """The latest generation of a job, of those that have no clip with a condition."""
    job = select(Job).where(Job.digest == digest).order_by(Job.generation.desc()).limit(1)
    if but is not None:
        job = job.where(~exists().where(Video.job_id == Job.id, but))
    return session.scalars(job).one_or_none()


def _other_label(spec: JobSpec, clips: Sequence[FoundClip]) -> ColumnElement[bool] | None:
    """Of a dataset that is one video: that it has another label than the user gives it."""
    single = [clip for clip in clips if clip.path == spec.dataset]
    return and_(Video.path == spec.dataset, Video.label != single[0].label) if single else None


def begin_job(session: Session, spec: JobSpec, digest: str, budget: int, terms: Terms, generation: int = 1) -> Job:
    """Create a job without clips."""
    job = Job(
        digest=digest, generation=generation, spec=spec.model_dump(mode="json"), priority=terms.priority or 0,
        budget_points=budget, budget_clip_seconds=terms.clip_seconds, budget_wall_seconds=terms.wall_seconds,
    )  # fmt: skip
    session.add(job)
    session.flush()
    return job


def _enlarge(job: Job, budget: int, terms: Terms) -> bool:
    """Take over budgets that are larger than the job's, and a priority that is given; whether a budget was larger."""
    larger = budget > job.budget_points
    job.budget_points = max(budget, job.budget_points)
    if _more(terms.clip_seconds, job.budget_clip_seconds):
        job.budget_clip_seconds, larger = terms.clip_seconds, True
    if _more(terms.wall_seconds, job.budget_wall_seconds):
        job.budget_wall_seconds, larger = terms.wall_seconds, True
    job.priority = job.priority if terms.priority is None else terms.priority
    return larger


def _more(asked: float | None, given: float | None) -> bool:
    """Whether a budget is larger than another, where None is no limit."""
    return (math.inf if asked is None else asked) > (math.inf if given is None else given)


def _retry_failed(session: Session, job_id: int, spec: JobSpec, clips: Sequence[FoundClip]) -> int:
    paths = {clip.path for clip in clips if clip.problem is None}
    failed = select(Video.id, Video.path).where(
        Video.job_id == job_id, Video.status == VideoStatus.FAILED, Video.clip_digest.is_(None)
    )  # fmt: skip
    # Chosen here: a statement with the paths of thousands of clips would be the slowest part of a submit.
    again = [row.id for row in session.execute(failed) if row.path in paths]
    return put_back(session, job_id, spec, Video.id.in_(again)) if again else 0


def add_clips(session: Session, job_id: int, clips: Sequence[FoundClip]) -> list[FoundClip]:
    """Add the clips that a job does not have yet, and schedule those that are usable; returns the new ones."""
    rows = session.execute(select(Video.path, Video.label).where(Video.job_id == job_id))
    labels = {row.path: row.label for row in rows}
    for clip in clips:
        if labels.get(clip.path, clip.label) != clip.label:
            raise InputError(clip.path, f"is labelled {labels[clip.path]!r} in job {job_id}, not {clip.label!r}")
    added = [clip for clip in clips if clip.path not in labels]
    now = _now(session)
    if added:
        session.execute(insert(Video), [_row(job_id, clip, now) for clip in added])
    schedule(session, job_id, VideoStatus.PENDING, TaskKind.PREPARE)
    return added


def _row(job_id: int, clip: FoundClip, now: datetime) -> dict[str, object]:
    failed = clip.problem is not None
    return {
        "job_id": job_id,
        "path": clip.path,
        "label": clip.label,
        "status": (VideoStatus.FAILED if failed else VideoStatus.PENDING).value,
        "verdict": (Verdict.FAILED if failed else Verdict.OPEN).value,
        # Named like a worker names the clips that it refuses.
        "reason": f"{clip.path}: {clip.problem}" if failed else None,
        "finished_at": now if failed else None,
    }


def set_status(session: Session, job: Job) -> None:
    """Let a job run when some clip of it is not finished; it is done when none is."""
    running = count_clips(session, job.id, Video.finished_at.is_(None)) > 0
    if running:
        job.status, job.finished_at = JobStatus.RUNNING.value, None
    elif job.status != JobStatus.DONE:
        job.status, job.finished_at = JobStatus.DONE.value, _now(session)


def _now(session: Session) -> datetime:
    return session.execute(select(func.now())).scalar_one()
