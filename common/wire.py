"""Decides what crosses the process boundary: the message, a claimed task, and the results workers append.

A message carries a protocol number and a task id, nothing else. Everything a worker needs comes from its claim;
everything it found goes back as one JSON document per task, validated here on both sides. JSON has no infinity and
no NaN, and pydantic is told to refuse both.
"""

from __future__ import annotations

from itertools import chain, repeat
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from common.errors import InputError
from common.game import MAX_TABLE_ENTRIES, Point, Subtree
from common.jobspec import JobSpec
from common.printable import Printable
from common.program import program_digest
from common.vocab import StopReason, TaskKind

#: The one Celery task name; it never changes, so that workers of different ages never drop each other's messages.
TASK_NAME = "flowcert.work"
#: Version of the documents below: any change of what they may say is a new one (tests/frozen/README.md).
PROTOCOL = 4
#: The one Celery queue.
QUEUE = "flowcert"

#: Bytes of a result, and of what a worker says of itself, above which neither side takes it; SQL has the same numbers.
MOST_RESULT_BYTES = 2**26
MOST_INFO_BYTES = 2**14
#: Coordinates of a point, of a real change, and pixels of a frame; characters of a name, and of a reason.
MOST_COORDINATES, MOST_PIXELS, MOST_NAME, MOST_REASON = 2**22, 2**20, 1_000, 4_000

# Every number fits the database's integers, and every list and text is of limited length: results come from elsewhere.
Count = Annotated[int, Field(ge=0, lt=2**63)]
Name = Annotated[Printable, Field(max_length=MOST_NAME)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
_Coordinate = Annotated[int, Field(ge=0, lt=2**31)]
_Steps = Annotated[int, Field(gt=-(2**31), lt=2**31)]
#: Pixels of a region, or regions of a flow.
_Size = Annotated[int, Field(ge=1, le=MOST_PIXELS)]
PointField = Annotated[
    tuple[tuple[_Coordinate, _Steps], ...],
    Field(max_length=MOST_COORDINATES, description="non-zero coordinates as (coordinate, signed steps), sorted"),
]
Moves = tuple[tuple[int, Finite], ...]
MovesField = Annotated[
    tuple[tuple[_Coordinate, Finite], ...],
    Field(max_length=MOST_COORDINATES, description="non-zero coordinates as (coordinate, pixels), sorted"),
]

#: Turns points into JSON-ready lists and back.
POINT = TypeAdapter(Point)


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Message(BaseModel):
    """What a message of the broker says: this task may be ready."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    protocol: int = Field(ge=0, lt=2**31)
    task: int = Field(ge=1, lt=2**63)


def protocol_problem(protocol: int) -> str | None:
    """Say why a message of this protocol is not answered here and what to do; None for one of this program's."""
    if protocol == PROTOCOL:
        return None
    age, where = ("an older", "there") if protocol < PROTOCOL else ("a newer", "here")
    return (
        f"its scheduler is of {age} version, with protocol {protocol} where this worker has {PROTOCOL}; install the"
        f" newer version {where} too, run: flowcert db upgrade, and start both again"
    )


class Claim(_Document):
    """A task as its worker receives it."""

    task: int
    attempt: int
    kind: TaskKind
    spec: JobSpec
    video: str = Field(description="absolute path of the video file")
    label: str = Field(description="class name the clip is labelled with")
    clip_digest: str | None = Field(description="digest of the prepared clip; None before prepare")
    radius_cost: int | None = Field(description="greatest cost within the radius; None before prepare")
    upper: int | None = Field(description="incumbent upper bound, a cost")
    msr_upper: Finite | None = Field(default=None, description="incumbent upper bound on MSR, in pixels of the norm")
    lipschitz: Finite | None = Field(default=None, gt=0, description="the margin's Lipschitz constant; None: unknown")
    points: int | None = Field(default=None, ge=1, description="points after which to return; None: no such limit")
    prefix: PointField | None = None
    first: int | None = None
    last: int | None = None
    floor: int | None = Field(default=None, description="costs below it are proved already")
    threshold: int | None = Field(default=None, description="costs from it on are not wanted")

    def subtree(self) -> Subtree:
        """The subtree an explore task is about."""
        if self.prefix is None or self.first is None or self.last is None:
            raise ValueError(f"task {self.task} ({self.kind}) has no subtree")
        return Subtree(self.prefix, self.first, self.last)


class Prepared(_Document):
    """Result of a prepare task."""

    clip_digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    region_sizes: list[Annotated[list[tuple[_Size, _Size]], Field(max_length=MOST_PIXELS)]] = Field(
        max_length=1023,
        description="for each flow, its regions' pixel counts, run-length encoded as (pixels, how many regions)",
    )
    predicted: Name
    margin: Finite = Field(description="margin of the labelled class on the unchanged clip, in logits")
    video_sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the video file; None: the worker does not say"
    )


class Witness(_Document):
    """An adversarial grid point and what an independent replay from the raw clip made of it."""

    point: PointField
    cost: Count
    replayed: bool = Field(description="whether the replay confirmed it")
    margin: Finite = Field(description="margin of the replay, in float64 logits")
    predicted: Name = Field(description="class the replay predicts")


class RealWitness(_Document):
    """An adversarial real change of the flow and what an independent replay from the raw clip made of it."""

    moves: MovesField
    distance: Finite = Field(ge=0, description="pixels of the norm, rounded up")
    replayed: bool = Field(description="whether the replay confirmed it")
    margin: Finite = Field(description="margin of the replay, in float64 logits")
    predicted: Name = Field(description="class the replay predicts")


class Attacked(_Document):
    """Result of an attack task."""

    witness: Witness | None
    real: RealWitness | None = None
    safe_point: PointField | None = Field(
        default=None, description="grid point nearest to the real witness, when it is safe"
    )
    evaluations: Count = Field(description="grid points and real changes evaluated")
    gradients: Count = Field(description="gradients computed")
    stop: StopReason = Field(default=StopReason.EXHAUSTED, description="why it ended")


class Estimated(_Document):
    """Result of an estimate task: a Lipschitz constant of the margin by extreme-value statistics."""

    constant: Finite = Field(gt=0, description="what bounds rest on, in logits per pixel of the norm")
    location: Finite = Field(description="end point of the fitted distribution of greatest slopes")
    greatest: Finite = Field(ge=0, description="greatest slope sampled, or met on the way to a witness")
    confidence: Finite = Field(gt=0, lt=1, description="confidence with which location is below constant")
    fit: Finite = Field(ge=0, le=1, description="p-value of the Kolmogorov-Smirnov test of the fit")
    samples: Count = Field(ge=1, description="gradients sampled in the ball")
    seed: Count = Field(description="seed of the samples")


class Bounded(_Document):
    """Result of a bound task: no real change within ``radius`` makes another class win."""

    radius: Finite = Field(ge=0, description="pixels of the norm; 0 when nothing could be certified")
    margin_bound: Finite | None = Field(description="lower bound of the margin within the radius; None for no radius")
    checks: Count = Field(description="radii tried")
    stop: StopReason = Field(description="exhausted, or why no greater radius was tried")
    reason: str | None = Field(max_length=MOST_REASON, description="why nothing was certified; None when something was")


class SafePoint(_Document):
    """A grid point that is not adversarial, and how clearly."""

    point: PointField
    margin: Finite = Field(gt=0, description="its margin, less what rounding may have added, in logits")


class Explored(_Document):
    """Result of an explore task: what it proved about its subtree.

    Every point at or before ``position`` (in the order of enumeration; the whole subtree when None) with
    ``floor ≤ cost < reached`` was evaluated, or excluded by the job's Lipschitz constant where it is the search's
    heuristic; and none of those evaluated is adversarial except ``witness`` at cost ``reached`` or above, and none
    below ``undecided`` was too close to call.
    """

    stop: StopReason
    position: PointField | None = Field(description="last point evaluated when interrupted; None when exhausted")
    explored: Count = Field(description="points evaluated")
    reached: Count = Field(description="threshold in force at the end, a cost")
    undecided: Count | None = Field(description="least cost of a point whose margin is too close to zero to call")
    witness: Witness | None
    closest: SafePoint | None = Field(default=None, description="safe point of the least margin")


Outcome = Prepared | Attacked | Estimated | Bounded | Explored
RESULT_TYPES: dict[TaskKind, type[Outcome]] = {
    TaskKind.PREPARE: Prepared,
    TaskKind.ATTACK: Attacked,
    TaskKind.ESTIMATE: Estimated,
    TaskKind.BOUND: Bounded,
    TaskKind.EXPLORE: Explored,
}


class WorkerInfo(_Document):
    """What a worker says of itself when it beats."""

    host: Name
    pid: Count
    device: Name
    versions: dict[str, Any] = Field(max_length=100)
    program: str = Field(
        default_factory=program_digest, max_length=200,
        description="common.program: a worker of another version is given no task",
    )  # fmt: skip


class BeatReply(_Document):
    """What a beat tells the worker."""

    wanted: bool = Field(description="False when the task was cancelled, re-issued or finished by another worker")
    recalled: bool = Field(description="True when the task is to be handed in with what it has so far")
    upper: int | None = Field(description="the clip's incumbent upper bound, a cost")
    current: bool = Field(default=True, description="False when the database is set up for another version")
    waiting: int | None = Field(default=None, description="to an idle worker: a task whose message nobody answered")


def coordinate_sizes(region_sizes: list[list[tuple[int, int]]]) -> tuple[int, ...]:
    """Expand run-length encoded region sizes to ``n_j`` per coordinate, in order of flow, region, axis (u, v).

    Raises InputError for more coordinates than any game can be counted for: a few runs may stand for billions.
    """
    coordinates = 2 * sum(regions for flow in region_sizes for _, regions in flow)
    if coordinates > MAX_TABLE_ENTRIES:
        raise InputError("features", f"gives {coordinates:,} coordinates, which are too many to explore; use fewer")
    return tuple(chain.from_iterable(repeat(pixels, 2 * regions) for flow in region_sizes for pixels, regions in flow))


def run_lengths(sizes: list[int]) -> list[tuple[int, int]]:
    """Run-length encode one flow's region sizes as (pixels, how many regions)."""
    runs: list[tuple[int, int]] = []
    for size in sizes:
        if runs and runs[-1][0] == size:
            runs[-1] = (size, runs[-1][1] + 1)
        else:
            runs.append((size, 1))
    return runs
