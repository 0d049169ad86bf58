"""Names the closed sets of words that tables, messages and commands share; values, not names, are stored."""

from __future__ import annotations

from enum import StrEnum


class Norm(StrEnum):
    """How a change of flow is measured, over the whole sequence (design: distance in flow space)."""

    L1 = "L1"  #: sum of the absolute changes, in pixels
    L2 = "L2"  #: Euclidean length of the change, in pixels
    LINF = "Linf"  #: greatest change of any flow entry, in pixels


class Guarantee(StrEnum):
    """What a stored bound is worth; labels are never mixed."""

    WITNESS = "witness"  #: upper bound from a replayed adversarial point
    GRID = "grid"  #: FMSR lower bound by exhaustive exploration with h = 0
    CONTINUOUS = "continuous"  #: MSR lower bound for all real changes, by sound bound propagation
    LIPSCHITZ_ESTIMATED = "lipschitz:estimated"  #: rests on a Lipschitz constant from extreme-value statistics
    LIPSCHITZ_ASSUMED = "lipschitz:assumed"  #: rests on a Lipschitz constant that the user gave


class TaskKind(StrEnum):
    """What a worker is asked to do with a clip, in the order a clip goes through them."""

    PREPARE = "prepare"  #: decode, flow, features, prediction
    ATTACK = "attack"  #: search an upper bound
    ESTIMATE = "estimate"  #: estimate the margin's Lipschitz constant
    BOUND = "bound"  #: certify a radius for real changes
    EXPLORE = "explore"  #: explore one subtree up to a threshold


class TaskState(StrEnum):
    """Where a task row is in its life."""

    READY = "ready"  #: waits to be claimed; may have been announced to the broker
    LEASED = "leased"  #: a worker has claimed it and beats
    RETURNED = "returned"  #: its result is appended and waits to be merged
    MERGED = "merged"  #: its result has been folded into the bounds
    FAILED = "failed"  #: gave up after the allowed number of attempts
    CANCELLED = "cancelled"  #: no longer wanted


class JobStatus(StrEnum):
    """Where a job is in its life."""

    RUNNING = "running"  #: some clip is not finished
    PAUSED = "paused"  #: held by the user; nothing of it is given to workers
    DONE = "done"  #: every clip is finished
    CANCELLED = "cancelled"  #: stopped by the user; what was proved stays


class VideoStatus(StrEnum):
    """Where a clip is in its life."""

    PENDING = "pending"  #: waits for its prepare task
    PREPARED = "prepared"  #: predicted correctly; its tasks before exploration come one after the other
    EXPLORING = "exploring"  #: its game tree is being explored
    DONE = "done"  #: finished; the verdict says how
    FAILED = "failed"  #: cannot be certified; the reason is recorded
    CANCELLED = "cancelled"  #: its job was cancelled first


class Verdict(StrEnum):
    """What is known about a clip."""

    OPEN = "open"  #: bounds are known, but not equal
    SOLVED = "solved"  #: lower bound equals upper bound
    ROBUST = "robust"  #: no adversarial grid point within the radius
    MISCLASSIFIED = "misclassified"  #: the unchanged clip is not predicted as its label
    FAILED = "failed"  #: no claim is made


class StopReason(StrEnum):
    """Why an exploration ended."""

    EXHAUSTED = "exhausted"  #: every wanted point was explored
    TIME = "time"  #: the task's time limit was reached
    POINTS = "points"  #: the task's point limit was reached
    SHUTDOWN = "shutdown"  #: the worker was asked to stop
    RECALLED = "recalled"  #: what was found so far was asked for: its job is paused, or a budget is spent
    CANCELLED = "cancelled"  #: the task is no longer wanted
