"""Declares the tables: what is kept, and which rows the database refuses.

Bounds, floors and thresholds are exact integer costs (units of τ, or of τ² for L2); pixels appear only in views.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    FetchedValue,
    ForeignKey,
    Index,
    MetaData,
    Numeric,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from common.vocab import Guarantee, JobStatus, TaskKind, TaskState, Verdict, VideoStatus


class Base(DeclarativeBase):
    """Names every constraint by one convention, so that migrations can name what they drop."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {
        str: Text,
        int: BigInteger,
        datetime: DateTime(timezone=True),
        Decimal: Numeric,
        dict[str, Any]: JSONB(none_as_null=True),
        list[Any]: JSONB(none_as_null=True),
    }


def _among(column: str, words: type[JobStatus | VideoStatus | Verdict | TaskKind | TaskState]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(str(word)) for word in words)})", name=f"{column}_known")


def _iff(name: str, condition: str, other: str) -> CheckConstraint:
    return CheckConstraint(f"({condition}) = ({other})", name=name)


_NOW = func.now()


class Job(Base):
    """One submitted certification job."""

    __tablename__ = "jobs"
    __table_args__ = (
        _among("status", JobStatus),
        _iff("finished_when_finished", "status IN ('done', 'cancelled')", "finished_at IS NOT NULL"),
        UniqueConstraint("digest", "generation"),
        CheckConstraint("generation > 0", name="generation_positive"),
        CheckConstraint("budget_points > 0", name="budget_positive"),
        CheckConstraint(
            "budget_clip_seconds > 0 AND budget_clip_seconds < 'Infinity'", name="budget_clip_seconds_positive"
        ),
        CheckConstraint(
            "budget_wall_seconds > 0 AND budget_wall_seconds < 'Infinity'", name="budget_wall_seconds_positive"
        ),
        CheckConstraint("priority BETWEEN -1000 AND 1000", name="priority_in_range"),
        CheckConstraint("ran_seconds >= 0 AND ran_seconds < 'Infinity'", name="ran_seconds_finite"),
        CheckConstraint("clock_since IS NULL OR status = 'running'", name="clock_stands_unless_running"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(comment="SHA-256 of the spec: a repeated submit finds its latest generation")
    generation: Mapped[int] = mapped_column(server_default="1", comment="1, and one more for each rerun of all clips")
    spec: Mapped[dict[str, Any]] = mapped_column(comment="common.jobspec.JobSpec")
    priority: Mapped[int] = mapped_column(server_default="0", comment="a job of higher priority comes first")
    budget_points: Mapped[int] = mapped_column(comment="points a clip may cost before it is left open")
    budget_clip_seconds: Mapped[float | None] = mapped_column(
        comment="worker time a clip may cost before it is left open, in seconds; NULL: no such limit"
    )
    budget_wall_seconds: Mapped[float | None] = mapped_column(
        comment="time the job may run before its clips are left open, in seconds; NULL: no such limit"
    )
    ran_seconds: Mapped[float] = mapped_column(
        server_default="0", comment="time it had run when its clock last stopped, in seconds"
    )
    clock_since: Mapped[datetime | None] = mapped_column(comment="since when its clock runs; NULL: it stands")
    status: Mapped[str] = mapped_column(server_default="running")
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    finished_at: Mapped[datetime | None]


class Video(Base):
    """One clip of a job."""

    __tablename__ = "videos"
    __table_args__ = (
        Index("uq_videos_job_id_path", "job_id", "path", unique=True),
        Index("ix_videos_unfinished", "job_id", "id", postgresql_where=text("finished_at IS NULL")),
        Index("ix_videos_exploring", "job_id", "id", postgresql_where=text("status = 'exploring'")),
        _among("status", VideoStatus),
        _among("verdict", Verdict),
        _iff("finished_when_finished", "status IN ('done', 'failed', 'cancelled')", "finished_at IS NOT NULL"),
        _iff("failed_says_why", "status = 'failed'", "verdict = 'failed' AND reason IS NOT NULL"),
        CheckConstraint(
            "(prepared_at IS NOT NULL) = (clip_digest IS NOT NULL) AND"
            " (prepared_at IS NOT NULL OR status IN ('pending', 'failed', 'cancelled')"
            " OR (status = 'done' AND verdict = 'open'))",
            name="prepared_when_prepared",
        ),
        CheckConstraint("verdict <> 'misclassified' OR predicted <> label", name="misclassified_is"),
        CheckConstraint("margin > '-Infinity' AND margin < 'Infinity'", name="margin_finite"),
        CheckConstraint("seconds >= 0 AND seconds < 'Infinity'", name="seconds_finite"),
        CheckConstraint("0 <= points_explored AND 0 <= points_needed AND points_needed <= points_total", name="points"),
        CheckConstraint("0 <= floor AND floor < threshold", name="level_in_order"),
        _iff("level_has_threshold", "floor IS NULL", "threshold IS NULL"),
        CheckConstraint("lipschitz > 0 AND lipschitz < 'Infinity'", name="lipschitz_finite"),
        CheckConstraint("closest_margin > 0 AND closest_margin < 'Infinity'", name="closest_is_safe"),
        _iff("closest_has_margin", "closest_point IS NULL", "closest_margin IS NULL"),
        CheckConstraint("content_sha256 ~ '^[0-9a-f]{64}$'", name="content_sha256_hex"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"))
    path: Mapped[str]
    label: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="pending")
    verdict: Mapped[str] = mapped_column(server_default="open")
    reason: Mapped[str | None] = mapped_column(comment="why it failed, or why it was left open")
    predicted: Mapped[str | None]
    margin: Mapped[float | None] = mapped_column(comment="margin of the unchanged clip, in logits")
    clip_digest: Mapped[str | None]
    content_sha256: Mapped[str | None] = mapped_column(comment="SHA-256 of the file as it was prepared")
    region_sizes: Mapped[list[Any] | None] = mapped_column(comment="pixels per region and flow, run-length encoded")
    radius_cost: Mapped[int | None] = mapped_column(comment="greatest cost within the radius")
    points_total: Mapped[Decimal | None] = mapped_column(comment="grid points within the radius, exact")
    points_needed: Mapped[Decimal | None] = mapped_column(comment="grid points that decide the clip, exact")
    seconds: Mapped[float] = mapped_column(server_default="0", comment="worker time spent, in seconds")
    points_explored: Mapped[int] = mapped_column(server_default="0", comment="grid points evaluated by exploration")
    lipschitz: Mapped[float | None] = mapped_column(comment="the margin's Lipschitz constant, per pixel of the norm")
    closest_point: Mapped[list[Any] | None] = mapped_column(comment="explored safe point of the least margin, sparse")
    closest_margin: Mapped[float | None] = mapped_column(comment="its margin, in logits, rounded down")
    floor: Mapped[int | None] = mapped_column(comment="costs below it were proved by earlier levels")
    threshold: Mapped[int | None] = mapped_column(comment="costs from it on belong to later levels")
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    prepared_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Bound(Base):
    """The clip's bounds as they stand; a trigger lets the lower only rise and the upper only fall."""

    __tablename__ = "bounds"
    __table_args__ = (
        CheckConstraint("0 <= lower AND lower <= upper", name="lower_at_most_upper"),
        CheckConstraint(
            "lower_guarantee IN ('grid', 'lipschitz:estimated', 'lipschitz:assumed')", name="lower_guarantee_known"
        ),
    )
    video_id: Mapped[int] = mapped_column(ForeignKey("videos.id"), primary_key=True)
    lower: Mapped[int] = mapped_column(comment="no adversarial grid point costs less")
    upper: Mapped[int | None] = mapped_column(comment="cost of the best replayed witness; NULL: none known")
    lower_guarantee: Mapped[str] = mapped_column(server_default=str(Guarantee.GRID))


class BoundEvent(Base):
    """Each move of a bound, appended by the trigger on ``bounds``."""

    __tablename__ = "bound_events"
    __table_args__ = (Index("ix_bound_events_video_id", "video_id", "id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    video_id: Mapped[int] = mapped_column(ForeignKey("videos.id"))
    lower: Mapped[int]
    upper: Mapped[int | None]
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class SubtreeRow(Base):
    """A subtree of the current level's frontier, or one that was split into others."""

    __tablename__ = "subtrees"
    __table_args__ = (
        # The open part of a level lies in front, its least bound first: done subtrees need not be passed over.
        Index(
            "ix_subtrees_frontier", "video_id", "floor", "lower", "undecided", "id",
            postgresql_where=text("NOT split"),
        ),
        CheckConstraint("0 <= first AND first < last", name="interval_not_empty"),
        CheckConstraint("floor <= lower AND lower <= threshold", name="lower_within_level"),
    )  # fmt: skip
    id: Mapped[int] = mapped_column(primary_key=True)
    video_id: Mapped[int] = mapped_column(ForeignKey("videos.id"))
    prefix: Mapped[list[Any]] = mapped_column(comment="the node's point, sparse")
    first: Mapped[int]
    last: Mapped[int]
    floor: Mapped[int] = mapped_column(comment="the level's floor: costs below are proved")
    threshold: Mapped[int] = mapped_column(comment="the level's threshold")
    lower: Mapped[int] = mapped_column(comment="no adversarial point of the subtree costs less")
    undecided: Mapped[bool] = mapped_column(
        server_default=text("false"), comment="a point at lower is too close to call"
    )
    split: Mapped[bool] = mapped_column(server_default=text("false"), comment="replaced by its parts")


class Worker(Base):
    """A worker process that has shown itself."""

    __tablename__ = "workers"
    id: Mapped[str] = mapped_column(primary_key=True)
    info: Mapped[dict[str, Any]] = mapped_column(comment="common.wire.WorkerInfo")
    video_id: Mapped[int | None] = mapped_column(ForeignKey("videos.id"), comment="clip it explored last")
    attempts: Mapped[int] = mapped_column(server_default="0", comment="tasks it has claimed")
    started_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    seen_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class Task(Base):
    """One unit of work; the row is the truth, its message only a doorbell."""

    __tablename__ = "tasks"
    __table_args__ = (
        _among("kind", TaskKind),
        _among("state", TaskState),
        _iff("explore_has_subtree", "kind = 'explore'", "subtree_id IS NOT NULL"),
        _iff("leased_has_lease", "state = 'leased'", "lease_until IS NOT NULL AND worker_id IS NOT NULL"),
        _iff("finished_when_finished", "state IN ('merged', 'failed', 'cancelled')", "finished_at IS NOT NULL"),
        CheckConstraint("state <> 'failed' OR reason IS NOT NULL", name="failed_says_why"),
        Index(
            "uq_tasks_live_subtree", "subtree_id", unique=True,
            postgresql_where=text("state IN ('ready', 'leased', 'returned')"),
        ),
        Index(
            "uq_tasks_live_video", "video_id", unique=True,
            postgresql_where=text("state IN ('ready', 'leased', 'returned') AND kind <> 'explore'"),
        ),
        Index("ix_tasks_live", "state", "id", postgresql_where=text("finished_at IS NULL")),
        Index("ix_tasks_ready", "job_id", "id", postgresql_where=text("state = 'ready'")),
        Index("ix_tasks_live_video_id", "video_id", postgresql_where=text("finished_at IS NULL")),
        Index(
            "ix_tasks_announced", "video_id", "id",
            postgresql_where=text("state = 'ready' AND announced_at IS NOT NULL"),
        ),
        Index("ix_tasks_leased", "worker_id", postgresql_where=text("state = 'leased'")),
        Index("ix_tasks_failed", "video_id", postgresql_where=text("state = 'failed'")),
        Index("ix_tasks_merged", "video_id", postgresql_where=text("state = 'merged'")),
        Index("ix_tasks_before_exploration", "video_id", "kind", postgresql_where=text("kind <> 'explore'")),
    )  # fmt: skip
    id: Mapped[int] = mapped_column(primary_key=True)
    video_id: Mapped[int] = mapped_column(ForeignKey("videos.id"))
    job_id: Mapped[int] = mapped_column(FetchedValue(), comment="its clip's job; a trigger fills it in")
    kind: Mapped[str]
    subtree_id: Mapped[int | None] = mapped_column(ForeignKey("subtrees.id"))
    state: Mapped[str] = mapped_column(server_default="ready")
    attempt: Mapped[int] = mapped_column(server_default="0", comment="attempts begun")
    worker_id: Mapped[str | None] = mapped_column(ForeignKey("workers.id"))
    points: Mapped[int | None] = mapped_column(comment="points after which it returns; NULL: no such limit")
    reason: Mapped[str | None] = mapped_column(comment="why its last attempt failed")
    announced_at: Mapped[datetime | None] = mapped_column(comment="when its message was last sent")
    lease_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    finished_at: Mapped[datetime | None]


class Attempt(Base):
    """One claim of a task and how it ended."""

    __tablename__ = "attempts"
    __table_args__ = (
        _iff("ended_has_outcome", "ended_at IS NULL", "outcome IS NULL"),
        Index("ix_attempts_worker_id", "worker_id"),
        Index("ix_attempts_refused", "worker_id", "task_id", postgresql_where=text("outcome = 'refused'")),
        Index(
            "ix_attempts_failed", "task_id",
            postgresql_where=text("outcome IN ('failed', 'expired', 'refused')"),
        ),
    )  # fmt: skip
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    worker_id: Mapped[str] = mapped_column(ForeignKey("workers.id"))
    started_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(comment="returned, failed, expired, late or refused")
    reason: Mapped[str | None]


class Result(Base):
    """What a task found: append-only, one row per task, the first to arrive."""

    __tablename__ = "results"
    __table_args__ = (
        CheckConstraint("seconds >= 0 AND seconds < 'Infinity'", name="seconds_finite"),
        Index("ix_results_appended_at", "appended_at"),
    )
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"), primary_key=True, autoincrement=False)
    attempt: Mapped[int]
    worker_id: Mapped[str] = mapped_column(ForeignKey("workers.id"))
    payload: Mapped[dict[str, Any]] = mapped_column(comment="common.wire result document")
    seconds: Mapped[float] = mapped_column(comment="worker time spent, in seconds")
    appended_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class WitnessRow(Base):
    """An adversarial grid point, stored as coordinates; only a replayed one has lowered a bound."""

    __tablename__ = "witnesses"
    __table_args__ = (
        Index("ix_witnesses_video_id", "video_id"),
        CheckConstraint("margin > '-Infinity' AND margin < 'Infinity'", name="margin_finite"),
        CheckConstraint("NOT replayed OR margin < 0", name="replayed_is_adversarial"),
        _iff("not_replayed_says_why", "replayed", "reason IS NULL"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    video_id: Mapped[int] = mapped_column(ForeignKey("videos.id"))
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"), unique=True, comment="the task that found it")
    point: Mapped[list[Any]]
    cost: Mapped[int]
    replayed: Mapped[bool]
    margin: Mapped[float] = mapped_column(comment="margin of the replay, in float64 logits")
    predicted: Mapped[str]
    reason: Mapped[str | None] = mapped_column(comment="why its replay did not confirm it")
    found_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class RealWitnessRow(Base):
    """An adversarial real change of the flow, stored as coordinates; only a replayed one bounds MSR."""

    __tablename__ = "real_witnesses"
    __table_args__ = (
        Index("ix_real_witnesses_video_id", "video_id"),
        CheckConstraint("margin > '-Infinity' AND margin < 'Infinity'", name="margin_finite"),
        CheckConstraint("NOT replayed OR margin < 0", name="replayed_is_adversarial"),
        CheckConstraint("distance > 0 AND distance < 'Infinity'", name="distance_finite"),
        _iff("not_replayed_says_why", "replayed", "reason IS NULL"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    video_id: Mapped[int] = mapped_column(ForeignKey("videos.id"))
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"), unique=True, comment="the task that found it")
    moves: Mapped[list[Any]] = mapped_column(comment="non-zero coordinates as (coordinate, pixels)")
    safe_point: Mapped[list[Any] | None] = mapped_column(comment="grid point nearest to it, when that one is safe")
    distance: Mapped[float] = mapped_column(comment="pixels of the job's norm, rounded up")
    replayed: Mapped[bool]
    margin: Mapped[float] = mapped_column(comment="margin of the replay, in float64 logits")
    predicted: Mapped[str]
    reason: Mapped[str | None] = mapped_column(comment="why its replay did not confirm it")
    found_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class LipschitzEstimate(Base):
    """A Lipschitz constant of a clip's margin by extreme-value statistics, with what it takes to repeat it."""

    __tablename__ = "lipschitz_estimates"
    __table_args__ = (
        Index("ix_lipschitz_estimates_video_id", "video_id"),
        CheckConstraint("constant > 0 AND constant < 'Infinity' AND constant >= greatest", name="constant_finite"),
        CheckConstraint("samples > 0 AND 0 < confidence AND confidence < 1", name="samples"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    video_id: Mapped[int] = mapped_column(ForeignKey("videos.id"))
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"), unique=True, comment="the task that estimated it")
    constant: Mapped[float] = mapped_column(comment="what bounds rest on, in logits per pixel of the norm")
    location: Mapped[float] = mapped_column(comment="end point of the fitted distribution of greatest slopes")
    greatest: Mapped[float] = mapped_column(comment="greatest slope sampled, or met on the way to a witness")
    confidence: Mapped[float] = mapped_column(comment="confidence with which location is below constant")
    fit: Mapped[float] = mapped_column(comment="p-value of the Kolmogorov-Smirnov test of the fit")
    samples: Mapped[int] = mapped_column(comment="gradients sampled in the ball")
    seed: Mapped[int]
    found_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class Certificate(Base):
    """A radius within which no real change makes another class win: guarantee ``continuous``."""

    __tablename__ = "certificates"
    __table_args__ = (
        Index("ix_certificates_video_id", "video_id"),
        CheckConstraint("radius >= 0 AND radius < 'Infinity'", name="radius_finite"),
        CheckConstraint("margin_bound > 0 AND margin_bound < 'Infinity'", name="margin_bound_positive"),
        _iff("radius_has_margin", "radius > 0", "margin_bound IS NOT NULL"),
        _iff("no_radius_says_why", "radius = 0", "reason IS NOT NULL"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    video_id: Mapped[int] = mapped_column(ForeignKey("videos.id"))
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"), unique=True, comment="the task that certified it")
    radius: Mapped[float] = mapped_column(comment="pixels of the job's norm; 0 when nothing could be certified")
    margin_bound: Mapped[float | None] = mapped_column(comment="lower bound of the margin within it, in logits")
    checks: Mapped[int] = mapped_column(comment="radii tried")
    reason: Mapped[str | None] = mapped_column(comment="why nothing was certified")
    found_at: Mapped[datetime] = mapped_column(server_default=_NOW)


#: Sums of what was merged have the same columns, whatever they are sums of.
_COUNTED = "tasks > 0 AND points >= 0 AND seconds >= 0 AND seconds < 'Infinity'"


class WorkTotal(Base):
    """What one worker has done of one job, by kind of task; the merge adds to it in its own transaction."""

    __tablename__ = "work_totals"
    __table_args__ = (_among("kind", TaskKind), CheckConstraint(_COUNTED, name="counted"))
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    worker_id: Mapped[str] = mapped_column(ForeignKey("workers.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    tasks: Mapped[int] = mapped_column(comment="tasks whose results were merged")
    points: Mapped[int] = mapped_column(comment="grid points explored by them")
    seconds: Mapped[float] = mapped_column(comment="worker time spent on them, in seconds")


class WorkMinute(Base):
    """What was done of one job in one minute; the merge adds to it in its own transaction.

    A row has at least one merged result, whose row, like its task's and its attempts', is kept as evidence: there are
    never more of these than of those, and they need no end of their own.
    """

    __tablename__ = "work_minutes"
    __table_args__ = (Index("ix_work_minutes_minute", "minute"), CheckConstraint(_COUNTED, name="counted"))
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    minute: Mapped[datetime] = mapped_column(primary_key=True, comment="in which the results were merged")
    began_at: Mapped[datetime] = mapped_column(comment="when the first of the tasks began")
    tasks: Mapped[int] = mapped_column(comment="tasks whose results were merged")
    points: Mapped[int] = mapped_column(comment="grid points explored by them")
    seconds: Mapped[float] = mapped_column(comment="worker time spent on them, in seconds")


class SchemaObjects(Base):
    """What the database was last set up for: one row."""

    __tablename__ = "schema_objects"
    digest: Mapped[str] = mapped_column(primary_key=True)
    program: Mapped[str] = mapped_column(comment="common.program of the version whose workers may claim")
