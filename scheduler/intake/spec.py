"""Decides whether a request is a job that can be worked on, before anything is stored: builds and checks its spec."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from common.errors import InputError
from common.features import Partition, PartitionKind
from common.game import Game, PointCounter, cost_of_radius
from common.jobspec import DisSpec, FarnebackSpec, JobSpec, ModelSpec, SamplingSpec, first_problem
from common.wire import coordinate_sizes, run_lengths
from scheduler.intake.config import JobRequest
from scheduler.intake.model import check_model
from scheduler.intake.paths import real_path, user_path
from scheduler.levels import require_radius


def build_spec(request: JobRequest) -> JobSpec:
    """Complete a request by what the weights say, and check that its game is one that can be explored.

    Runs the model once, in a process of its own. Raises InputError, one line at the option or key that is wrong.
    """
    config = request.config
    flow = _flow(request)
    # Links are kept: a weights file's suffix says its type, and the file a link leads to may have none.
    weights = user_path(config.weights, request.at("weights"))
    answer = check_model(request, weights)
    try:
        spec = JobSpec(
            dataset=str(real_path(user_path(config.dataset, request.at("dataset")), request.at("dataset"))),
            model=ModelSpec(
                name=config.model,
                weights=str(weights),
                args=answer.args,
                classes=answer.classes,
                sha256=answer.sha256,
            ),
            sampling=SamplingSpec(
                frames=answer.frames,
                stride=config.stride,
                # A stride is the user's word against the pause that the weights name.
                every=config.every if config.every or config.stride else answer.every,
                height=answer.height,
                width=answer.width,
            ),
            flow=flow,
            features=config.features,
            norm=config.norm,
            tau=config.tau,
            radius=config.radius,
            cap=config.cap,
            continuous=config.continuous,
            lipschitz=config.lipschitz,
            heuristic=config.heuristic,
            gradients=config.gradients,
        )  # fmt: skip
        check_game(spec)
    except (ValidationError, InputError) as error:
        raise request.located(error) from error
    return spec


def check_game(spec: JobSpec) -> None:
    """Refuse a partition the frames cannot have, a radius below the cheapest manipulation, and a game too large.

    The regions of superpixels and of saliency follow from each clip: their games are checked when it is prepared.
    """
    height, width = spec.sampling.height, spec.sampling.width
    spec.partition.check(height, width)
    regions = region_sizes(spec.partition, height, width)
    if regions is None:
        return
    flows = [run_lengths(regions)] * (spec.sampling.frames - 1)
    limit = cost_of_radius(spec.norm, spec.tau, spec.radius)
    game = Game(coordinate_sizes(flows), spec.norm, spec.cap)
    require_radius(game, spec, limit)
    PointCounter(game, limit)


def region_sizes(partition: Partition, height: int, width: int) -> list[int] | None:
    """Pixels of each region of one flow, where the frame size alone decides them; None for the others.

    A grid's rows are near-equal, as workers divide them: pixel row ``y`` of H lies in grid row ``⌊y·R/H⌋``.
    """
    match partition.kind:
        case PartitionKind.GLOBAL:
            return [height * width]
        case PartitionKind.PIXEL:
            return [1] * (height * width)
        case PartitionKind.GRID:
            rows, columns = _parts(height, partition.rows), _parts(width, partition.columns)
            return [row * column for row in rows for column in columns]
        case PartitionKind.SUPERPIXEL | PartitionKind.SALIENCY:
            return None


def _parts(pixels: int, parts: int) -> list[int]:
    sizes = [0] * parts
    for pixel in range(pixels):
        sizes[pixel * parts // pixels] += 1
    return sizes


def _flow(request: JobRequest) -> FarnebackSpec | DisSpec:
    args: dict[str, Any] = request.config.flow_args
    where = request.at("flow_args")
    if "method" in args:
        raise InputError(where, "the method is chosen by flow, not here")
    kind = FarnebackSpec if request.config.flow == "farneback" else DisSpec
    try:
        return kind.model_validate(args)
    except ValidationError as error:
        wrong, problem = first_problem(error).where, first_problem(error).problem
        if error.errors()[0]["type"] == "extra_forbidden":
            known = ", ".join(sorted(kind.model_fields.keys() - {"method"}))
            problem = f"is no argument of {request.config.flow}; known: {known}"
        raise InputError(f"{where}: {wrong}", problem) from error
